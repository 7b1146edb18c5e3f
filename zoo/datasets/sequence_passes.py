"""Sequences as a fit goes through them, in memory or mapped from a file; see `zoo.datasets.material.Passes`."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator

import numpy as np
import torch

from zoo.datasets.passes import ALONE, Team
from zoo.modality.sequence_format import Format
from zoo.nn.padding import MOST_PADDED, Batch, groups
from zoo.noise import Noise

_HASHED_AT_ONCE = 2**20  # frames


class SequencePasses:
    """Batches hold sequences of like length, so that little of them is padding: the longest sequences come first.

    Only what is asked for is copied; of a mapped array no more is in memory.
    """

    def __init__(
        self,
        values: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
        form: Format,
        dtype: torch.dtype,
        *,
        numbers: np.ndarray | None = None,
        bounds: np.ndarray | None = None,
        team: Team = ALONE,
    ) -> None:
        """values: (N,) symbols or (N, D) numbers; sequence i is values[starts[i] : starts[i] + lengths[i]].

        numbers: what stands for each of the values, where these are symbols; None is themselves. bounds: where each
        sequence of the data begins, ascending, so that a batch can say which one its sequences are of, and from where
        on, under "origin", (B, 2); None leaves that out.
        """
        self._values, self._starts, self._lengths = values, starts, lengths
        self._form, self._dtype, self._numbers, self._team = form, dtype, numbers, team
        self._bounds = bounds
        self._columns = values.shape[1] if values.ndim > 1 else 1

    @property
    def rows(self) -> int:
        return len(self._lengths)

    @property
    def unit(self) -> str:
        return "sequences"

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of the sequences as the network gets them, the same on every machine."""
        digest = hashlib.sha256(f"{self._dtype} {self._columns}\n".encode())
        digest.update(self._lengths.astype("<i8").tobytes())
        for first, end in self._runs():
            for at in range(first, end, _HASHED_AT_ONCE):
                part = self._prepared(self._values[at : min(at + _HASHED_AT_ONCE, end)])
                digest.update(part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes())
        return digest.hexdigest()

    def batches(self, size: int) -> Iterator[Batch]:
        for group in groups(self._lengths, size, self._columns, self._team.count):
            share = group[self._team.share(len(group))]
            if len(share):  # else this is the last group
                yield self._batch(share)

    def some(self, count: int, noise: Noise) -> Batch:
        """As many of the drawn ones, in the order of the draw, as do not pad to too much; at least one."""
        order = noise.rows(1, "some sequences").uniform(self.rows)[0].argsort(stable=True)[:count].numpy()
        padding = np.maximum.accumulate(self._lengths[order]) * np.arange(1, len(order) + 1) * self._columns
        return self._batch(order[: max(1, int((padding <= MOST_PADDED).sum()))])

    def total(self, value: torch.Tensor) -> torch.Tensor:
        return self._team.total(value)

    def sequence(self, number: int, length: int | None = None) -> np.ndarray:
        """One sequence as the network gets it, or its first `length` frames."""
        start = int(self._starts[number])
        return self._prepared(self._values[start : start + int(length or self._lengths[number])])

    def _runs(self) -> Iterator[tuple[int, int]]:
        """From where to where sequences that follow each other lie side by side."""
        ends = self._starts + self._lengths
        gaps = np.flatnonzero(self._starts[1:] != ends[:-1])
        firsts = self._starts[np.concatenate([[0], gaps + 1])]
        yield from zip(firsts.tolist(), ends[np.concatenate([gaps, [-1]])].tolist(), strict=True)

    def _batch(self, which: np.ndarray) -> Batch:
        """The sequences of these numbers side by side, gathered at once: there may be very many short ones."""
        starts, lengths = self._starts[which, None], self._lengths[which]
        time = np.arange(int(lengths.max()))
        inside = time < lengths[:, None]
        values = self._prepared(self._values[np.where(inside, starts + time, starts)])
        values[~inside] = 0
        device = self._team.device
        batch = {
            "values": torch.from_numpy(values).to(self._dtype).to(device),
            "lengths": torch.from_numpy(lengths).to(device),
        }
        if self._bounds is not None:
            of = np.searchsorted(self._bounds, starts[:, 0], side="right") - 1
            batch["origin"] = torch.from_numpy(np.stack([of, starts[:, 0] - self._bounds[of]], axis=1))
        return batch

    def _prepared(self, values: np.ndarray) -> np.ndarray:
        if self._form.symbols is None:
            return self._form.columns.scaled(values)
        return values.astype(np.int64) if self._numbers is None else self._numbers[values]
