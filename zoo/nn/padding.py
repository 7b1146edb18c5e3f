"""Sequences of unequal length side by side, those of like length together so that little is padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

MOST_PADDED = 1 << 22
"""Numbers in one process's part of a batch, with its padding."""

Batch = dict[str, torch.Tensor]
"""values: (B, T) or (B, T, D), padded at the end. lengths: (B,)."""


def groups(lengths: np.ndarray, size: int, columns: int = 1, shares: int = 1) -> Iterator[np.ndarray]:
    """The numbers of all sequences, the longest first, in groups of at most `size` that do not pad to too much.

    lengths: (N,). columns: numbers in a frame. shares: parts that each group is divided into; no group but the last
    has fewer sequences than these.
    """
    order = np.argsort(-lengths, kind="stable")
    most = MOST_PADDED // max(1, columns)  # frames
    at = 0
    while at < len(order):
        fits = max(1, most // max(1, int(lengths[order[at]])))  # of the first, which is the longest
        taken = min(max(1, size), fits * shares)
        yield order[at : at + max(taken, shares)]
        at += max(taken, shares)


def padded(sequences: Sequence[np.ndarray], dtype: torch.dtype, device: torch.device | None = None) -> Batch:
    """Sequences (T,) or (T, D) of any lengths as a batch."""
    values = torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(np.array(one)).to(dtype) for one in sequences], batch_first=True
    )
    lengths = torch.tensor([len(one) for one in sequences])
    return {"values": values.to(device), "lengths": lengths.to(device)}
