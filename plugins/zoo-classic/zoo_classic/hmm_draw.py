"""Sequences drawn from an HMM: sample i follows from the seed and i, and a longer one begins as the shorter did."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from zoo.noise import Noise
from zoo_classic.emissions import Emissions

_BLOCK = 128  # frames between two yields


@torch.no_grad()
def continued(
    start: torch.Tensor, transition: torch.Tensor, emissions: Emissions, noise: Noise, length: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """states (B, t) and frames (B, t) or (B, t, D) so far, on the CPU; last with t = length.

    start: (B, S) probabilities of each sequence's first state. transition: (S, S).
    """
    count = len(start)
    choices = noise.rows(count, "hmm states")
    parts = noise.rows(count, "hmm components")
    values = noise.rows(count, "hmm emissions")
    first = _cumulative(start)
    changes = _cumulative(transition)
    states = torch.empty(count, 0, dtype=torch.long)
    frames: torch.Tensor | None = None
    for at in range(0, length, _BLOCK):
        uniform = choices.uniform(min(_BLOCK, length - at)).t().contiguous()  # (t, B)
        found = torch.empty(uniform.shape, dtype=torch.long)
        here = states[:, -1] if at else None
        for time, draw in enumerate(uniform):
            cumulative = first if here is None else changes[here]
            here = torch.searchsorted(cumulative, draw[:, None], right=True)[:, 0]
            found[time] = here
        new = emissions.draw(found.t().contiguous(), parts, values)
        states = torch.cat((states, found.t()), 1)
        frames = new if frames is None else torch.cat((frames, new), 1)
        yield states, frames


def _cumulative(probabilities: torch.Tensor) -> torch.Tensor:
    """Cumulative sums of each row, on the CPU; the last is 1 exactly, so that no draw passes it."""
    sums = probabilities.double().cpu().cumsum(1)
    return (sums / sums[:, -1:]).contiguous()
