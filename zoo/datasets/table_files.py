"""Tables of numbers in CSV, TSV, Parquet and array files: names of columns, and rows part by part."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets import cells, records, table_arrays
from zoo.datasets.dialect import Dialect
from zoo.datasets.file_rules import PLAIN, FileRules
from zoo.datasets.records import Layout
from zoo.datasets.source import Member
from zoo.datasets.table_refusals import no_number, not_numbers, of_another_type
from zoo.errors import DataError

SUFFIXES = (*records.SUFFIXES, *table_arrays.SUFFIXES)

_ROWS_AT_ONCE = 65_536
_RECORDS_AT_ONCE = 1024  # lines of text that are numbers together


@dataclass(frozen=True, eq=False)
class Table:
    """names: of the columns. values: (N, D) float64, all finite; of an array that is mapped, in its own numbers."""

    names: tuple[str, ...]
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows of a file. first: the number of the first one, from 1 on. kept: (m,) bool, which of them are there.

    values: (n, D) float64, all finite, of those that are kept. The others miss a value (`FileRules.skip_missing`).
    """

    first: int
    kept: np.ndarray
    values: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The number of each row that is kept, (n,) int64."""
        return self.first + np.flatnonzero(self.kept)


def read_table(file: Path | Member, columns: Sequence[str] = (), rules: FileRules = PLAIN) -> Table:
    """A whole table in memory. columns: which are wanted, in this order; none means all. rules: how it is written.

    Raises DataError, with row and column, for what is missing or no finite number; UsageError for a column that the
    file does not have; MissingDependencyError for Parquet without pyarrow. Rows count from 1, below the names.
    """
    found = layout(file, rules, columns)
    names = found.chosen(columns, rules.exclude)
    parts = [block.values for block in blocks(found, _ROWS_AT_ONCE, columns, rules, leave=not columns)]
    return Table(names, np.concatenate([np.empty((0, len(names))), *parts]))


def layout(file: Path | Member, rules: FileRules = PLAIN, columns: Sequence[str] = ()) -> Layout:
    """All columns of a file, without reading a row; see `zoo.datasets.records.layout`."""
    member = member_of(file)
    if is_array(member):
        return Layout(member, table_arrays.of_file(member).names)
    return records.layout(member, rules, columns)


def chunks(file: Path | Member, rows: int, columns: Sequence[str] = ()) -> Iterator[np.ndarray]:
    """The table in parts of (`rows`, D) float64, the last perhaps shorter; only one part is in memory.

    Raises as `read_table` does.
    """
    found = layout(file, PLAIN, columns)
    return (block.values for block in blocks(found, rows, columns, leave=not columns))


def blocks(
    found: Layout, rows: int, columns: Sequence[str] = (), rules: FileRules = PLAIN, *, leave: bool = False
) -> Iterator[Block]:
    """The wanted columns of a file in blocks of `rows` of its rows, the last perhaps shorter; one is in memory.

    leave: whether a column that is of no use may be left out, for hints. Raises as `read_table` does.
    """
    names = found.chosen(columns, rules.exclude)
    if is_array(found.member):
        yield from _array_blocks(found, rows, names, rules)
    elif found.text is None:
        yield from _parquet_blocks(found, rows, names, rules, leave=leave)
    else:
        yield from _text_blocks(found, found.text, rows, names, rules, leave=leave)


def member_of(file: Path | Member) -> Member:
    """A file as one of a source."""
    return file if isinstance(file, Member) else Member(file.name, file)


def is_array(member: Member) -> bool:
    """Whether a file holds an array instead of text or Parquet."""
    return member.name.lower().endswith(table_arrays.SUFFIXES)


def _array_blocks(found: Layout, rows: int, names: Sequence[str], rules: FileRules) -> Iterator[Block]:
    table = table_arrays.of_file(found.member)
    places = [table.names.index(name) for name in names]
    first = 1
    for part, kept in table_arrays.kept(table, rows, places, skip_missing=rules.skip_missing):
        yield Block(first, kept, part.astype(np.float64))
        first += len(kept)


def _text_blocks(
    found: Layout, written: Dialect, rows: int, names: Sequence[str], rules: FileRules, *, leave: bool
) -> Iterator[Block]:
    odd = {
        name: kind
        for name in names
        if (kind := cells.kind(written.column(name), written.decimal)) != "numbers"
    }
    if odd:
        raise not_numbers(found.member, written, odd, leave=leave)
    reader = _Text(found, written, names, skip=rules.skip_missing, leave=leave)
    lines = records.rows_of(found.member, written)
    first = 1
    while True:
        parts: list[Block] = []
        for at in range(first, first + rows, _RECORDS_AT_ONCE):
            lines_here = list(itertools.islice(lines, min(_RECORDS_AT_ONCE, first + rows - at)))
            if not lines_here:
                break
            parts.append(reader.numbers(at, lines_here))
        if not parts:
            return
        yield Block(
            first,
            np.concatenate([part.kept for part in parts]),
            np.concatenate([part.values for part in parts]),
        )
        first += rows


@dataclass(frozen=True)
class _Text:
    """Turns lines of cells into numbers. skip: whether rows without a value are left out."""

    found: Layout
    written: Dialect
    names: Sequence[str]
    skip: bool
    leave: bool

    def numbers(self, first: int, lines: list[list[str]]) -> Block:
        """The wanted cells of the rows from `first` on, all at once; one by one only when something is odd."""
        columns, places = len(self.found.names), [self.found.names.index(name) for name in self.names]
        try:
            wanted = (
                list(itertools.chain.from_iterable(lines))
                if places == list(range(columns))
                else [record[at] for record in lines for at in places]
            )
            values = np.array(list(map(float, self._with_points(wanted))))
            plain = set(map(len, lines)) == {columns} and bool(np.isfinite(values).all())
            plain = plain and "_" not in "".join(wanted)
        except (ValueError, IndexError):
            plain = False
        if plain:
            return Block(first, np.ones(len(lines), bool), values.reshape(len(lines), len(places)))
        return self._one_by_one(first, lines, places)

    def _with_points(self, wanted: list[str]) -> list[str]:
        """Numbers as Python reads them. Raises ValueError for a point in numbers with decimal commas."""
        if self.written.decimal == ".":
            return wanted
        together = "\n".join(wanted)
        if "." in together:
            raise ValueError(together)
        return together.replace(",", ".").split("\n")

    def _one_by_one(self, first: int, lines: list[list[str]], places: Sequence[int]) -> Block:
        odd, kept = [], []
        for row, record in enumerate(lines, first):
            if len(record) != len(self.found.names):
                raise records.uneven(self.found.member, row, len(record), len(self.found.names))
            wanted = [record[at] for at in places]
            kept.append(not (self.skip and any(map(cells.is_missing, wanted))))
            if kept[-1]:
                odd.append([self._number(row, at, text) for at, text in zip(places, wanted, strict=True)])
        return Block(first, np.array(kept), np.array(odd).reshape(-1, len(places)))

    def _number(self, row: int, at: int, text: str) -> float:
        value = cells.number(text, self.written.decimal)
        if not math.isfinite(value):
            raise no_number(self.found.member, row, self.found.names[at], text, leave=self.leave)
        return value


def _parquet_blocks(
    found: Layout, rows: int, names: Sequence[str], rules: FileRules, *, leave: bool
) -> Iterator[Block]:
    member, first = found.member, 1
    with member.open() as stream:
        file = records.parquet_file(member, stream)
        for batch in records.batches(member, file, names, rows):
            values = np.stack(
                [_column(member, name, batch.column(name), leave=leave) for name in names], axis=1
            )
            kept = ~np.isnan(values).any(axis=1) if rules.skip_missing else np.ones(len(values), bool)
            wrong = np.argwhere(~np.isfinite(values[kept]))
            if len(wrong):
                row, column = int(np.flatnonzero(kept)[wrong[0, 0]]), int(wrong[0, 1])
                text = "" if batch.column(names[column]).is_null()[row].as_py() else str(values[row, column])
                raise no_number(member, first + row, names[column], text, leave=leave, quoted=False)
            yield Block(first, kept, values[kept])
            first += len(batch)


def _column(member: Member, name: str, values: Any, *, leave: bool) -> np.ndarray:
    """A column of a batch as (rows,) float64; not a number where it is null."""
    import pyarrow

    kind, types = values.type, pyarrow.types
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise of_another_type(member, name, values, leave=leave)
    try:
        found: np.ndarray = values.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
    except pyarrow.ArrowInvalid:
        raise DataError(f"{member}: column {name!r} has whole numbers too large for 64-bit floats") from None
    return found
