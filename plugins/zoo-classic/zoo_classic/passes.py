"""A tensor of rows as `zoo.datasets.material.Passes`, for fits from Python; one process has all of it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator

import torch

from zoo.errors import DataError
from zoo.noise import Noise

Batch = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
"""Rows (B, D), or these with their weights (B,)."""


class TensorPasses:
    """Rows (N, D), and the weight of each, (N,), which may be none. Raises DataError when they do not fit."""

    def __init__(self, rows: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        if rows.dim() != 2:
            raise DataError(f"rows are {tuple(rows.shape)}, but must be (N, D)")
        if weights is not None and weights.shape != rows.shape[:1]:
            raise DataError(f"weights are {tuple(weights.shape)}, but must be ({len(rows)},)")
        if weights is not None and not ((weights >= 0) & weights.isfinite()).all():
            raise DataError("a weight is negative or not a finite number")
        self._rows, self._weights = rows, weights

    @property
    def rows(self) -> int:
        return len(self._rows)

    @property
    def unit(self) -> str:
        return "rows"

    @functools.cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for array in (self._rows, self._weights):
            if array is not None:
                digest.update(f"{array.dtype} {tuple(array.shape)}\n".encode())
                digest.update(array.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def batches(self, size: int) -> Iterator[Batch]:
        for first in range(0, len(self._rows), size):
            yield self._batch(slice(first, first + size))

    def some(self, count: int, noise: Noise) -> Batch:
        if count >= len(self._rows):
            return self._batch(slice(None))
        order = noise.rows(1, "some rows").uniform(len(self._rows))[0].argsort(stable=True)
        return self._batch(order[:count].to(self._rows.device))

    def total(self, value: torch.Tensor) -> torch.Tensor:
        return value

    def _batch(self, which: slice | torch.Tensor) -> Batch:
        return self._rows[which] if self._weights is None else (self._rows[which], self._weights[which])


def parts(batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A batch's rows and weights; None when all weigh one."""
    return batch if isinstance(batch, tuple) else (batch, None)
