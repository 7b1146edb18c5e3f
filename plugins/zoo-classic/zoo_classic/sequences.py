"""Sequences in memory as `zoo.datasets.material.Passes`, for fits from Python; one process has all of them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence

import torch

from zoo.errors import DataError
from zoo.noise import Noise

_MOST_PADDED = 1 << 22  # frames of a batch, with its padding

Batch = dict[str, torch.Tensor]
"""values: (B, T) or (B, T, D), padded at the end. lengths: (B,)."""


def batch_of(sequences: Sequence[torch.Tensor]) -> Batch:
    """Sequences (T,) or (T, D) of any lengths, side by side."""
    values = torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
    return {"values": values, "lengths": torch.tensor([len(one) for one in sequences])}


class SequencePasses:
    """Sequences (T,) or (T, D). Raises DataError when they are not alike."""

    def __init__(self, sequences: Sequence[torch.Tensor]) -> None:
        kinds = {(one.dtype, one.shape[1:]) for one in sequences}
        if len(kinds) > 1:
            raise DataError("sequences differ in dtype or in columns")
        self._sequences = list(sequences)

    @property
    def rows(self) -> int:
        return len(self._sequences)

    @property
    def unit(self) -> str:
        return "sequences"

    @functools.cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for one in self._sequences:
            digest.update(f"{one.dtype} {tuple(one.shape)}\n".encode())
            digest.update(one.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def batches(self, size: int) -> Iterator[Batch]:
        group: list[torch.Tensor] = []
        longest = 0
        for one in self._sequences:
            longest = max(longest, len(one))
            if group and (len(group) == size or longest * (len(group) + 1) > _MOST_PADDED):
                yield batch_of(group)
                group, longest = [], len(one)
            group.append(one)
        if group:
            yield batch_of(group)

    def some(self, count: int, noise: Noise) -> Batch:
        order = noise.rows(1, "some sequences").uniform(self.rows)[0].argsort(stable=True)
        return batch_of([self._sequences[at] for at in order[:count].tolist()])

    def total(self, value: torch.Tensor) -> torch.Tensor:
        return value
