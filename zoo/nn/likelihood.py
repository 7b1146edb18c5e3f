"""What language models say of tokens: their loss, and the log-probabilities of tokens and of what might be there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

_CHUNK = 256  # positions whose probabilities are computed together


def next_token_loss(network: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each next token, in nats. batch: (B, T + 1) token ids; network: (B, T) to (B, T, V)."""
    logits = network(batch[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())


@torch.inference_mode()
def next_token_log_probs(
    network: Any, tokens: Sequence[int], given: int, most: int
) -> tuple[list[float], list[list[int]], list[list[float]]]:
    """Log-probabilities, in nats, of the N tokens after the `given` first, (N,); and for each place the `most`
    likeliest tokens, the likeliest first, and their log-probabilities, (N, K) and (N, K).

    network: an `nn.Module`, token ids (B, T) to logits (B, T, V), in evaluation mode. given: at least 1.
    """
    device = next(network.parameters()).device
    ids = torch.tensor([tokens], device=device)
    logits = network(ids[:, :-1])[0, given - 1 :]  # (N, V)
    most = min(most, logits.shape[-1])
    values: list[float] = []
    places: list[list[int]] = []
    best: list[list[float]] = []
    for at in range(0, len(logits), _CHUNK):
        part, chosen = logits[at : at + _CHUNK], ids[0, given:][at : at + _CHUNK]
        wide = part if part.dtype == torch.float64 else part.float()
        log_probs = wide.log_softmax(dim=-1)
        values += log_probs.gather(1, chosen[:, None])[:, 0].tolist()
        top = log_probs.topk(most, dim=-1)
        places += top.indices.tolist()
        best += top.values.tolist()
    return values, places, best
