"""The loss of language models."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional


def next_token_loss(network: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each next token, in nats. batch: (B, T + 1) token ids; network: (B, T) to (B, T, V)."""
    logits = network(batch[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())
