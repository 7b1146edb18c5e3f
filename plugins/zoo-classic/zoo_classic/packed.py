"""Sequences of unequal length without padding: end to end, the longest first.

What concerns all frames at once is one matrix of N frames, and each sequence is a slice of it.
"""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from zoo.errors import DataError
from zoo_classic.frame_sums import sums_by


@dataclass(frozen=True)
class Steps:
    """Packed sequences by time, and then by sequence.

    order: (N,) which of the packed frames each one is. inverse: (N,) where each of those stands. sizes: sequences
    that have a frame at each time, falling. owner: (N,) the sequence of each. previous: (N - B,) of each but the
    first ones, where the frame before stands. ends: (B,) where each sequence's last frame stands.
    """

    order: torch.Tensor
    inverse: torch.Tensor
    sizes: tuple[int, ...]
    owner: torch.Tensor
    previous: torch.Tensor
    ends: torch.Tensor

    @property
    def sequences(self) -> int:
        return self.sizes[0]

    def before(self, table: torch.Tensor) -> torch.Tensor:
        """The rows of (N, ...) that precede frames B .. N - 1: a view where all sequences are of one length."""
        if self.sizes[-1] == self.sizes[0]:
            return table[: len(table) - self.sizes[0]]
        return table.index_select(0, self.previous)

    def taken(self, table: torch.Tensor) -> torch.Tensor:
        """(N, ...) in this order, from that of the packed frames."""
        return table.index_select(0, self.order)

    def given(self, table: torch.Tensor) -> torch.Tensor:
        """(N, ...) in the order of the packed frames."""
        return table.index_select(0, self.inverse)

    def last(self, table: torch.Tensor) -> torch.Tensor:
        """The rows (B, ...) of (N, ...) of each sequence's last frame."""
        return table.index_select(0, self.ends)

    def log_likelihood(self, parts: torch.Tensor, offset: torch.Tensor | float = 0.0) -> torch.Tensor:
        """(B,) float64 from ln P(frame | frames before), (N,), and what is to be added to it."""
        return sums_by(self.owner, parts.double() + offset, self.sequences)


@dataclass(frozen=True)
class Packed:
    """B sequences with N frames in all.

    frames: (N, ...), sequence after sequence. lengths: of each, falling. rows: the number in its batch of each.
    first: the batch's first number in the data. origin: (., 2), of the batch's sequences: which one of the data each
    is of, and where in that it begins; None when the batch does not say.
    """

    frames: torch.Tensor
    lengths: tuple[int, ...]
    rows: tuple[int, ...]
    first: int = 0
    origin: torch.Tensor | None = None

    @property
    def sequences(self) -> int:
        return len(self.lengths)

    @functools.cached_property
    def starts(self) -> torch.Tensor:
        """(B + 1,) where each sequence begins, and N; on the CPU."""
        return torch.tensor([0, *itertools.accumulate(self.lengths)])

    def place(self, at: int) -> tuple[int, int]:
        """The number in the data of the sequence that frame `at` belongs to, and its time there."""
        sequence = bisect.bisect_right(self.starts.tolist(), at) - 1
        time = at - int(self.starts[sequence])
        row = self.rows[sequence]
        if self.origin is None:
            return self.first + row, time
        number, begins = self.origin[row].tolist()
        return number, begins + time

    def number(self, sequence: int) -> int:
        """The number in the data of one of these."""
        return self.place(int(self.starts[sequence]))[0]

    def owner(self) -> torch.Tensor:
        """(N,) which of these sequences each frame is of; on the CPU."""
        return torch.repeat_interleave(torch.tensor(self.lengths))

    def time(self) -> torch.Tensor:
        """(N,) the time of each frame, from 0; on the CPU."""
        return torch.arange(int(self.starts[-1])) - self.starts[self.owner()]

    @functools.cached_property
    def steps(self) -> Steps:
        """The frames by time; where the frames are."""
        time, owner = self.time(), self.owner()
        order = torch.argsort(time, stable=True)
        sizes = torch.bincount(time)
        running = self.sequences
        previous = torch.arange(running, len(time)) - torch.repeat_interleave(sizes[:-1], sizes[1:])
        ends = (sizes.cumsum(0) - sizes)[torch.tensor(self.lengths) - 1] + torch.arange(running)
        tables = order, order.argsort(), owner[order], previous, ends
        order, inverse, owner, previous, ends = (table.to(self.frames.device) for table in tables)
        return Steps(order, inverse, tuple(sizes.tolist()), owner, previous, ends)

    def placed(self, values: torch.Tensor, out: torch.Tensor) -> None:
        """Write (B, ...), of each sequence, to the sequences' rows of (., ...)."""
        out.index_copy_(0, torch.tensor(self.rows, device=out.device), values)

    def unpacked(self, table: torch.Tensor, out: torch.Tensor) -> None:
        """Write (N, ...) to where each sequence of the batch begins in (., T, ...)."""
        for row, part in zip(self.rows, table.split_with_sizes(self.lengths), strict=True):
            out[row, : len(part)] = part


def checked(batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """values (B, T) or (B, T, D) and lengths (B,) of a batch. Raises DataError when they do not fit each other."""
    if not isinstance(batch, Mapping):
        raise DataError(
            f"a batch of sequences is a mapping of values and lengths, but this is a {type(batch).__name__}",
            hint="from arrays: zoo_classic.sequences.SequencePasses([array, ...])",
        )
    values, lengths = batch["values"], batch["lengths"]
    if values.dim() not in (2, 3) or lengths.dim() != 1 or len(values) != len(lengths):
        raise DataError(
            f"sequences are {tuple(values.shape)} and their lengths {tuple(lengths.shape)}, "
            "but must be (B, T) or (B, T, D), and (B,)"
        )
    if not len(lengths):
        raise DataError("there are no sequences")
    for number, length in enumerate(lengths.tolist()):
        if not 1 <= length <= values.shape[1]:
            raise DataError(
                f"sequence {number} has length {length}, but must have 1 to {values.shape[1]} frames",
                hint="leave empty sequences out",
            )
    return values, lengths


def pack(
    values: torch.Tensor, lengths: torch.Tensor, first: int = 0, origin: torch.Tensor | None = None
) -> Packed:
    """All of values (B, T, ...), lengths (B,), as `checked` returns them; first, origin: see `Packed`."""
    told = lengths.tolist()
    order = sorted(range(len(told)), key=lambda row: -told[row])
    return _part(values, told, order, first, origin)


def packs(
    batch: Mapping[str, Any], most_frames: int, first: int = 0, device: torch.device | None = None
) -> Iterator[Packed]:
    """A batch in parts of sequences of like length, each of at most `most_frames` frames or of one sequence.

    A batch may say under "origin", (B, 2), which sequence of the data each one is of, and where in that it begins.
    device: where they are wanted; where they are when None.
    """
    values, lengths = checked(batch)
    values, told, origin = values.to(device or values.device), lengths.tolist(), batch.get("origin")
    group: list[int] = []
    frames = 0
    for row in sorted(range(len(told)), key=lambda row: -told[row]):
        if group and frames + told[row] > most_frames:
            yield _part(values, told, group, first, origin)
            group, frames = [], 0
        group.append(row)
        frames += told[row]
    yield _part(values, told, group, first, origin)


def _part(
    values: torch.Tensor, lengths: list[int], rows: list[int], first: int, origin: torch.Tensor | None
) -> Packed:
    parts = [values[row, : lengths[row]] for row in rows]
    frames = parts[0] if len(parts) == 1 else torch.cat(parts)
    return Packed(frames, tuple(lengths[row] for row in rows), tuple(rows), first, origin)
