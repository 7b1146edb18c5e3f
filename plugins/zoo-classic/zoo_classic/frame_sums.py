"""Sums over many frames of small outer products."""

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
