"""Data frames of pandas, polars and their like, by what they can do: none of these is imported.

Shapes: N rows, D columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.datasets.table_columns import few
from zoo.errors import DataError
from zoo.modality.sequence_samples import SEQUENCE

_NUMBERS = "fiub"  # kinds of dtype that are numbers, true and false with them


def is_frame(given: Any) -> bool:
    """Whether it is a table with named columns."""
    return hasattr(given, "columns") and callable(getattr(given, "to_numpy", None))


def names_of(frame: Any) -> tuple[str, ...]:
    """The names of its columns."""
    return tuple(map(str, frame.columns))


def values(frame: Any, wanted: Sequence[str] | None = None) -> np.ndarray:
    """The columns of these names, in this order, or all: (N, D) float64.

    Raises DataError for a column that is missing, or has what is no number, which is named.
    """
    labels = list(frame.columns)
    chosen = range(len(labels)) if wanted is None else places(wanted, names_of(frame), "the data frame")
    return np.column_stack([_numbers(frame[labels[place]], str(labels[place])) for place in chosen])


def sequences(frame: Any, wanted: Sequence[str] | None) -> list[Any]:
    """Its rows as sequences, as of a file: one, or as many as its column `sequence` says, in order of appearance.

    wanted: the columns of a frame of numbers, (T, D) float64 each; None for symbols, lists of what the only other
    column has. Raises DataError as `values`.
    """
    others = [name for name in names_of(frame) if name != SEQUENCE or (wanted and name in wanted)]
    if wanted is not None:
        rows: Any = values(frame, wanted)
    elif len(others) == 1:
        rows = np.asarray(frame[others[0]].to_numpy())
    else:
        raise DataError(f"the data frame has the columns {few(tuple(others))}, but symbols are one column")
    if len(others) == len(names_of(frame)):
        return [rows]
    names = np.array([str(one) for one in frame[SEQUENCE].to_numpy()])
    _, firsts, which = np.unique(names, return_index=True, return_inverse=True)
    return [rows[which == number] for number in np.argsort(firsts)]


def places(wanted: Sequence[str], names: Sequence[str], of: str) -> list[int]:
    """Where each of the wanted columns is among others. Raises DataError naming those that are missing."""
    at = {name.strip(): place for place, name in enumerate(names)} | {
        name: place for place, name in enumerate(names)
    }
    missing = tuple(name for name in wanted if name not in at and name.strip() not in at)
    if missing:
        named = "column" if len(missing) == 1 else "columns"
        raise DataError(f"{of} has no {named} {few(missing)}; it has {few(tuple(names))}")
    return [at.get(name, at.get(name.strip(), -1)) for name in wanted]


def _numbers(column: Any, name: str) -> np.ndarray:
    """(N,) float64. A missing value of a column that cannot have a NaN, such as pandas' <NA>, is no number."""
    found = np.asarray(column.to_numpy())
    if found.dtype.kind == "O":
        for row, one in enumerate(found):
            if not isinstance(one, int | float | np.number | np.bool_):
                raise DataError(
                    f"the data frame's column {name!r} has {one!r} in row {row}, which is no number",
                    hint="leave such rows out, or the column",
                )
    elif found.dtype.kind not in _NUMBERS or found.ndim != 1:
        raise DataError(
            f"the data frame's column {name!r} is of {found.dtype}, not of numbers",
            hint="turn it into numbers, or leave it out",
        )
    return found.astype(np.float64)
