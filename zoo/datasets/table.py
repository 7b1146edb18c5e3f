"""Tables of numbers as training takes them: rows of columns, scaled where that is wanted, and a CSV as preview."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.datasets import previews, table_files
from zoo.datasets.arrays import ArrayRows, Pile, Selection, config_settings, held_out_loss
from zoo.datasets.source import Source
from zoo.datasets.split import split_rows
from zoo.datasets.table_files import Table, chunks, read_table
from zoo.errors import DataError
from zoo.family import Family
from zoo.settings import setting

__all__ = ["Table", "TableMaterial", "TableRules", "chunks", "read", "read_table"]

COLUMNS = "columns.json"
"""Beside the weights: the names of the columns, and what each was shifted and divided by."""

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class TableRules:
    """How a table becomes training and held-out rows."""

    columns: tuple[str, ...] = setting((), help="names of the columns to train on; none means all")
    standardise: bool = setting(False, help="give each column mean 0 and variance 1 over the training rows")
    held_out_share: float = setting(
        0.05, help="share of the rows that the seed holds out", minimum=0.0, maximum=0.9
    )


@dataclass(frozen=True, eq=False)
class _Scaling:
    """A column's value x is trained on as (x - mean) / scale. Both (D,) float64."""

    mean: np.ndarray
    scale: np.ndarray


def read(source: Source, rules: TableRules, seed: int) -> TableMaterial:
    """The rows of CSV, TSV and Parquet files with the same columns. Raises as `zoo.datasets.table_files` does."""
    members = source.files(table_files.SUFFIXES)
    names = table_files.column_names(members[0], rules.columns)
    pile = Pile((len(names),), np.float64)
    for member in members:
        if (other := table_files.column_names(member, rules.columns)) != names:
            raise DataError(f"{member} has the columns {_few(other)}, but {members[0]} has {_few(names)}")
        for part in chunks(member, _ROWS_AT_ONCE, rules.columns):
            pile.add(part)
    return TableMaterial(Table(names, pile.array()), rules, seed)


class TableMaterial:
    """A `zoo.datasets.material.Material` of a table. `bind` comes before what trains, measures or draws."""

    def __init__(self, table: Table, rules: TableRules, seed: int) -> None:
        """Raises DataError when the rows cannot be divided."""
        self._table, self._rules, self._seed = table, rules, seed
        self._family: Family | None = None
        self._scaling: _Scaling | None = None
        self._train, self._held_out = split_rows(len(table.values), rules.held_out_share, seed)
        self.summary = (
            f"{len(table.values):,} rows of {len(table.names)} columns, {len(self._held_out):,} held out"
        )

    def learn(self, folder: Path) -> None:
        """Write names, means and scales of the columns into folder/columns.json."""
        count = len(self._table.names)
        found = _Scaling(np.zeros(count), np.ones(count))
        if self._rules.standardise:
            found = _measured(self._table.values, self._train)
        said = {
            "schema": 1,
            "names": self._table.names,
            "mean": found.mean.tolist(),
            "scale": found.scale.tolist(),
        }
        previews.write(folder / COLUMNS, json.dumps(said, indent=1).encode() + b"\n")

    def bind(self, family: Family, files: Mapping[str, Path]) -> dict[str, Any]:
        """Read the scales, and give the number of columns. A network keeps the scales it was trained with.

        Raises DataError when the network knows other columns.
        """
        if COLUMNS not in files:
            raise DataError(
                f"{family.name}: there is no {COLUMNS}, so it is not known how values were scaled"
            )
        names, self._scaling = _read_columns(files[COLUMNS])
        if names != self._table.names:
            raise DataError(
                f"the data has the columns {_few(self._table.names)}, but the network has {_few(names)}"
            )
        self._family = family
        return config_settings(family, {"columns": len(names)})

    def rows(self, network: nn.Module, seed: int) -> ArrayRows:
        """Rows (B, D) in float64 for a network of float64, else float32."""
        return ArrayRows(self._selection(self._train, network), "rows", 1, seed)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """The mean loss over the held-out rows."""
        return held_out_loss(network, self._selection(self._held_out, network), self._seed)

    def preview(self, network: nn.Module, count: int, seed: int, stem: Path) -> Iterator[Path]:
        """Draw rows, the last that `network.sample` yields: (N, D); one CSV file in the data's own units."""
        family, scaling = self._bound()
        drawn = previews.last_sample(network, family, count, seed).detach().double().cpu().numpy()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._table.names)
        writer.writerows((drawn * scaling.scale + scaling.mean).tolist())
        yield previews.write(stem.with_name(f"{stem.name}.csv"), text.getvalue().encode())

    def _selection(self, chosen: np.ndarray, network: nn.Module) -> Selection:
        _, scaling = self._bound()
        double = any(weight.dtype == torch.float64 for weight in network.parameters())
        kind = torch.float64 if double else torch.float32
        return Selection((self._table.values,), chosen, functools.partial(_prepared, scaling, kind))

    def _bound(self) -> tuple[Family, _Scaling]:
        if self._family is None or self._scaling is None:
            raise DataError(
                "the table belongs to no network yet: bind it to the files beside the weights first"
            )
        return self._family, self._scaling


def _prepared(scaling: _Scaling, kind: torch.dtype, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((np.asarray(values) - scaling.mean) / scaling.scale).to(kind)


def _measured(values: np.ndarray, chosen: np.ndarray) -> _Scaling:
    """Mean and standard deviation of the chosen rows; a column that does not vary but by rounding keeps its scale."""
    parts = [chosen[at : at + _ROWS_AT_ONCE] for at in range(0, len(chosen), _ROWS_AT_ONCE)]
    mean = sum(values[part].sum(axis=0) for part in parts) / len(chosen)
    variance = sum(((values[part] - mean) ** 2).sum(axis=0) for part in parts) / len(chosen)
    deviation = np.sqrt(variance)
    return _Scaling(mean, np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0))


def _read_columns(path: Path) -> tuple[tuple[str, ...], _Scaling]:
    """The names and the scaling in a columns.json. Raises DataError when it is none."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(said["names"])
        scaling = _Scaling(np.array(said["mean"], np.float64), np.array(said["scale"], np.float64))
        fits = said["schema"] == 1 and scaling.mean.shape == scaling.scale.shape == (len(names),)
        fits = fits and bool(np.isfinite(scaling.mean).all() and np.isfinite(scaling.scale).all())
        fits = fits and bool((scaling.scale > 0).all()) and all(isinstance(name, str) for name in names)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        fits = False
    if not fits:
        raise DataError(f"{path} does not say names, mean and scale of columns")
    return names, scaling


def _few(names: tuple[str, ...]) -> str:
    shown = ", ".join(name[:40] for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
