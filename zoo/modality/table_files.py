"""Rows of a table into CSV, TSV, Parquet, .npy or JSON lines, block by block; a file is there whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from zoo.datasets.table_files import Table
from zoo.errors import MissingDependencyError, UsageError
from zoo.os_words import naming

LABELS = ("component", "responsibility")
"""The first columns of labelled rows: a whole number from 0 on, and a probability."""

SUFFIXES = (".csv", ".tsv", ".parquet", ".npy", ".jsonl")

Add = Callable[[np.ndarray], None]
"""Takes the next rows, (B, D)."""

_ROWS_AT_ONCE = 65_536


def save(table: Table, path: Path) -> None:
    """A whole table with the names of its columns; values read back are equal. Raises as `writing` does."""
    with writing(path, table.names) as add:
        for first in range(0, len(table.values), _ROWS_AT_ONCE):
            add(table.values[first : first + _ROWS_AT_ONCE])


@contextmanager
def writing(
    path: Path, names: Sequence[str], *, seed: int = 0, start: int = 0, labelled: bool = False
) -> Iterator[Add]:
    """What the rows of a new file are given to, (B, D) of float64 at a time; the file is there once all are.

    seed, start: of the samples, which JSON lines tell; see `record`. labelled: rows begin with `LABELS`, (B, 2 + D).
    One that is there is replaced.
    Raises UsageError for a name without one of `SUFFIXES`, MissingDependencyError for Parquet without pyarrow.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise UsageError(f"cannot write a table to {path}", hint=f"a file ends in {', '.join(SUFFIXES)}")
    into = require_parquet() if kind == ".parquet" else None
    with whole(path) as file:
        if into is not None:
            with _parquet(into, file, names, labelled=labelled) as add:
                yield add
            return
        if kind == ".npy":
            with _array(file, len(names) + len(LABELS) * labelled) as add:
                yield add
            return
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        if kind == ".jsonl":
            yield _lines(text, names, seed, start, labelled=labelled)
        else:
            yield _cells(text, names, kind, labelled=labelled)
        text.flush()
        text.detach()


def require_parquet() -> Any:
    """The module that writes Parquet. Raises MissingDependencyError."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingDependencyError(
            "the package pyarrow, which writes Parquet, is not installed",
            hint="pip install 'zoo-core[parquet]'",
        ) from None
    return parquet


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside `path` that takes its name once it is written and flushed, and is removed if that fails."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def record(
    names: Sequence[str], values: np.ndarray, index: int, seed: int, *, labelled: bool = False
) -> dict[str, Any]:
    """A row (D,) as JSON; `index` and `seed` draw it again. What is no finite number is None.

    labelled: the row begins with `LABELS`.
    """
    said = [value if math.isfinite(value) else None for value in values.tolist()]
    told: dict[str, Any] = {"index": index, "seed": seed}
    if labelled:
        told |= {LABELS[0]: int(values[0]), LABELS[1]: said[1]}
        said = said[len(LABELS) :]
    return told | {"values": dict(zip(names, said, strict=True))}


def csv_text(rows: Sequence[Sequence[Any]], kind: str = ".csv") -> str:
    """Lines of CSV or TSV, of text and numbers."""
    text = io.StringIO()
    csv.writer(text, delimiter=_delimiter(kind), lineterminator="\n").writerows(rows)
    return text.getvalue()


def csv_names(names: Sequence[str], kind: str = ".csv", *, labelled: bool = False) -> str:
    """The line of names above such rows."""
    return csv_text([[*(LABELS if labelled else ()), *names]], kind)


def csv_numbers(rows: np.ndarray, kind: str = ".csv", *, labelled: bool = False) -> str:
    """As `csv_text`, rows (B, D) of float64, with the digits that read back as the same; see `writing`."""
    delimiter, lines = _delimiter(kind), rows.tolist()
    if labelled:
        lines = [[int(component), *rest] for component, *rest in lines]
    return "".join(delimiter.join(map(repr, row)) + "\n" for row in lines)


def _delimiter(kind: str) -> str:
    return "\t" if kind == ".tsv" else ","


def _cells(text: IO[str], names: Sequence[str], kind: str, *, labelled: bool) -> Add:
    text.write(csv_names(names, kind, labelled=labelled))

    def add(rows: np.ndarray) -> None:
        text.write(csv_numbers(rows, kind, labelled=labelled))

    return add


def _lines(text: IO[str], names: Sequence[str], seed: int, start: int, *, labelled: bool) -> Add:
    following = start

    def add(rows: np.ndarray) -> None:
        nonlocal following
        for row in rows:
            said = record(names, row, following, seed, labelled=labelled)
            text.write(json.dumps(said, ensure_ascii=False) + "\n")
            following += 1

    return add


@contextmanager
def _array(file: IO[bytes], columns: int) -> Iterator[Add]:
    """Rows of an .npy file; its head, which says how many they are, has room for any number and is written again."""
    count = 0

    def head() -> None:
        shape: tuple[int, ...] = (count, columns)
        said = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, said)

    def add(rows: np.ndarray) -> None:
        nonlocal count
        count += len(rows)
        file.write(np.ascontiguousarray(rows, "<f8").data)

    head()
    begins = file.tell()
    yield add
    file.seek(0)
    head()
    assert file.tell() == begins  # numpy leaves room for the first number's digits
    file.seek(0, os.SEEK_END)


@contextmanager
def _parquet(parquet: Any, file: IO[bytes], names: Sequence[str], *, labelled: bool) -> Iterator[Add]:
    import pyarrow

    fields = [(name, pyarrow.float64()) for name in names]
    if labelled:
        fields = [(LABELS[0], pyarrow.int64()), (LABELS[1], pyarrow.float64()), *fields]
    schema = pyarrow.schema(fields)

    def add(rows: np.ndarray) -> None:
        columns = [np.ascontiguousarray(column) for column in rows.T]
        if labelled:
            columns[0] = columns[0].astype(np.int64)
        writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))

    with parquet.ParquetWriter(file, schema) as writer:
        yield add
