"""Tables of sequences: a row is a frame, rows stand in order, and a column may say which sequence each belongs to."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.datasets import records, table_files
from zoo.datasets.sequence_gathering import Gathered, Wanted
from zoo.datasets.source import Member
from zoo.datasets.table_columns import few
from zoo.errors import DataError, UsageError
from zoo.modality.sequence_samples import SEQUENCE


def read_table(member: Member, wanted: Wanted, into: Gathered) -> None:
    names, sequence = _columns(member, wanted)
    kind, begun = "", dict[str, None]()  # names of sequences in their order
    for part in records.parts(member, [*names, *((sequence,) if sequence else ())]):
        if not kind:
            kind = _kind(member, part, names, wanted)
            into.expect(member, kind, names)
        frames = _frames(member, part, names, kind)
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
    if not kind:
        raise DataError(f"{member} has no rows")


def _columns(member: Member, wanted: Wanted) -> tuple[tuple[str, ...], str]:
    """Names of a frame's columns, and of the one that says the sequence, "" where a file is one sequence."""
    present = table_files.column_names(member)
    sequence = wanted.sequence if wanted.sequence in present else ""
    if wanted.sequence not in ("", SEQUENCE, sequence):
        raise UsageError(f"data.sequence is {wanted.sequence!r}, but {member} has {few(present)}")
    names = table_files.column_names(member, wanted.columns) if wanted.columns else present
    names = tuple(name for name in names if name != sequence)
    if not names:
        raise DataError(f"{member} has no column of frames beside {sequence!r}")
    return names, sequence


def _kind(member: Member, part: records.Part, names: tuple[str, ...], wanted: Wanted) -> str:
    """Whether the columns hold numbers or symbols, by their first cells. Raises DataError for a mixture."""
    texts = [name for name in names if not _is_numeric(part.columns[name])]
    if not texts and not wanted.symbols:
        return "numbers"
    if len(names) > 1:
        hint = f"choose columns: --set data.columns={next((n for n in names if n not in texts), names[0])}"
        if texts:
            raise DataError(
                f"{member}: column {texts[0]!r} is text, which is read as symbols, but a frame has "
                f"{len(names)} columns: {few(names)}",
                hint=hint,
            )
        raise UsageError(f"data.symbols takes one column, but {member} has {few(names)}", hint=hint)
    return "symbols"


def _is_numeric(cells: list[str] | np.ndarray) -> bool:
    """A column whose first cell is a number or empty is one of numbers: a later text in it is a fault."""
    return isinstance(cells, np.ndarray) or not cells[0].strip() or _number(cells[0]) is not None


def _number(text: str) -> float | None:
    """None for what is no number; float takes 1_000."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _frames(member: Member, part: records.Part, names: tuple[str, ...], kind: str) -> Any:
    """The part's frames: numbers (n, D), or a list of symbols."""
    if kind == "numbers":
        return np.stack([_numbers(member, part, name) for name in names], axis=1)
    [name] = names
    cells = part.columns[name]
    if isinstance(cells, np.ndarray):
        return [plain(value) for value in _numbers(member, part, name).tolist()]
    if "" in cells:
        raise _no_number(member, part, name, cells.index(""), "is empty", "a symbol")
    return cells


def plain(value: float) -> str:
    """A number as a symbol: whole ones without a point."""
    return str(int(value)) if value.is_integer() else repr(value)


def _numbers(member: Member, part: records.Part, name: str) -> np.ndarray:
    """A column as (n,) float64, all finite. Cells are looked at one by one only when something among them is odd."""
    cells = part.columns[name]
    if isinstance(cells, np.ndarray):
        values = cells
    else:
        try:
            values = np.fromiter(map(float, cells), np.float64, len(cells))
            plain_cells = "_" not in "".join(cells)
        except ValueError:
            plain_cells = False
        if not plain_cells:
            found = [_number(cell) for cell in cells]
            values = np.array([math.nan if value is None else value for value in found])
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        at = int(wrong[0])
        cell = cells[at]
        said = "is empty" if isinstance(cell, str) and not cell.strip() else f"is {str(cell)[:40]!r}"
        raise _no_number(member, part, name, at, said, "a finite number")
    return values


def _no_number(member: Member, part: records.Part, name: str, at: int, said: str, needed: str) -> DataError:
    return DataError(
        f"{member}: row {part.first + at}, column {name!r} {said}, not {needed}",
        hint="leave such rows out, or choose other columns: --set data.columns=NAME",
    )


def _runs(member: Member, part: records.Part, sequence: str) -> Iterator[tuple[str, int, int]]:
    """The rows of a part that stand together: name of their sequence, first, and end."""
    rows = len(next(iter(part.columns.values())))
    if not sequence:
        yield "", 0, rows
        return
    cells = part.columns[sequence]
    names = [plain(value) for value in cells.tolist()] if isinstance(cells, np.ndarray) else cells
    if "" in names:
        raise _no_number(member, part, sequence, names.index(""), "is empty", "a sequence's name")
    at = 0
    for name, run in itertools.groupby(names):
        end = at + len(list(run))
        yield name, at, end
        at = end
