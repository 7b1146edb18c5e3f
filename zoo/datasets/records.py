"""CSV, TSV and Parquet files as they are written: the names of their columns, and cells part by part."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from zoo.datasets.source import Member
from zoo.errors import DataError, MissingDependencyError

SUFFIXES = (".csv", ".tsv", ".parquet")

_MOST_CHARACTERS = 2**24  # of a line
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows. first: the number of the first one; rows count from 1, below the names.

    columns: of each name its cells, as text or as (rows,) float64; Parquet says which, a cell of CSV is always text.
    """

    first: int
    columns: dict[str, list[str] | np.ndarray]


def parts(member: Member, names: Sequence[str]) -> Iterator[Part]:
    """The columns of these names, part by part. Raises DataError for damage, and in Parquet for a null."""
    with member.open() as stream:
        if is_parquet(member):
            yield from _parquet_parts(member, stream, names)
        else:
            yield from _text_parts(member, stream, names)


def is_parquet(member: Member) -> bool:
    """Whether a file is Parquet, by its name; else it is text."""
    return member.name.lower().endswith(".parquet")


def records_of(member: Member, stream: IO[bytes]) -> Iterator[list[str]]:
    """The cells of each line of CSV or TSV; empty lines are passed over. Raises DataError for damage."""
    delimiter = "\t" if member.name.lower().endswith(".tsv") else ","
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(_lines(member, text), delimiter=delimiter)
        try:
            yield from (cells for cells in reader if cells)
        except csv.Error as error:
            raise DataError(f"{member}: line {reader.line_num}: {error}") from None
        except UnicodeDecodeError:
            raise DataError(f"{member}: after line {reader.line_num} it is not UTF-8 text") from None


def _lines(member: Member, text: IO[str]) -> Iterator[str]:
    while line := text.readline(_MOST_CHARACTERS + 1):
        if len(line) > _MOST_CHARACTERS:
            raise DataError(f"{member} has a line of more than {_MOST_CHARACTERS:,} characters")
        yield line


def parquet_file(member: Member, stream: IO[bytes]) -> Any:
    """pyarrow's reader of a file. Raises MissingDependencyError without pyarrow, DataError for what is no Parquet."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingDependencyError(
            f"{member}: the package pyarrow, which reads Parquet, is not installed",
            hint="pip install 'zoo-core[parquet]'",
        ) from None
    with decoding(member):
        return parquet.ParquetFile(stream, pre_buffer=False)  # which would hold all of the file by its end


@contextmanager
def decoding(member: Member) -> Iterator[None]:
    """Whatever pyarrow raises of a stranger's file within is a DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # any kind of error
        raise DataError(f"{member} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None


def batches(member: Member, file: Any, names: Sequence[str], rows: int) -> Iterator[Any]:
    """The columns of these names of a `parquet_file`, in pyarrow's batches of at most so many rows."""
    found = file.iter_batches(batch_size=rows, columns=list(names), use_threads=False)
    while True:
        with decoding(member):
            batch = next(found, None)
        if batch is None:
            return
        yield batch


def _text_parts(member: Member, stream: IO[bytes], names: Sequence[str]) -> Iterator[Part]:
    records = records_of(member, stream)
    present = [name.strip() for name in next(records)]
    places = [present.index(name) for name in names]
    first = 1
    waiting: list[list[str]] = [
        [] for _ in names
    ]  # by column: lists of rows would keep the garbage collector busy
    for row, cells in enumerate(records, 1):
        if len(cells) != len(present):
            raise DataError(
                f"{member}: row {row} has {len(cells)} cells, but there are {len(present)} columns"
            )
        for column, place in zip(waiting, places, strict=True):
            column.append(cells[place])
        if row - first + 1 == _ROWS_AT_ONCE:
            yield Part(first, dict(zip(names, waiting, strict=True)))
            first, waiting = row + 1, [[] for _ in names]
    if waiting[0]:
        yield Part(first, dict(zip(names, waiting, strict=True)))


def _parquet_parts(member: Member, stream: IO[bytes], names: Sequence[str]) -> Iterator[Part]:
    first = 1
    for batch in batches(member, parquet_file(member, stream), names, _ROWS_AT_ONCE):
        yield Part(first, {name: _column(member, first, name, batch.column(name)) for name in names})
        first += len(batch)


def _column(member: Member, first: int, name: str, values: Any) -> list[str] | np.ndarray:
    import pyarrow

    kind, types = values.type, pyarrow.types
    if values.null_count:
        row = first + values.is_null().index(True).as_py()
        raise DataError(f"{member}: row {row}, column {name!r} is empty", hint="leave such rows out")
    if types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if types.is_string(kind) or types.is_large_string(kind):
        text: list[str] = values.to_pylist()
        return text
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        found: np.ndarray = values.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        return found
    raise DataError(
        f"{member}: column {name!r} holds {kind}, neither numbers nor text",
        hint="choose other columns: --set data.columns=NAME,NAME",
    )
