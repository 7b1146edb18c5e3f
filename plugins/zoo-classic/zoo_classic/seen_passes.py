"""Passes over sequences as the emissions compute with them, kept in memory from pass to pass where they fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from zoo.datasets.material import Passes
from zoo.noise import Noise
from zoo_classic.emissions import Emissions, Seen
from zoo_classic.packed import Packed, packs

_MOST_BYTES = 1 << 29


class SeenPasses:
    """Iterating goes once through this process's share. Packing and squaring the frames is done in the first pass."""

    def __init__(
        self,
        data: Passes,
        emissions: Emissions,
        shift: torch.Tensor,
        variance: torch.Tensor,
        most_frames: int,
        sequences: int,
    ) -> None:
        self.data = data
        self.shift = shift
        self.variance = variance
        self._emissions = emissions
        self._most_frames = most_frames
        self._sequences = sequences
        self._kept: list[tuple[Packed, Seen]] | None = None
        self._too_large = False

    def __iter__(self) -> Iterator[tuple[Packed, Seen]]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[tuple[Packed, Seen]] = []
        taken = 0
        for packed, seen in self._read():
            taken += seen.features.nbytes
            self._too_large = self._too_large or taken > _MOST_BYTES
            if self._too_large:
                kept.clear()
            else:
                kept.append((packed, seen))
            yield packed, seen
        if not self._too_large:
            self._kept = kept

    def one(self) -> tuple[Packed, Seen]:
        """Some sequence of all the data, for its shapes."""
        packed = next(packs(self.data.some(1, Noise(0)), self._most_frames, device=self.shift.device))
        return packed, self._emissions.see(packed, self.shift)

    def _read(self) -> Iterator[tuple[Packed, Seen]]:
        first = 0
        for batch in self.data.batches(self._sequences):
            for packed in packs(batch, self._most_frames, first, self.shift.device):
                seen = self._emissions.see(packed, self.shift)
                yield replace(packed, frames=packed.frames[:0]), seen
            first += len(batch["lengths"])
