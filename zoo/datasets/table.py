"""Tables of numbers as fits and training take them: rows of columns, scaled where that is wanted, and previews."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.datasets import previews
from zoo.datasets.arrays import (
    ArrayRows,
    Selection,
    config_settings,
    device_of,
    evaluating,
    held_out_loss,
)
from zoo.datasets.file_rules import FileRules
from zoo.datasets.images import grid
from zoo.datasets.passes import RowPasses, Team
from zoo.datasets.source import Source
from zoo.datasets.split import split_rows, split_seed
from zoo.datasets.table_columns import (
    COLUMNS,
    Columns,
    ImageShape,
    few,
    read_columns,
    standardised,
    to_json,
    unscaled,
)
from zoo.datasets.table_files import Table, chunks, read_table
from zoo.datasets.table_gathering import Gathered, gather
from zoo.errors import DataError, UsageError
from zoo.family import Family
from zoo.settings import setting

__all__ = ["COLUMNS", "Table", "TableMaterial", "TableRules", "chunks", "read", "read_table"]

_ROWS_AT_ONCE = 65_536
_VALUES_MEASURED = 2**20  # of held-out rows together


@dataclass(frozen=True)
class TableRules(FileRules):
    """How a table becomes training and held-out rows."""

    columns: tuple[str, ...] = setting((), help="names of the columns to train on; none means all")
    standardise: bool = setting(False, help="give each column mean 0 and variance 1 over the training rows")
    weights: str | None = setting(
        None, help="name of the column that says how much each row counts; only for families that are fitted"
    )
    held_out_share: float = setting(
        0.05, help="share of the rows that the seed holds out", minimum=0.0, maximum=0.9
    )
    split_seed: int | None = split_seed()


def read(source: Source, rules: TableRules, seed: int) -> TableMaterial:
    """The rows of CSV, TSV, Parquet and .npy files with the same columns, or of images, each pixel a column.

    Raises UsageError and DataError as `zoo.datasets.table_gathering.gather`.
    """
    return TableMaterial(gather(source, rules.columns, rules.weights, rules), rules, seed)


class TableMaterial:
    """A `zoo.datasets.material.Material` of a table. `bind` comes before what trains, fits, measures or draws."""

    def __init__(self, data: Gathered, rules: TableRules, seed: int) -> None:
        """Raises DataError when there are no rows, or none is left to train on."""
        self._table, self._weights, self._image = data.table, data.weights, data.image
        self._rules, self._seed = rules, seed
        self._family: Family | None = None
        self._columns: Columns | None = None
        count = len(self._table.values)
        if not count:
            raise DataError("the table has no rows")
        self._train: np.ndarray | None = None  # all, without a list of their numbers
        self._held_out = np.zeros(0, np.int64)
        if rules.held_out_share:
            self._train, self._held_out = split_rows(count, rules.held_out_share, seed)
        weighted = f", weighted by {rules.weights!r}" if data.weights is not None else ""
        said = (
            f"{count:,} rows of {len(self._table.names)} columns{weighted}, {len(self._held_out):,} held out"
        )
        self.summary = "; ".join([said, *data.notes])

    def learn(self, folder: Path) -> None:
        """Write names, means and scales of the columns into folder/columns.json."""
        found = unscaled(self._table.names, self._image)
        if self._rules.standardise:
            mean, variance = _measured(self._table.values, self._train, self._weights)
            found = standardised(found.names, mean, variance, self._image)
        previews.write(folder / COLUMNS, to_json(found))

    def bind(self, family: Family, files: Mapping[str, Path]) -> dict[str, Any]:
        """Read the scales, and give the number of columns. A network keeps the scales it was trained with.

        Raises DataError when the network knows other columns.
        """
        if COLUMNS not in files:
            raise DataError(
                f"{family.name}: there is no {COLUMNS}, so it is not known how values were scaled"
            )
        columns = read_columns(files[COLUMNS])
        self.bind_to(family, columns)
        return config_settings(family, {"columns": len(columns.names)})

    def bind_to(self, family: Family, columns: Columns) -> None:
        """As `bind`, to columns that are known. Raises DataError when they are not the data's."""
        if columns.names != self._table.names:
            raise DataError(
                f"the data has the columns {few(self._table.names)}, but the network has {few(columns.names)}"
            )
        self._family, self._columns = family, columns

    def rows(self, network: nn.Module, seed: int) -> ArrayRows:
        """Rows (B, D) in float64 for a network of float64, else float32. Raises UsageError for rows with weights."""
        if self._weights is not None:
            raise UsageError(
                f"data.weights is {self._rules.weights!r}, but only families that are fitted take weights of rows",
                hint="train without: --set data.weights=none",
            )
        return ArrayRows(self._selection(self._train, network), "rows", 1, seed)

    def passes(self, network: nn.Module, seed: int, team: Team) -> RowPasses:  # noqa: ARG002 - always in one order
        """Rows (B, D), or (rows, weights (B,)), in float64 for a network of float64, else float32."""
        return self._passes(network, team, self._train)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Over the held-out rows: the mean loss, or for a network with only `log_prob` minus the mean log-likelihood.

        The latter is in nats, a density's of the data's own units, by the rows' weights.
        """
        if callable(getattr(network, "loss", None)):
            return held_out_loss(network, self._selection(self._held_out, network), self._seed)
        if not len(self._held_out) or not callable(getattr(network, "log_prob", None)):
            return {}
        found, weights = self.scores(network)
        if not len(found):
            return {}
        nats = -float((found * weights).sum() / weights.sum())
        return {"held_out_nats_per_row": nats, "held_out_rows": len(self._held_out)}

    def scores(
        self, network: nn.Module, *, whole: bool = False, batch_size: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The log-likelihood of each held-out row and its weight, (n,) float64 each. Rows of weight 0 are left out.

        In nats, a density's of the data's own units. network: has `log_prob`. whole: of all rows, not the held-out
        ones. batch_size: rows computed together.
        """
        passes = self._passes(network, Team(device_of(network)), None if whole else self._held_out)
        size = batch_size or max(1, _VALUES_MEASURED // len(self._table.names))
        scores, counts = [np.zeros(0)], [np.zeros(0)]
        with evaluating(network), torch.no_grad():
            for batch in passes.batches(size):
                rows, weights = batch if isinstance(batch, tuple) else (batch, torch.ones(len(batch)))
                found = network.log_prob(rows)  # type: ignore[operator]
                scores.append(found.double().cpu().numpy())
                counts.append(weights.double().cpu().numpy())
        each, weight = np.concatenate(scores) - self._bound()[1].log_scale, np.concatenate(counts)
        return each[weight > 0], weight[weight > 0]

    def preview(self, network: nn.Module, count: int, seed: int, stem: Path) -> Iterator[Path]:
        """Draw rows, the last that `network.sample` yields: (N, D); one CSV file in the data's own units.

        Rows that are images are one PNG.
        """
        family, columns = self._bound()
        drawn = previews.last_sample(network, family, count, seed).detach().double().cpu().numpy()
        values = columns.restored(drawn)
        if columns.image is not None:
            pixels = grid(images_of(values, columns.image))
            yield previews.write(stem.with_name(f"{stem.name}.png"), previews.png(pixels))
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns.names)
        writer.writerows(values.tolist())
        yield previews.write(stem.with_name(f"{stem.name}.csv"), text.getvalue().encode())

    def _selection(self, chosen: np.ndarray | None, network: nn.Module) -> Selection:
        _, columns = self._bound()
        chosen = np.arange(len(self._table.values)) if chosen is None else chosen
        return Selection((self._table.values,), chosen, functools.partial(_prepared, columns, _kind(network)))

    def _passes(self, network: nn.Module, team: Team, chosen: np.ndarray | None) -> RowPasses:
        _, columns = self._bound()
        return RowPasses(
            self._table.values,
            team,
            chosen=chosen,
            weights=self._weights,
            mean=columns.mean,
            scale=columns.scale,
            dtype=_kind(network),
        )

    def _bound(self) -> tuple[Family, Columns]:
        if self._family is None or self._columns is None:
            raise DataError(
                "the table belongs to no network yet: bind it to the files beside the weights first"
            )
        return self._family, self._columns


def images_of(values: np.ndarray, shape: ImageShape) -> torch.Tensor:
    """Rows (N, D) with values from 0 to 255 as images (N, C, H, W) from -1 to 1, for `zoo.datasets.images.grid`."""
    pixels = np.asarray(values, np.float64).reshape(-1, shape.height, shape.width, shape.channels)
    return torch.from_numpy(np.clip(pixels, 0, 255) / 127.5 - 1).permute(0, 3, 1, 2)


def _kind(network: nn.Module) -> torch.dtype:
    double = any(weight.dtype == torch.float64 for weight in network.parameters())
    return torch.float64 if double else torch.float32


def _prepared(columns: Columns, kind: torch.dtype, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(columns.scaled(values)).to(kind)


def _measured(
    values: np.ndarray, chosen: np.ndarray | None, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the chosen rows, (D,) each; not finite where values are too large."""
    count = len(values) if chosen is None else len(chosen)
    spans = [slice(at, min(at + _ROWS_AT_ONCE, count)) for at in range(0, count, _ROWS_AT_ONCE)]

    def mean_of(found: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        total, weight = np.zeros(values.shape[1]), 0.0
        for span in spans:
            places = span if chosen is None else chosen[span]
            each = found(np.asarray(values[places], np.float64))
            how_much = np.ones(len(each)) if weights is None else weights[places]
            total += (how_much[:, None] * each).sum(axis=0)  # a matrix product rounds by the threads
            weight += float(how_much.sum())
        if not weight:
            raise DataError("all rows to train on have the weight 0")
        return total / weight

    with np.errstate(over="ignore", invalid="ignore"):
        mean = mean_of(lambda rows: rows)
        return mean, mean_of(lambda rows: (rows - mean) ** 2)
