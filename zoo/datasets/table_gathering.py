"""All rows of a source as one table: of files in their order, of an array, or of images; and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.datasets import image_files, table_arrays, table_files
from zoo.datasets.arrays import Pile
from zoo.datasets.file_rules import PLAIN, FileRules
from zoo.datasets.records import Layout
from zoo.datasets.source import Member, Source
from zoo.datasets.table_arrays import ArrayTable
from zoo.datasets.table_columns import ImageShape, few
from zoo.datasets.table_files import Block, Table
from zoo.errors import DataError, UsageError

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Gathered:
    """table: the rows to learn from. weights: (N,) float64, at least 0, or None. image: what a row is, or None.

    notes: what was found about the files, and what was left out, for people.
    What is more than memory should hold lies in a file; see `zoo.datasets.arrays.Pile`.
    """

    table: Table
    weights: np.ndarray | None = None
    image: ImageShape | None = None
    notes: tuple[str, ...] = ()


def gather(
    source: Source, columns: tuple[str, ...] = (), weights: str | None = None, rules: FileRules = PLAIN
) -> Gathered:
    """The rows of a source. columns: which, in this order; none means all but the weights. weights: their column.

    rules: how files are written, and what of them is left out. An array whose columns are all wanted is mapped from
    its file; everything else is read once.
    Raises UsageError for columns that there are not, DataError as `zoo.datasets.table_files` does, for files with
    other columns than the first, and for a weight below 0.
    """
    array = _array(source)
    if array is not None:
        return _of_array(array, columns, weights, rules)
    members = source.files(table_files.SUFFIXES)
    names = _wanted(table_files.layout(members[0], rules, columns), columns, weights, rules)
    rows = _Rows(names, weights)
    for member in members:
        found = table_files.layout(member, rules, columns)
        other = _wanted(found, columns, weights, rules)
        if other != names:
            raise DataError(f"{member} has the columns {few(other)}, but {members[0]} has {few(names)}")
        rows.begin(found)
        for block in table_files.blocks(found, _ROWS_AT_ONCE, rows.stored, rules, leave=not columns):
            rows.add(block)
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


def _of_array(array: ArrayTable, columns: tuple[str, ...], weights: str | None, rules: FileRules) -> Gathered:
    found = Layout(Member(array.name, Path(array.name)), array.names)
    names = _wanted(found, columns, weights, rules)
    if names == array.names and not (rules.skip_missing and array.values.dtype.kind == "f"):
        for _ in table_arrays.checked(array):
            pass
        return Gathered(Table(names, array.values), image=array.image)
    rows = _Rows(names, weights)
    rows.begin(found)
    places = [array.names.index(name) for name in rows.stored]
    for part, kept in table_arrays.kept(array, _ROWS_AT_ONCE, places, skip_missing=rules.skip_missing):
        rows.add(Block(rows.done + 1, kept, part.astype(np.float64)))
    return rows.gathered()


def _wanted(
    found: Layout, columns: tuple[str, ...], weights: str | None, rules: FileRules
) -> tuple[str, ...]:
    """The columns to learn from. Raises UsageError for one that the file does not have, or twice, or for none."""
    file = str(found.member)
    if weights is not None and weights not in found.names:
        raise UsageError(f"data.weights names {weights!r}, but {file} has {few(found.names)}")
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"data.columns names {twice!r} twice")
    for setting, others in (("weights", [weights]), ("exclude", rules.exclude)):
        both = next((name for name in others if name in columns), None)
        if both is not None:
            raise UsageError(f"data.{setting} names {both!r}, which is among data.columns too")
    if weights in rules.exclude:
        raise UsageError(f"data.weights names {weights!r}, which is among data.exclude too")
    wanted = found.chosen(columns, (*rules.exclude, *([] if weights is None else [weights])))
    if not wanted:
        but = "" if weights is None else f" but the weights {weights!r}"
        raise UsageError(f"{file} has no column{but}: there is nothing to learn from")
    return wanted


class _Rows:
    """Rows and their weights, gathered part by part."""

    def __init__(self, names: tuple[str, ...], weights: str | None) -> None:
        """names: of the columns to learn from. weights: the name of theirs, or None."""
        self._names, self._weights = names, weights
        self._values, self._weighing = Pile((len(names),), np.float64), Pile((), np.float64)
        self._file, self._skipped = "", 0
        self._notes: dict[str, None] = {}
        self.done = 0

    @property
    def stored(self) -> tuple[str, ...]:
        """The columns that a part has."""
        return self._names if self._weights is None else (*self._names, self._weights)

    def begin(self, found: Layout) -> None:
        """What comes now is of this file."""
        self._file, self.done = str(found.member), 0
        self._notes |= dict.fromkeys(found.told(self.stored))

    def add(self, block: Block) -> None:
        """block: of the stored columns, the weights last. Raises DataError for a weight below 0."""
        part = block.values
        self._values.add(part[:, : len(self._names)])
        if self._weights is not None:
            wrong = np.flatnonzero(part[:, -1] < 0)
            if len(wrong):
                row, value = block.rows[wrong[0]], part[wrong[0], -1]
                raise DataError(
                    f"{self._file}: row {row}, column {self._weights!r} is {value}, but a weight is at least 0"
                )
            self._weighing.add(part[:, -1])
        self.done += len(block.kept)
        self._skipped += len(block.kept) - len(part)

    def gathered(self) -> Gathered:
        weights = None if self._weights is None else self._weighing.array()
        notes = list(self._notes)
        if self._skipped:
            notes.append(f"{self._skipped:,} row{'s' * (self._skipped != 1)} with a missing value left out")
        return Gathered(Table(self._names, self._values.array()), weights, notes=tuple(notes))
