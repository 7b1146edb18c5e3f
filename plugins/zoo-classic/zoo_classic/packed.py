"""Sequences of unequal length without padding: the frames of one time step of all sequences stand side by side.

Sequences are sorted by falling length, so that at time t the first sizes[t] of them still run. A recursion over time
then works on contiguous slices, and what concerns all frames at once is one matrix of N frames.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pack_padded_sequence

from zoo.errors import DataError
from zoo_classic.frame_sums import sums_by


@dataclass(frozen=True)
class Packed:
    """B sequences with N frames in all.

    frames: (N, ...), by time and then by sequence. sizes: sequences that have a frame at each time, falling.
    order: (B,) which of the given sequences each one is. owner: (N,) the sequence, as sorted, of each frame.
    previous: (N - B,) for each frame but the first ones, where the frame before it in its sequence stands.
    rows: (B,) the number in its batch of each given sequence. first: the batch's first number in the data.
    origin: (., 2), of the batch's sequences: which one of the data each is of, and where in that it begins; None when
    the batch does not say.
    """

    frames: torch.Tensor
    sizes: tuple[int, ...]
    order: torch.Tensor
    owner: torch.Tensor
    previous: torch.Tensor
    rows: torch.Tensor
    first: int = 0
    origin: torch.Tensor | None = None

    @property
    def sequences(self) -> int:
        return self.sizes[0]

    def before(self, table: torch.Tensor) -> torch.Tensor:
        """The rows of (N, ...) that precede frames B .. N - 1: a view where all sequences are of one length."""
        if self.sizes[-1] == self.sizes[0]:
            return table[: len(table) - self.sizes[0]]
        return table.index_select(0, self.previous)

    def per_sequence(self, values: torch.Tensor) -> torch.Tensor:
        """Sums (N,) over each sequence: (B,), in the order in which the sequences were given."""
        sums = sums_by(self.owner, values, self.sequences)
        return torch.empty_like(sums).index_copy_(0, self.order, sums)

    def last(self, table: torch.Tensor) -> torch.Tensor:
        """The rows of (N, ...) of each sequence's last frame: (B, ...), in the given order."""
        steps = torch.tensor([0, *itertools.accumulate(self.sizes)], device=self.order.device)
        counts = torch.bincount(self.owner, minlength=self.sequences)  # lengths, as sorted
        at = steps[counts - 1] + torch.arange(self.sequences, device=self.order.device)
        return table.new_empty((self.sequences, *table.shape[1:])).index_copy_(0, self.order, table[at])

    def place(self, at: int) -> tuple[int, int]:
        """The number in the data of the sequence that frame `at` belongs to, and its time there."""
        time = bisect.bisect_right(list(itertools.accumulate(self.sizes)), at)
        row = int(self.rows[self.order[self.owner[at]]])
        if self.origin is None:
            return self.first + row, time
        number, begins = self.origin[row].tolist()
        return number, begins + time

    def time(self) -> torch.Tensor:
        """(N,) the time of each frame, from 0."""
        sizes = torch.tensor(self.sizes, device=self.owner.device)
        return torch.repeat_interleave(torch.arange(len(self.sizes), device=self.owner.device), sizes)

    def padded(self, table: torch.Tensor, fill: float = 0) -> torch.Tensor:
        """(N, ...) as (B, T, ...) in the given order, `fill` after a sequence's end."""
        out = table.new_full((self.sequences, len(self.sizes), *table.shape[1:]), fill)
        out[self.order[self.owner], self.time()] = table
        return out


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
    wrong = ((lengths < 1) | (lengths > values.shape[1])).nonzero().flatten().tolist()
    if wrong:
        raise DataError(
            f"sequence {wrong[0]} has length {int(lengths[wrong[0]])}, but must have 1 to {values.shape[1]} frames",
            hint="leave empty sequences out",
        )
    return values, lengths


def pack(
    values: torch.Tensor,
    lengths: torch.Tensor,
    rows: torch.Tensor,
    first: int = 0,
    origin: torch.Tensor | None = None,
) -> Packed:
    """values (B, T, ...), lengths (B,), as `checked` returns them; rows, first, origin: see `Packed`."""
    made = pack_padded_sequence(values, lengths.cpu(), batch_first=True, enforce_sorted=False)
    sizes = made.batch_sizes
    order = made.sorted_indices
    assert order is not None  # of sequences that torch sorted
    device = values.device
    starts = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    owner = torch.arange(len(made.data)) - starts
    running = int(sizes[0])
    previous = starts[running:] - torch.repeat_interleave(sizes[:-1], sizes[1:]) + owner[running:]
    steps = tuple(sizes.tolist())
    return Packed(made.data, steps, order, owner.to(device), previous.to(device), rows, first, origin)


def packs(
    batch: Mapping[str, Any], most_frames: int, first: int = 0, device: torch.device | None = None
) -> Iterator[Packed]:
    """A batch in parts of sequences of like length, each of at most `most_frames` frames or of one sequence.

    A batch may say under "origin", (B, 2), which sequence of the data each one is of, and where in that it begins.
    device: where they are wanted; where they are when None.
    """
    values, lengths = checked(batch)
    values, lengths, origin = values.to(device or values.device), lengths.cpu(), batch.get("origin")
    order = torch.argsort(lengths, descending=True, stable=True)
    group: list[int] = []
    frames = 0
    for at, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        if group and frames + length > most_frames:
            yield _part(values, lengths, group, first, origin)
            group, frames = [], 0
        group.append(at)
        frames += length
    yield _part(values, lengths, group, first, origin)


def _part(
    values: torch.Tensor, lengths: torch.Tensor, group: list[int], first: int, origin: torch.Tensor | None
) -> Packed:
    rows = torch.tensor(group, device=values.device)
    some = lengths[group]
    return pack(values[rows, : int(some.max())], some, rows, first, origin)
