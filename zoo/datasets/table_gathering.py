"""All rows of a source as one table: of files in their order, of an array, or of images; and their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.datasets import image_files, table_arrays, table_files
from zoo.datasets.arrays import Pile
from zoo.datasets.source import Source
from zoo.datasets.table_arrays import ArrayTable
from zoo.datasets.table_columns import ImageShape, few
from zoo.datasets.table_files import Table
from zoo.errors import DataError, UsageError

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Gathered:
    """table: the rows to learn from. weights: (N,) float64, at least 0, or None. image: what a row is, or None.

    What is more than memory should hold lies in a file; see `zoo.datasets.arrays.Pile`.
    """

    table: Table
    weights: np.ndarray | None = None
    image: ImageShape | None = None


def gather(source: Source, columns: tuple[str, ...] = (), weights: str | None = None) -> Gathered:
    """The rows of a source. columns: which, in this order; none means all but the weights. weights: their column.

    An array whose columns are all wanted is mapped from its file; everything else is read once.
    Raises UsageError for columns that there are not, DataError as `zoo.datasets.table_files` does, for files with
    other columns than the first, and for a weight below 0.
    """
    array = _array(source)
    if array is not None:
        return _of_array(array, columns, weights)
    members = source.files(table_files.SUFFIXES)
    names = _wanted(str(members[0]), table_files.column_names(members[0]), columns, weights)
    rows = _Rows(names, weights)
    for member in members:
        other = _wanted(str(member), table_files.column_names(member), columns, weights)
        if other != names:
            raise DataError(f"{member} has the columns {few(other)}, but {members[0]} has {few(names)}")
        rows.begin(str(member))
        for part in table_files.chunks(member, _ROWS_AT_ONCE, rows.stored):
            rows.add(part)
    return rows.gathered()


def _array(source: Source) -> ArrayTable | None:
    """The one array that a source is; None for other files."""
    if source.built_in is not None and source.built_in.modality == "image":
        return _images(source)
    if source.path is None or source.path.is_dir():
        return None
    member = table_files.member_of(source.path)
    return table_arrays.of_file(member) if table_files.is_array(member) else None


def _images(source: Source) -> ArrayTable:
    """A built-in set of images."""
    assert source.path is not None
    if source.path.suffix == ".zip":
        members = source.files(image_files.SUFFIXES)
        found = image_files.from_members(members, None, labels=False)
    else:
        found = image_files.from_arrays(source.path, None, labels=False)
    return table_arrays.of_images(source.name, found.pixels)


def _of_array(array: ArrayTable, columns: tuple[str, ...], weights: str | None) -> Gathered:
    names = _wanted(array.name, array.names, columns, weights)
    if names == array.names:
        for _ in table_arrays.checked(array):
            pass
        return Gathered(Table(names, array.values), image=array.image)
    rows = _Rows(names, weights)
    rows.begin(array.name)
    places = [array.names.index(name) for name in rows.stored]
    for part in table_arrays.checked(array, _ROWS_AT_ONCE, places):
        rows.add(part.astype(np.float64))
    return rows.gathered()


def _wanted(
    file: str, names: tuple[str, ...], columns: tuple[str, ...], weights: str | None
) -> tuple[str, ...]:
    """The columns to learn from. Raises UsageError for one that the file does not have, or twice, or for none."""
    for setting, asked in (("columns", columns), ("weights", () if weights is None else (weights,))):
        for name in asked:
            if name not in names:
                raise UsageError(f"data.{setting} names {name!r}, but {file} has {few(names)}")
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"data.columns names {twice!r} twice")
    if weights in columns:
        raise UsageError(f"data.weights names {weights!r}, which is among data.columns too")
    wanted = columns or tuple(name for name in names if name != weights)
    if not wanted:
        raise UsageError(f"{file} has no column but the weights {weights!r}: there is nothing to learn from")
    return wanted


class _Rows:
    """Rows and their weights, gathered part by part."""

    def __init__(self, names: tuple[str, ...], weights: str | None) -> None:
        """names: of the columns to learn from. weights: the name of theirs, or None."""
        self._names, self._weights = names, weights
        self._values, self._weighing = Pile((len(names),), np.float64), Pile((), np.float64)
        self._file, self._done = "", 0

    @property
    def stored(self) -> tuple[str, ...]:
        """The columns that a part has."""
        return self._names if self._weights is None else (*self._names, self._weights)

    def begin(self, file: str) -> None:
        """What comes now is of this file."""
        self._file, self._done = file, 0

    def add(self, part: np.ndarray) -> None:
        """part: (rows, D), or (rows, D + 1) with the weights last. Raises DataError for a weight below 0."""
        self._values.add(part[:, : len(self._names)])
        if self._weights is not None:
            wrong = np.flatnonzero(part[:, -1] < 0)
            if len(wrong):
                row, value = self._done + int(wrong[0]) + 1, part[wrong[0], -1]
                raise DataError(
                    f"{self._file}: row {row}, column {self._weights!r} is {value}, but a weight is at least 0"
                )
            self._weighing.add(part[:, -1])
        self._done += len(part)

    def gathered(self) -> Gathered:
        weights = None if self._weights is None else self._weighing.array()
        return Gathered(Table(self._names, self._values.array()), weights)
