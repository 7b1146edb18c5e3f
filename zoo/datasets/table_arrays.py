"""Tables of numbers in arrays: .npy files, mapped instead of loaded, and images as rows of pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo import bounds
from zoo.datasets import image_files
from zoo.datasets.source import Member
from zoo.datasets.table_columns import ImageShape, numbered
from zoo.errors import DataError
from zoo.os_words import reason

SUFFIXES = (".npy", ".npz")

_ROWS_AT_ONCE = 65_536
_LARGEST_WHOLE = 2**53  # above it not every whole number is one of 64-bit floats


@dataclass(frozen=True, eq=False)
class ArrayTable:
    """values: (N, D) of any numbers, perhaps mapped from a file, not yet looked at (see `checked`)."""

    name: str
    names: tuple[str, ...]
    values: np.ndarray
    image: ImageShape | None = None


def of_file(member: Member) -> ArrayTable:
    """An .npy file with numbers (N, D), whose columns are named c0, c1, ...; or images as `image_files.from_arrays`.

    Raises DataError for what is neither, and for an array inside an archive.
    """
    if member.archived:
        raise DataError(
            f"{member} is an array inside an archive, which cannot be mapped", hint="unpack the archive first"
        )
    if member.name.lower().endswith(".npz"):
        return of_images(str(member), image_files.from_arrays(member.path, None, labels=False).pixels)
    try:
        values = np.load(bounds.regular(member.path), mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises whatever a damaged file leads it to
        raise DataError(f"{member} cannot be read: {reason(error)}") from None
    if values.dtype == np.uint8 and values.ndim in (3, 4):
        return of_images(str(member), image_files.from_arrays(member.path, None, labels=False).pixels)
    if (
        values.ndim != 2
        or not values.shape[1]
        or values.dtype.kind not in "biuf"
        or values.dtype.itemsize > 8
    ):
        raise DataError(
            f"{member} has {values.dtype} {values.shape}, but a table is numbers (N, D), and images are uint8 "
            "(N, H, W) or (N, H, W, C)"
        )
    return ArrayTable(str(member), numbered(values.shape[1]), values)


def of_images(name: str, pixels: np.ndarray) -> ArrayTable:
    """Images (N, H, W, C) uint8 as rows of their pixels; gray ones of three channels have one column a pixel."""
    pixels = image_files.with_channels(pixels, "auto")
    shape = ImageShape(*(int(size) for size in pixels.shape[1:]))
    return ArrayTable(name, shape.names(), pixels.reshape(len(pixels), shape.columns), shape)


def checked(
    table: ArrayTable, rows: int = _ROWS_AT_ONCE, columns: Sequence[int] = ()
) -> Iterator[np.ndarray]:
    """The rows in parts of (`rows`, D), as they are stored; columns: which, none means all.

    Raises DataError, with row and column, for a value that is not a finite 64-bit float.
    """
    return (part for part, _ in kept(table, rows, columns, skip_missing=False))


def kept(
    table: ArrayTable, rows: int, columns: Sequence[int], *, skip_missing: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As `checked`, and of each part (m,) bool, which rows it has: with `skip_missing` not those with a nan."""
    for first in range(0, len(table.values), rows):
        part = table.values[first : first + rows]
        part = part[:, list(columns)] if columns else part
        there = np.ones(len(part), bool)
        if skip_missing and part.dtype.kind == "f":
            there = ~np.isnan(part).any(axis=1)
        wrong = _wrong(part)
        if wrong is not None and wrong[there].any():
            wrong[~there] = False
            row, column = (int(found[0]) for found in np.nonzero(wrong))
            name = table.names[columns[column] if columns else column]
            raise DataError(
                f"{table.name}: row {first + row + 1}, column {name!r} is {part[row, column]}, not a finite number "
                "that 64-bit floats have",
                hint="--set data.skip_missing=true leaves out rows with a nan",
            )
        yield (part if there.all() else part[there]), there


def _wrong(part: np.ndarray) -> Any:
    """Which values are none for 64-bit floats; None when the dtype has no such."""
    if part.dtype.kind == "f":
        return ~np.isfinite(part)
    if part.dtype.itemsize == 8:
        large = part > _LARGEST_WHOLE
        return large | (part < -_LARGEST_WHOLE) if part.dtype.kind == "i" else large
    return None
