"""CSV, TSV and Parquet files as they are written: the names of their columns, and cells part by part."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from zoo import bounds
from zoo.datasets import dialect, text_encoding
from zoo.datasets.cells import is_truth
from zoo.datasets.dialect import Dialect
from zoo.datasets.file_rules import PLAIN, FileRules, to_set
from zoo.datasets.source import Member
from zoo.errors import DataError, MissingDependencyError, UsageError
from zoo.os_words import reason

SUFFIXES = (".csv", ".tsv", ".parquet", ".csv.gz", ".tsv.gz")

_MOST_CHARACTERS = 2**24  # of a line
_ROWS_AT_ONCE = 65_536
_SAMPLE = 2**18  # bytes that a dialect is found from, and more until there are some lines
_LEAST_LINES = 3
_GZIP = b"\x1f\x8b"
_INDEX = "__index_level_"  # of a pandas index without a name, in Parquet
_MOST_TEXT = 2**28  # bytes of a column of text in a batch, were all its cells the longest


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows. first: the number of the first one; rows count from 1, below the names.

    columns: of each name its cells, as text or as (rows,) float64; Parquet says which, a cell of CSV is always text.
    """

    first: int
    columns: dict[str, list[str] | np.ndarray]


@dataclass(frozen=True)
class Layout:
    """names: of all columns of a file, in its order, "" for none. idle: places of those that are only an index.

    notes: what was found about the file, for people. text: how it is written, None for Parquet.
    """

    member: Member
    names: tuple[str, ...]
    idle: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    text: Dialect | None = None

    def told(self, names: Sequence[str]) -> tuple[str, ...]:
        """`notes`, and what else is to be said where these columns are read as numbers."""
        text = self.text
        words = text is not None and any(any(map(is_truth, text.column(name))) for name in names)
        return (*self.notes, *(("True and False read as 1 and 0",) if words else ()))

    def chosen(self, columns: Sequence[str] = (), exclude: Sequence[str] = ()) -> tuple[str, ...]:
        """The wanted columns; without `columns` all but those that are idle or in `exclude`.

        Raises UsageError for a column that there is not, DataError for one that has no name, or one of another's.
        """
        for setting, asked in (("columns", columns), ("exclude", exclude)):
            unknown = next((name for name in asked if name not in self.names), None)
            if unknown is not None:
                raise UsageError(
                    f"data.{setting} names {unknown!r}, but {self.member} has {', '.join(self.names)[:200]}"
                )
        rest = [name for at, name in enumerate(self.names) if at not in self.idle and name not in exclude]
        found = Counter(self.names)
        for name in columns or rest:
            if not name:
                named = [name for name in rest if name and found[name] == 1]
                choice = named if 0 < len(named) < 6 else ["NAME", "NAME"]
                raise DataError(
                    f"{self.member} has a column without a name",
                    hint=f"name it in the file, or choose the others: {to_set('columns', *choice)}",
                )
            if found[name] > 1:
                raise DataError(
                    f"{self.member} has {found[name]} columns {name!r}",
                    hint="give each a name of its own in the file"
                    + ("" if columns else f"; {to_set('exclude', name)} leaves all of them out"),
                )
        return tuple(columns or rest)


def layout(member: Member, rules: FileRules = PLAIN, columns: Sequence[str] = ()) -> Layout:
    """The columns of a file, without reading more than its beginning.

    columns: what those of a text without names are called, if they are as many.
    Raises DataError for damage, and for a beginning that can be read in two ways; UsageError for unfit rules.
    """
    if is_parquet(member):
        with member.open() as stream:
            names = tuple(parquet_file(member, stream).schema_arrow.names)
        idle = frozenset(at for at, name in enumerate(names) if name.startswith(_INDEX))
        return Layout(member, names, idle, ("the index of the table left out",) if idle else ())
    with _unpacked(member) as stream:
        data = stream.read(_SAMPLE)
        while (
            data.count(b"\n") < _LEAST_LINES
            and len(data) < _MOST_CHARACTERS
            and (more := stream.read(_SAMPLE))
        ):
            data += more
        cut = bool(stream.read(1))
    encoding = text_encoding.encoding_of(str(member), data, rules)
    text = io.TextIOWrapper(io.BytesIO(data), encoding, "ignore", newline="")
    lines = list(_lines(member, text))
    try:
        found = dialect.of(str(member), lines[:-1] if cut else lines, encoding, rules, columns)
    except csv.Error as error:
        raise DataError(f"{member}: {error}") from None
    if not found.names:
        raise DataError(f"{member} is empty; its first line must name the columns")
    return Layout(member, found.names, found.idle, found.notes, found)


def is_parquet(member: Member) -> bool:
    """Whether a file is Parquet, by its name; else it is text."""
    return member.name.lower().endswith(".parquet")


def is_table(name: str) -> bool:
    """Whether a file is CSV, TSV or Parquet, by its name."""
    return name.lower().endswith(SUFFIXES)


def rows_of(member: Member, written: Dialect) -> Iterator[list[str]]:
    """The cells of each row of a text; empty lines are passed over. Raises DataError for damage."""
    with _unpacked(member) as stream, io.TextIOWrapper(stream, written.encoding, newline="") as text:
        lines = _lines(member, text)
        if written.comments:  # an empty line in their place keeps the count of lines
            lines = ("\n" if line.startswith(dialect.COMMENT) else line for line in lines)
        reader = csv.reader(lines, delimiter=written.delimiter)
        found = (record for record in reader if record)
        try:
            if written.header:
                next(found, None)
            yield from found
        except csv.Error as error:
            raise DataError(f"{member}: line {reader.line_num}: {error}") from None
        except UnicodeDecodeError:
            raise text_encoding.not_text(str(member), reader.line_num, written.encoding) from None


def _lines(member: Member, text: IO[str]) -> Iterator[str]:
    while line := text.readline(_MOST_CHARACTERS + 1):
        if len(line) > _MOST_CHARACTERS:
            raise DataError(f"{member} has a line of more than {_MOST_CHARACTERS:,} characters")
        yield line


@contextmanager
def _unpacked(member: Member) -> Iterator[IO[bytes]]:
    """A text's bytes, unpacked where they begin as gzip's do. Raises DataError for damage met within."""
    with member.open() as stream:
        packed = stream.read(len(_GZIP)) == _GZIP
    with member.open() as stream:
        try:
            yield bounds.gunzipped(stream, str(member)) if packed else stream
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{member} cannot be unpacked: {reason(error)}") from None


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
        file = parquet.ParquetFile(stream, pre_buffer=False)  # which would hold all of the file by its end
        said = file.metadata
        pages = sum(said.row_group(at).total_byte_size for at in range(said.num_row_groups))
        bounds.require_moderate(str(member), stream.seek(0, io.SEEK_END), max(pages, said.num_rows))
        texts = [column.name for column in file.schema_arrow if _is_text(column.type)]
        return parquet.ParquetFile(stream, pre_buffer=False, read_dictionary=texts) if texts else file


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


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
        yield _with_texts(member, batch)


def _with_texts(member: Member, batch: Any) -> Any:
    """A batch with its text cell by cell: a few bytes of a file can say that a long text is in every row."""
    import pyarrow
    from pyarrow import compute

    columns = []
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        if pyarrow.types.is_dictionary(values.type) and _is_text(values.type.value_type):
            longest = compute.max(compute.binary_length(values.dictionary)).as_py() or 0
            if longest * len(batch) > _MOST_TEXT:
                raise DataError(
                    f"{member}: column {name!r} has a text of {longest:,} bytes, too long for a cell"
                )
            values = values.cast(values.type.value_type)
        columns.append(values)
    return pyarrow.RecordBatch.from_arrays(columns, batch.schema.names)


def parts(found: Layout, names: Sequence[str], *, nulls: bool = False) -> Iterator[Part]:
    """The columns of these names, part by part. Raises DataError for damage, and in Parquet for a null.

    nulls: those of Parquet are empty text or not a number instead.
    """
    if found.text is None:
        return _parquet_parts(found, names, nulls=nulls)
    return _text_parts(found, found.text, names)


def uneven(member: Member, row: int, cells: int, columns: int) -> DataError:
    """The error for a row that has other than one cell a column."""
    return DataError(
        f"{member}: row {row} has {cells} cells, but there are {columns} columns",
        hint="if its cells are divided or its numbers written otherwise: --set data.delimiter=, data.decimal=",
    )


def _text_parts(layout: Layout, written: Dialect, names: Sequence[str]) -> Iterator[Part]:
    present = layout.names
    places = [present.index(name) for name in names]
    first = 1
    waiting: list[list[str]] = [
        [] for _ in names
    ]  # by column: lists of rows would keep the garbage collector busy
    for row, cells in enumerate(rows_of(layout.member, written), 1):
        if len(cells) != len(present):
            raise uneven(layout.member, row, len(cells), len(present))
        for column, place in zip(waiting, places, strict=True):
            column.append(cells[place])
        if row - first + 1 == _ROWS_AT_ONCE:
            yield Part(first, dict(zip(names, waiting, strict=True)))
            first, waiting = row + 1, [[] for _ in names]
    if waiting[0]:
        yield Part(first, dict(zip(names, waiting, strict=True)))


def _parquet_parts(layout: Layout, names: Sequence[str], *, nulls: bool) -> Iterator[Part]:
    first, member = 1, layout.member
    with member.open() as stream:
        for batch in batches(member, parquet_file(member, stream), names, _ROWS_AT_ONCE):
            columns = {name: _column(member, first, name, batch.column(name), nulls=nulls) for name in names}
            yield Part(first, columns)
            first += len(batch)


def _column(member: Member, first: int, name: str, values: Any, *, nulls: bool) -> list[str] | np.ndarray:
    import pyarrow

    kind, types = values.type, pyarrow.types
    if values.null_count and not nulls:
        row = first + values.is_null().index(True).as_py()
        raise DataError(f"{member}: row {row}, column {name!r} is empty", hint="fill it in")
    if types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if types.is_string(kind) or types.is_large_string(kind):
        text: list[str] = values.fill_null("").to_pylist()
        return text
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        try:
            found: np.ndarray = values.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        except pyarrow.ArrowInvalid:
            raise DataError(
                f"{member}: column {name!r} holds whole numbers beyond 2^53, which are not exact as numbers",
                hint=f"save them as text, or leave them out: {to_set('exclude', name)}",
            ) from None
        return found
    raise DataError(
        f"{member}: column {name!r} holds {kind}, neither numbers nor text",
        hint=f"leave it out: {to_set('exclude', name)}",
    )
