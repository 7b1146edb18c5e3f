"""Sequences as a network takes them: in batches of like length, and their log-likelihoods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from zoo.nn.padding import Batch, groups, padded

BATCH_SIZE = 64
"""Sequences computed together unless asked otherwise."""


def batches(
    network: Any, encoded: Sequence[np.ndarray], size: int = BATCH_SIZE
) -> Iterator[tuple[np.ndarray, Batch]]:
    """The numbers of some of the sequences, (T,) int64 or (T, D) float64, and their batch, until all were there.

    The batch says under "origin", (B, 2), which of the sequences each one is, so that an error can name it.
    """
    lengths = np.array([len(one) for one in encoded], np.int64)
    columns = encoded[0].shape[1] if encoded and encoded[0].ndim > 1 else 1
    for group in groups(lengths, size, columns):
        origin = torch.from_numpy(np.stack((group, np.zeros_like(group)), axis=1))
        yield group, batch(network, [encoded[number] for number in group.tolist()]) | {"origin": origin}


def batch(network: Any, encoded: Sequence[np.ndarray]) -> Batch:
    """The sequences side by side. Numbers are float64 where the network computes in it, else float32."""
    dtype = dtype_of(network, symbols=encoded[0].dtype == np.int64)
    return padded(encoded, dtype, next(network.parameters()).device)


def dtype_of(network: Any, *, symbols: bool) -> torch.dtype:
    """What a network takes frames in: int64 for symbols; float64 where it computes in that, else float32."""
    if symbols:
        return torch.int64
    double = any(weight.dtype == torch.float64 for weight in network.parameters())
    return torch.float64 if double else torch.float32


@torch.no_grad()
def log_likelihoods(network: Any, encoded: Sequence[np.ndarray], size: int = BATCH_SIZE) -> tuple[float, ...]:
    """`network.log_prob` of each sequence, in nats of what the network takes."""
    found = np.empty(len(encoded))
    for group, some in batches(network, encoded, size):
        found[group] = network.log_prob(some).double().cpu().numpy()
    return tuple(found.tolist())
