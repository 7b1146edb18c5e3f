"""Arrays of sequences in .npy and .npz files: one sequence an array, several padded, or one after the other."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping

import numpy as np

from zoo import bounds
from zoo.datasets.image_files import unpacked
from zoo.datasets.sequence_gathering import Gathered, Wanted
from zoo.datasets.sequence_tables import plain
from zoo.datasets.source import Member
from zoo.datasets.table_columns import few, numbered
from zoo.errors import DataError, UsageError
from zoo.os_words import reason

SUFFIXES = (".npy", ".npz")


def read_arrays(member: Member, wanted: Wanted, into: Gathered) -> None:
    for label, frames in _sequences_of(member, _load(member)):
        columns = frames.shape[1] if frames.ndim > 1 else 1
        texts = frames.dtype.kind == "U"
        if not (texts or frames.dtype.kind in "iufb"):
            raise DataError(f"{label} holds {frames.dtype}, neither numbers nor text")
        if not columns or (columns > 1 and (texts or wanted.symbols)):
            needed = "a frame has at least one" if not columns else "a symbol is one"
            raise DataError(f"{label} has frames of {columns} columns, but {needed}")
        names = ("value",) if columns == 1 else numbered(columns)
        if wanted.columns and wanted.columns != names:
            names, frames = _chosen(label, names, frames, wanted.columns)
        kind = "symbols" if texts or wanted.symbols else "numbers"
        into.expect(member, kind, ("symbol",) if kind == "symbols" else names)
        into.begin(label, label.removeprefix(str(member)).removeprefix(":") or member.stem)
        if len(wrong := np.argwhere(frames == "" if texts else ~np.isfinite(frames))):
            at = tuple(wrong[0].tolist())
            said = "empty, not a symbol" if texts else f"{frames[at]}, not a finite number"
            raise DataError(f"{label}: frame {at[0]} is {said}")
        if kind == "numbers":
            into.add(frames.reshape(len(frames), len(names)).astype(np.float64))
        else:
            flat = frames.reshape(-1).tolist()
            into.add([value if isinstance(value, str) else plain(float(value)) for value in flat])


def _chosen(
    label: str, names: tuple[str, ...], frames: np.ndarray, columns: tuple[str, ...]
) -> tuple[tuple[str, ...], np.ndarray]:
    """An array of as many columns as are named has them in that order; else they are chosen by number."""
    if len(columns) == len(names):
        return columns, frames
    for name in columns:
        if name not in names:
            raise UsageError(f"data.columns names {name!r}, but {label} has {few(names)}")
    return columns, frames[:, [names.index(name) for name in columns]]


def _sequences_of(member: Member, arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Each sequence of a file's arrays, (T,) or (T, D), with its name."""
    if set(arrays) == {"values", "lengths"}:
        yield from _by_lengths(member, arrays["values"], arrays["lengths"])
        return
    for name, array in arrays.items():
        label = f"{member}:{name}" if name else str(member)
        if array.ndim in (1, 2) and not (array.ndim == 2 and array.dtype.kind == "U"):
            yield label, array
        elif array.ndim in (2, 3):
            yield from ((f"{label}:{number}", each) for number, each in enumerate(array))
        else:
            raise DataError(
                f"{label} has the shape {array.shape}, but a sequence is (T,) or (T, D), and several are (B, T, D)"
            )


def _by_lengths(member: Member, values: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Sequences one after the other, (N,) or (N, D), or padded at their ends, (B, T) or (B, T, D)."""
    fits = lengths.ndim == 1 and lengths.dtype.kind in "iu" and bool((lengths >= 0).all()) and values.ndim > 0
    if fits and values.ndim < 3 and int(lengths.sum()) == len(values):
        parts = np.split(values, lengths.cumsum()[:-1].astype(np.int64)) if len(lengths) else []
    elif (
        fits
        and values.ndim in (2, 3)
        and len(values) == len(lengths)
        and lengths.max(initial=0) <= values.shape[1]
    ):
        parts = [each[:length] for each, length in zip(values, lengths.tolist(), strict=True)]
    else:
        raise DataError(
            f"{member}: values {values.shape} do not fit lengths {lengths.dtype} {lengths.shape}",
            hint="lengths (B,) are whole numbers; values are the sequences one after the other, or padded (B, T, D)",
        )
    yield from ((f"{member}:{number}", part) for number, part in enumerate(parts))


def _load(member: Member) -> dict[str, np.ndarray]:
    """The arrays of a file by name; that of an .npy file has none. Raises DataError for what numpy cannot read."""
    try:
        with member.open() as stream:
            if member.name.lower().endswith(".npy"):
                bounds.require_memory(str(member), stream.seek(0, io.SEEK_END))
                stream.seek(0)
                return {"": np.load(stream, allow_pickle=False)}
            return unpacked(str(member), stream)
    except DataError:
        raise
    except Exception as error:  # numpy raises whatever a damaged file leads it to
        raise DataError(f"{member} cannot be read: {reason(error)}") from None
