"""Tables of numbers in CSV, TSV, Parquet and array files: names of columns, and rows part by part."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from zoo.datasets import records, table_arrays
from zoo.datasets.source import Member
from zoo.errors import DataError, UsageError

SUFFIXES = (*records.SUFFIXES, *table_arrays.SUFFIXES)

_ROWS_AT_ONCE = 65_536
_RECORDS_AT_ONCE = 1024  # lines of text that are numbers together


@dataclass(frozen=True, eq=False)
class Table:
    """names: of the columns. values: (N, D) float64, all finite; of an array that is mapped, in its own numbers."""

    names: tuple[str, ...]
    values: np.ndarray


def read_table(file: Path | Member, columns: Sequence[str] = ()) -> Table:
    """A whole table in memory. columns: which are wanted, in this order; none means all.

    Raises DataError, with row and column, for what is missing or no finite number; UsageError for a column that the
    file does not have; MissingDependencyError for Parquet without pyarrow. Rows count from 1, below the names.
    """
    names = column_names(file, columns)
    parts = list(chunks(file, _ROWS_AT_ONCE, columns))
    return Table(names, np.concatenate([np.empty((0, len(names))), *parts]))


def column_names(file: Path | Member, columns: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of the wanted columns, without reading a row. Raises as `read_table` does."""
    member = member_of(file)
    if is_array(member):
        return _chosen(member, table_arrays.of_file(member).names, columns)
    with member.open() as stream:
        if records.is_parquet(member):
            names = _parquet_names(member, stream)
        else:
            names = _text_names(member, records.records_of(member, stream))
    return _chosen(member, names, columns)


def chunks(file: Path | Member, rows: int, columns: Sequence[str] = ()) -> Iterator[np.ndarray]:
    """The table in parts of (`rows`, D) float64, the last perhaps shorter; only one part is in memory.

    Raises as `read_table` does.
    """
    member = member_of(file)
    if is_array(member):
        table = table_arrays.of_file(member)
        places = [table.names.index(name) for name in _chosen(member, table.names, columns)]
        for part in table_arrays.checked(table, rows, places):
            yield part.astype(np.float64)
        return
    with member.open() as stream:
        if records.is_parquet(member):
            yield from _parquet_chunks(member, stream, rows, columns)
        else:
            yield from _text_chunks(member, stream, rows, columns)


def member_of(file: Path | Member) -> Member:
    """A file as one of a source."""
    return file if isinstance(file, Member) else Member(file.name, file)


def is_array(member: Member) -> bool:
    """Whether a file holds an array instead of text or Parquet."""
    return member.name.lower().endswith(table_arrays.SUFFIXES)


def _chosen(member: Member, names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    found = Counter(names)
    for name in columns or names:
        if name not in found:
            raise UsageError(f"data.columns names {name!r}, but {member} has {', '.join(names)[:200]}")
        if not name:
            raise DataError(f"{member} has a column without a name")
        if found[name] > 1:
            raise DataError(f"{member} has {found[name]} columns {name!r}")
    return tuple(columns or names)


def _text_names(member: Member, lines: Iterator[list[str]]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in next(lines, []))
    if not names:
        raise DataError(f"{member} is empty; its first line must name the columns")
    if all(_is_number(name) for name in names):
        raise DataError(
            f"{member}: its first line has numbers, but must name the columns",
            hint="write a line of names above it",
        )
    return names


def _text_chunks(
    member: Member, stream: IO[bytes], rows: int, columns: Sequence[str]
) -> Iterator[np.ndarray]:
    lines = records.records_of(member, stream)
    names = _text_names(member, lines)
    chosen = [(name, names.index(name)) for name in _chosen(member, names, columns)]
    parts: list[np.ndarray] = []
    row = gathered = 0
    while block := list(itertools.islice(lines, min(_RECORDS_AT_ONCE, rows - gathered))):
        parts.append(_numbers(member, row + 1, len(names), chosen, block))
        row += len(block)
        gathered += len(block)
        if gathered == rows:
            yield np.concatenate(parts)
            parts, gathered = [], 0
    if parts:
        yield np.concatenate(parts)


def _numbers(
    member: Member, first: int, columns: int, chosen: Sequence[tuple[str, int]], block: list[list[str]]
) -> np.ndarray:
    """The chosen cells of the rows from `first` on, all at once; one by one only when something is odd."""
    places = [at for _, at in chosen]
    try:
        cells = (
            list(itertools.chain.from_iterable(block))
            if places == list(range(columns))
            else [record[at] for record in block for at in places]
        )
        values = np.array(list(map(float, cells)))
        plain = set(map(len, block)) == {columns} and bool(np.isfinite(values).all())
        plain = plain and "_" not in "".join(cells)
    except (ValueError, IndexError):
        plain = False
    if plain:
        return values.reshape(len(block), len(places))
    odd = []
    for row, record in enumerate(block, first):
        if len(record) != columns:
            raise DataError(f"{member}: row {row} has {len(record)} cells, but there are {columns} columns")
        odd.append([_number(member, row, name, record[at]) for name, at in chosen])
    return np.array(odd)


def _number(member: Member, row: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:  # float takes 1_000
        raise _no_number(member, row, name, f"is {text[:40]!r}" if text.strip() else "is empty")
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _no_number(member: Member, row: int, name: str, found: str) -> DataError:
    hint = "leave such rows out, or train on other columns: --set data.columns=NAME,NAME"
    if any(sign in name for sign in ";\t|"):
        hint = "the cells of a line are divided by commas, in a .tsv file by tabs"
    return DataError(f"{member}: row {row}, column {name!r} {found}, not a finite number", hint=hint)


def _parquet_names(member: Member, stream: IO[bytes]) -> tuple[str, ...]:
    return tuple(records.parquet_file(member, stream).schema_arrow.names)


def _parquet_chunks(
    member: Member, stream: IO[bytes], rows: int, columns: Sequence[str]
) -> Iterator[np.ndarray]:
    file = records.parquet_file(member, stream)
    names = _chosen(member, file.schema_arrow.names, columns)
    done = 0
    for batch in records.batches(member, file, names, rows):
        yield np.stack([_column(member, done, name, batch.column(name)) for name in names], axis=1)
        done += len(batch)


def _column(member: Member, done: int, name: str, values: Any) -> np.ndarray:
    """A column of a batch that `done` rows come before, as (rows,) float64."""
    import pyarrow

    kind = values.type
    if not (
        pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_boolean(kind)
    ):
        raise DataError(
            f"{member}: column {name!r} holds {kind}, not numbers",
            hint="train on other columns: --set data.columns=NAME,NAME",
        )
    if values.null_count:
        row = values.is_null().index(True).as_py()
        raise _no_number(member, done + row + 1, name, "is empty")
    try:
        found: np.ndarray = values.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
    except pyarrow.ArrowInvalid:
        raise DataError(f"{member}: column {name!r} has whole numbers too large for 64-bit floats") from None
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        raise _no_number(member, done + int(wrong[0]) + 1, name, f"is {found[wrong[0]]}")
    return found
