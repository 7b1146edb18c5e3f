"""Tables of sequences: a row is a frame, rows stand in order, and a column may say which sequence each belongs to."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.datasets import cells, records
from zoo.datasets.file_rules import to_set
from zoo.datasets.records import Layout
from zoo.datasets.sequence_gathering import Gathered, Wanted
from zoo.datasets.source import Member
from zoo.datasets.table_columns import few
from zoo.errors import DataError, UsageError
from zoo.modality.sequence_samples import SEQUENCE

_LOOKED_AT = 1000  # cells of a column that is no frame's


def read_table(member: Member, wanted: Wanted, into: Gathered) -> None:
    """A table's sequences. One with a missing value is left out whole with `FileRules.skip_missing`."""
    found = records.layout(member, wanted.rules, wanted.columns)
    names, sequence = _columns(found, wanted)
    kind, begun = "", dict[str, None]()  # names of sequences in their order
    into.tell(found.notes)
    stored = [*names, *((sequence,) if sequence else ())]
    for part in records.parts(found, stored, nulls=wanted.rules.skip_missing):
        begins = not kind
        if begins:
            kind = _kind(found, part, names, sequence, wanted)
            into.expect(member, kind, names)
        frames, missing = _frames(found, part, names, kind, skip=wanted.rules.skip_missing)
        if begins and kind == "numbers" and not sequence and not wanted.columns:
            into.tell(_like_names(frames, names))
        for name, start, end in _runs(member, part, sequence):
            if not begun or name != next(reversed(begun)):
                if name in begun:
                    raise DataError(
                        f"{member}: row {part.first + start} belongs to {sequence} {name!r} again, which ended "
                        "above, but the rows of a sequence must stand together",
                        hint="sort the rows by sequence, and within each by time",
                    )
                begun[name] = None
                into.begin(f"{member}:{name}" if sequence else str(member), name if sequence else member.stem)
            into.add(frames[start:end])
            if missing[start:end].any():
                into.leave_out()
    if not kind:
        raise DataError(f"{member} has no rows")


def _columns(found: Layout, wanted: Wanted) -> tuple[tuple[str, ...], str]:
    """Names of a frame's columns, and of the one that says the sequence, "" where a file is one sequence."""
    sequence = wanted.sequence if wanted.sequence in found.names else ""
    if wanted.sequence not in ("", SEQUENCE, sequence):
        raise UsageError(f"data.sequence is {wanted.sequence!r}, but {found.member} has {few(found.names)}")
    if sequence:
        found.chosen((sequence,))  # refuses one that is there twice
    besides = (*wanted.rules.exclude, *((sequence,) if sequence else ()))
    names = tuple(name for name in found.chosen(wanted.columns, besides) if name != sequence)
    if not names:
        raise DataError(f"{found.member} has no column of frames beside {sequence!r}")
    return names, sequence


def _kind(found: Layout, part: records.Part, names: tuple[str, ...], sequence: str, wanted: Wanted) -> str:
    """Whether the columns hold numbers or symbols, by their first cells. Raises DataError for a mixture."""
    member, alone = found.member, len(names) == 1
    texts = [name for name in names if not _is_numeric(part.columns[name], _decimal(found), alone=alone)]
    if not texts and not wanted.symbols:
        return "numbers"
    if not alone and texts:
        raise DataError(
            f"{member}: column {texts[0]!r} is text, which is read as symbols, but a frame has "
            f"{len(names)} columns: {few(names)}",
            hint=_instead(texts[0], part.columns[texts[0]], sequence),
        )
    if not alone:
        raise UsageError(
            f"data.symbols takes one column, but {member} has {few(names)}",
            hint=f"choose columns: {to_set('columns', names[0])}",
        )
    return "symbols"


def _like_names(frames: np.ndarray, names: tuple[str, ...]) -> Iterator[str]:
    """What is said of columns beside others that hold whole numbers in runs, none of which comes again."""
    for name, values in zip(names, frames.T, strict=True):
        runs = 1 + int((np.diff(values) != 0).sum())
        whole = len(names) > 1 and bool((values == np.floor(values)).all())
        if whole and 1 < runs <= len(values) / 2 and runs == len(np.unique(values)):
            yield f"{name!r} stays the same over runs of rows: if it names sequences, {to_set('sequence', name)}"


def _instead(name: str, column: list[str] | np.ndarray, sequence: str) -> str:
    """What to do with a column of text beside others: one that stays the same over runs of rows names sequences."""
    kind = cells.kind(column[:_LOOKED_AT]) if isinstance(column, list) else "text"
    if kind == "runs" and not sequence:
        return f"if it says which sequence a row belongs to: {to_set('sequence', name)}"
    if kind == "dates":
        return f"rows are taken in the file's order; leave the dates out: {to_set('exclude', name)}"
    return f"leave it out: {to_set('exclude', name)}, or take it alone: {to_set('columns', name)}"


def _decimal(found: Layout) -> str:
    return "." if found.text is None else found.text.decimal


def _is_numeric(column: list[str] | np.ndarray, decimal: str, *, alone: bool) -> bool:
    """Whether a column is one of numbers: a later text in it is a fault.

    alone: without others beside it; then its first cell with a value decides, and True and False are symbols.
    """
    if isinstance(column, np.ndarray):
        return True
    if not alone:
        return cells.kind(column[:_LOOKED_AT], decimal) == "numbers"
    first = next((cell for cell in column if not cells.is_missing(cell)), "").strip().lower()
    return not first or (cells.is_number(first, decimal) and not cells.is_truth(first))


def _frames(
    found: Layout, part: records.Part, names: tuple[str, ...], kind: str, *, skip: bool
) -> tuple[Any, np.ndarray]:
    """The part's frames: numbers (n, D), or a list of symbols; and (n,) bool, which of them miss a value."""
    if kind == "numbers":
        columns = [_numbers(found, part, name, skip=skip) for name in names]
        return np.stack(columns, axis=1), np.any([np.isnan(column) for column in columns], axis=0)
    [name] = names
    symbols = part.columns[name]
    if isinstance(symbols, np.ndarray):
        values = _numbers(found, part, name, skip=skip)
        return [plain(value) for value in values.tolist()], np.isnan(values)
    if "" in symbols and not skip:
        raise _no_number(found.member, part, name, symbols.index(""), "is empty", "a symbol")
    return symbols, np.array([symbol == "" for symbol in symbols])


def plain(value: float) -> str:
    """A number as a symbol: whole ones without a point."""
    return str(int(value)) if value.is_integer() else repr(value)


def _numbers(found: Layout, part: records.Part, name: str, *, skip: bool) -> np.ndarray:
    """A column as (n,) float64, all finite, but with `skip` not a number where it is missing.

    Cells are looked at one by one only when something among them is odd.
    """
    column, decimal = part.columns[name], _decimal(found)
    if isinstance(column, np.ndarray):
        values, missing = column, np.isnan(column)
    else:
        values = missing = np.zeros(0)
        try:
            if decimal == "." and "_" not in "".join(column):
                values = np.fromiter(map(float, column), np.float64, len(column))
        except ValueError:
            pass
        if len(values) < len(column):
            values = np.array([cells.number(cell, decimal) for cell in column])
        missing = np.isnan(values)
        missing[missing] = [cells.is_missing(column[at]) for at in np.flatnonzero(missing)]
    wrong = np.flatnonzero(~np.isfinite(values) & ~(missing & skip))
    if len(wrong):
        at = int(wrong[0])
        cell = column[at]
        said = "is empty" if isinstance(cell, str) and not cell.strip() else f"is {str(cell)[:40]!r}"
        raise _no_number(found.member, part, name, at, said, "a finite number")
    return values


def _no_number(member: Member, part: records.Part, name: str, at: int, said: str, needed: str) -> DataError:
    return DataError(
        f"{member}: row {part.first + at}, column {name!r} {said}, not {needed}",
        hint="fill it in, or leave its sequence out: --set data.skip_missing=true",
    )


def _runs(member: Member, part: records.Part, sequence: str) -> Iterator[tuple[str, int, int]]:
    """The rows of a part that stand together: name of their sequence, first, and end."""
    rows = len(next(iter(part.columns.values())))
    if not sequence:
        yield "", 0, rows
        return
    column = part.columns[sequence]
    if isinstance(column, np.ndarray):
        names = ["" if math.isnan(value) else plain(value) for value in column.tolist()]
    else:
        names = column
    if "" in names:
        raise _no_number(member, part, sequence, names.index(""), "is empty", "a sequence's name")
    at = 0
    for name, run in itertools.groupby(names):
        end = at + len(list(run))
        yield name, at, end
        at = end
