"""Data as a fit goes through it: all of it, again and again, each process its own share; see `material.Passes`."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from zoo.noise import Noise

_HASHED_AT_ONCE = 2**22  # bytes
_CPU = torch.device("cpu")


def _alone(value: torch.Tensor) -> torch.Tensor:
    return value


@dataclass(frozen=True, eq=False)
class Team:
    """The processes that fit one model together, as one of them sees it.

    device: where this one computes. index: its number among `count`. total: the sum of what each gives.
    """

    device: torch.device = _CPU
    index: int = 0
    count: int = 1
    total: Callable[[torch.Tensor], torch.Tensor] = _alone

    def share(self, rows: int) -> slice:
        """This process's part of so many rows; all parts together are the rows, in order of the processes."""
        return slice(self.index * rows // self.count, (self.index + 1) * rows // self.count)


ALONE = Team()
"""One process on the CPU."""


Batch = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
"""Rows (B, D), or these with the weight of each, (B,)."""


class RowPasses:
    """`zoo.datasets.material.Passes` of the rows of an array, in memory or mapped from a file.

    Only a batch is ever copied: of a mapped array as many rows are in memory as are asked for at once. An accelerator
    with room to spare keeps this process's share from the first pass on.
    """

    def __init__(
        self,
        values: np.ndarray,
        team: Team = ALONE,
        *,
        chosen: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        mean: np.ndarray | None = None,
        scale: np.ndarray | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        """values: (N, D) numbers. chosen: (n,) which rows are meant, by number; None is all of them, in order.

        weights: (N,) of all rows; None is one each. A value x is given as (x - mean) / scale, both (D,), in `dtype`.
        """
        self._values, self._weights, self._chosen, self._team = values, weights, chosen, team
        self._scaling: tuple[torch.Tensor, torch.Tensor] | None = None
        mean = np.zeros(values.shape[1]) if mean is None else mean
        scale = np.ones(values.shape[1]) if scale is None else scale
        if mean.any() or (scale != 1).any():
            self._scaling = torch.from_numpy(mean), torch.from_numpy(scale)
        self._dtype = dtype
        self._kept: dict[int, list[Batch]] = {}  # on the device, by the size of batches

    @property
    def rows(self) -> int:
        return len(self._values) if self._chosen is None else len(self._chosen)

    @property
    def unit(self) -> str:
        return "rows"

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of the rows as they are stored, and of their weights, with dtypes and shapes."""
        digest = hashlib.sha256()
        for array in (self._values, self._weights):
            if array is None:
                continue
            stored = array.dtype.newbyteorder("<")
            digest.update(f"{stored.str} {(self.rows, *array.shape[1:])}\n".encode())
            rows = max(1, _HASHED_AT_ONCE // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))
            for first in range(0, self.rows, rows):
                part = array[self._places(slice(first, min(first + rows, self.rows)))]
                digest.update(np.ascontiguousarray(part, stored).data)
        return digest.hexdigest()

    def batches(self, size: int) -> Iterator[Batch]:
        if size in self._kept:
            yield from self._kept[size]
            return
        self._kept.clear()
        bytes_ = self.rows // self._team.count * math.prod(self._values.shape[1:]) * self._dtype.itemsize
        keeping = bytes_ <= _room(self._team.device)
        kept: list[Batch] = []
        for first in range(0, self.rows, size):
            count = min(size, self.rows - first)
            part, last = self._team.share(count), first + count == self.rows
            if part.start == part.stop and last:
                break
            batch = self._batch(self._places(slice(first + part.start, first + part.stop)))
            if keeping:
                kept.append(batch)
            if keeping and last:  # before it is given: who takes it may never ask for more
                self._kept[size] = kept
            yield batch
        if keeping:
            self._kept[size] = kept

    def some(self, count: int, noise: Noise) -> Batch:
        """As `zoo.datasets.material.Passes.some`, in order of their number."""
        if count >= self.rows:
            return self._batch(self._places(slice(0, self.rows)))
        drawn = _drawn(self.rows, count, noise)
        return self._batch(drawn if self._chosen is None else self._chosen[drawn])

    def total(self, value: torch.Tensor) -> torch.Tensor:
        return self._team.total(value)

    def _places(self, part: slice) -> slice | np.ndarray:
        return part if self._chosen is None else self._chosen[part]

    def _batch(self, places: slice | np.ndarray) -> Batch:
        rows = tensor_of(self._values[places])
        if self._scaling is not None:
            mean, scale = self._scaling
            rows = rows.double().sub(mean).div_(scale)
        rows = rows.to(self._dtype).to(self._team.device)
        if self._weights is None:
            return rows
        return rows, tensor_of(self._weights[places]).to(self._dtype).to(self._team.device)


def _room(device: torch.device) -> int:
    """Bytes that a device may keep of rows, so that they need not come to it each pass."""
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 0


def tensor_of(values: np.ndarray) -> torch.Tensor:
    """An array as a tensor on the CPU, float64 unless it is float32: a view where torch may have one, else a copy."""
    if values.dtype not in (np.float32, np.float64) or not values.dtype.isnative:
        values = values.astype(np.float64)
    elif not values.flags.writeable or min(values.strides, default=0) < 0:  # torch has no such tensors
        values = values.copy()
    return torch.from_numpy(values)


def _drawn(rows: int, count: int, noise: Noise) -> np.ndarray:
    """`count` different numbers below `rows`, every set of them equally likely, ascending, (count,) int64.

    What is drawn again is left out, until there are enough; where most are wanted, those that are not are drawn. So
    the time and memory that it takes follow from what is drawn, not from `rows`, but for a mark a row in the latter.
    """
    if 2 * count > rows:
        wanted = np.ones(rows, np.bool_)
        wanted[_drawn(rows, rows - count, noise)] = False
        return np.flatnonzero(wanted)
    source, found = noise.rows(1, "some rows"), np.empty(0, np.int64)
    while len(found) < count:
        more = source.uniform(count - len(found))[0].numpy() * rows
        found = np.unique(np.concatenate([found, more.astype(np.int64)]))
    return found
