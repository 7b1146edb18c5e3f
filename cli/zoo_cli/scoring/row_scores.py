"""The scores of a table's rows, block by block: shown, saved and summed up."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_cli import measures, streams, table_output, terminal

if TYPE_CHECKING:
    import numpy as np

    from zoo.modality.table_model import TableModel

_COLUMNS = ("file", "row", "log_likelihood")
_LABELS = ("component", "responsibility")


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a file. first, kept: as of `zoo.datasets.table_files.Block`.

    values: (n,) the log-likelihoods of those that are kept. labels: their components and how probable these are.
    """

    first: int
    kept: np.ndarray
    values: np.ndarray
    labels: tuple[np.ndarray, np.ndarray] | None = None

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """(row, log-likelihood), with labels (row, log-likelihood, component, responsibility)."""
        numbers = self.first + self.kept.nonzero()[0]
        columns = [numbers, self.values, *(self.labels or ())]
        return zip(*(column.tolist() for column in columns), strict=True)

    def lines(self) -> str:
        """What a pipe gets: a line a row, empty where the row is left out."""
        told = ["\t".join(map(repr, values)) for _, *values in self.rows()]
        if bool(self.kept.all()):
            return "".join(f"{line}\n" for line in told)
        lines = iter(told)
        return "".join(f"{next(lines) if kept else ''}\n" for kept in self.kept.tolist())


@dataclass
class Scores:
    """The parts of each file, in order."""

    labelled: bool = False
    files: list[tuple[str, list[Part]]] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """What is told of each row."""
        return (*_COLUMNS, *(_LABELS if self.labelled else ()))

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """What `columns` names, of each row."""
        return ((file, *row) for file, parts in self.files for part in parts for row in part.rows())

    def __len__(self) -> int:
        return sum(len(part.values) for _, parts in self.files for part in parts)

    @property
    def left_out(self) -> int:
        """Rows with a missing value."""
        return sum(len(part.kept) - len(part.values) for _, parts in self.files for part in parts)

    @property
    def total(self) -> float:
        """Not a number where one is none, or both infinities are there."""
        try:
            return math.fsum(row[2] for row in self.rows())
        except (ValueError, OverflowError):
            return math.nan


def tell(model: TableModel, scores: Scores, *, saved: bool, as_json: bool, quiet: bool) -> None:
    criteria = measures.criteria(model.network, scores.total, len(scores))
    if as_json:
        _json(model.name, scores, criteria)
        return
    if not saved and terminal.for_reading(streams.results()):
        _table(scores)
    total = scores.total
    rows = f"{len(scores):,} row{'s' * (len(scores) != 1)}"
    rows += f" ({scores.left_out:,} with a missing value left out)" if scores.left_out else ""
    told = measures.criteria_told(criteria)
    terminal.note(
        f"{rows}: mean log-likelihood {total / len(scores):.6f} nats, {total:.3f} in all{told}", quiet=quiet
    )


def _table(scores: Scores) -> None:
    several = len(scores.files) > 1
    headings = ["row", "log-likelihood", *(_LABELS if scores.labelled else ())]
    table = terminal.table(*(["file"] if several else []), *headings, right=headings)
    for _, (file, row, value, *labels) in zip(range(table_output.MOST_ROWS), scores.rows(), strict=False):
        named = [str(labels[0]), f"{labels[1]:.3f}"] if labels else []
        table.add_row(*([terminal.one_line(file)] if several else []), str(row), f"{value:.3f}", *named)
    terminal.console(streams.results()).print(table)
    more = len(scores) - table_output.MOST_ROWS
    if more > 0:
        terminal.note(f"... and {more:,} more row{'s' * (more != 1)}; -o FILE.csv saves all")


def _item(columns: tuple[str, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    said = dict(zip(columns, row, strict=True))
    return {
        name: measures.number(value) if isinstance(value, float) else value for name, value in said.items()
    }


def _json(model: str, scores: Scores, criteria: Mapping[str, float]) -> None:
    """One object, a line for each row, without all of its text in memory."""
    from zoo.text_safety import safe_json

    def text(value: Any) -> str:
        return safe_json(json.dumps(value, ensure_ascii=False))

    terminal.out(f'{{\n  "model": {text(model)},\n  "items": [')
    last = len(scores)
    for at, item in enumerate(scores.rows(), 1):
        terminal.out(f"    {text(_item(scores.columns, item))}{',' * (at < last)}")
    total = scores.total
    terminal.out(
        f'  ],\n  "rows": {last},\n  "log_likelihood": {text(measures.number(total))},\n'
        f'  "mean_log_likelihood": {text(measures.number(total / last))},\n'
        f'  "bic": {text(measures.number(criteria.get("bic", math.nan)))},\n'
        f'  "aic": {text(measures.number(criteria.get("aic", math.nan)))}\n}}'
    )


def save(path: Path, scores: Scores) -> None:
    from zoo.modality.table_files import csv_text, whole

    kind = path.suffix.lower()
    with whole(path) as file:
        if kind != ".jsonl":
            file.write(csv_text([scores.columns], kind).encode())
        for item in scores.rows():
            line = (
                json.dumps(_item(scores.columns, item), ensure_ascii=False) + "\n"
                if kind == ".jsonl"
                else csv_text([item], kind)
            )
            file.write(line.encode())


def warn_of_nan(scores: Scores) -> bool:
    """Say which rows have no log-likelihood that is a number; returns whether there are any."""
    broken = [(file, row) for file, row, value, *_ in scores.rows() if not math.isfinite(value)]
    if broken:
        file, row = broken[0]
        terminal.warn(
            f"the log-likelihood of {len(broken):,} of {len(scores):,} rows is no finite number, the first of"
            f" {file}: row {row}; the weights are broken, or their dtype is too small for these values"
        )
    return bool(broken)
