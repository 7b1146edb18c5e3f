"""Sums over many frames or rows: of small outer products, and of those with the same number."""

from __future__ import annotations

import torch

_BLOCK = 1024
_SMALL = 4096  # entries of a result


def summed_products(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """left.T @ right, (L, R), for left (N, L) and right (N, R).

    A small result is made of blocks of frames, side by side: one long product is shared badly among threads.
    """
    whole = len(left) // _BLOCK * _BLOCK
    if not whole or left.shape[1] * right.shape[1] > _SMALL:
        return left.t() @ right
    blocks = torch.bmm(
        left[:whole].view(-1, _BLOCK, left.shape[1]).mT, right[:whole].view(-1, _BLOCK, right.shape[1])
    )
    return blocks.sum(0).addmm_(left[whole:].t(), right[whole:])


def sums_by(numbers: torch.Tensor, values: torch.Tensor, count: int) -> torch.Tensor:
    """The sums, (count, ...), of those of values (N, ...) that have each number below count. numbers: (N,) int64."""
    sums = values.new_zeros(count, *values.shape[1:])
    if values.is_cpu:
        return sums.index_add_(0, numbers, values)
    return sums.index_put_(
        (numbers,), values, accumulate=True
    )  # index_add_ would sum in another order each time
