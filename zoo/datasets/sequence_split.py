"""Which sequences, or which of their frames, are fitted to and which are held out; and sequences cut into pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.datasets.split import split_rows
from zoo.errors import DataError, UsageError


@dataclass(frozen=True, eq=False)
class Part:
    """Some sequences of a material. starts, lengths: (n,) int64, where each lies among all frames.

    given: (n,) how many of each one's first frames are only what the others are predicted from.
    """

    starts: np.ndarray
    lengths: np.ndarray
    given: np.ndarray

    @property
    def frames(self) -> int:
        return int((self.lengths - self.given).sum())


def divided(
    lengths: np.ndarray, share: float, seed: int, chosen: np.ndarray | None = None
) -> tuple[Part, Part]:
    """To fit to, and to measure on: whole sequences that the seed draws, or the last frames of the only one.

    chosen: the numbers of the sequences to measure on, where nothing is to be drawn.
    """
    starts = lengths.cumsum() - lengths
    none = np.zeros(len(lengths), np.int64)
    if len(lengths) > 1 or not share or chosen is not None:
        if chosen is None:
            train, held_out = split_rows(len(lengths), share, seed)
        else:
            train, held_out = np.setdiff1d(np.arange(len(lengths)), chosen), chosen
        return (
            Part(starts[train], lengths[train], none[train]),
            Part(starts[held_out], lengths[held_out], none[held_out]),
        )
    kept = int(lengths[0]) - max(1, round(int(lengths[0]) * share))
    if kept < 1:
        raise DataError(
            f"of {lengths[0]} frames all are held out: nothing is left to fit to",
            hint="more data, or a smaller share: --set data.held_out_share=0",
        )
    return Part(starts, np.array([kept]), none), Part(starts, lengths, np.array([kept]))


def named(names: Sequence[str], wanted: Sequence[str]) -> np.ndarray | None:
    """The numbers of the sequences of these names, ascending; None when none is wanted.

    Raises UsageError for a name that no sequence has, and when all sequences are named.
    """
    if not wanted:
        return None
    for name in wanted:
        if name not in names:
            shown = ", ".join(dict.fromkeys(names))
            raise UsageError(f"held_out names {name!r}, but the sequences are {shown[:300]}")
    found = np.array([number for number, name in enumerate(names) if name in set(wanted)], np.int64)
    if len(found) == len(names):
        raise UsageError("held_out names all sequences: nothing is left to fit to")
    return found


def cut(part: Part, window: int | None) -> Part:
    """The sequences in pieces of `window` frames, the last of each perhaps shorter."""
    if window is None:
        return part
    pieces = -(-part.lengths // window)
    number = np.arange(int(pieces.sum())) - np.repeat(pieces.cumsum() - pieces, pieces)  # within its sequence
    offsets = number * window
    lengths = np.minimum(np.repeat(part.lengths, pieces) - offsets, window)
    return Part(np.repeat(part.starts, pieces) + offsets, lengths, np.zeros_like(lengths))


def in_runs(part: Part, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frames of each sequence but the given ones in `counts` runs, (n,) at least 1, as equal as can be.

    Returns of each run, in order, (R,) int64: the number of its sequence, and where in that it begins and ends.
    """
    which = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(which)) - np.repeat(counts.cumsum() - counts, counts)  # within its sequence
    given, frames = part.given[which], (part.lengths - part.given)[which]
    begins, ends = (given + frames * at // counts[which] for at in (number, number + 1))
    return which, begins, ends
