"""k-means: greedy k-means++ and a few of Lloyd's iterations, from which a mixture may start.

Source: Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", 2007. As in scikit-learn each
centre is the best of 2 + log K candidates.

Shapes: B rows, K clusters, D columns.
"""

from __future__ import annotations

import math

import torch

from zoo.noise import Noise
from zoo_classic.frame_sums import sums_by

_MOST_ITERATIONS = 100
_DISTANCES_AT_ONCE = 2**22


def cluster(x: torch.Tensor, weights: torch.Tensor, count: int, noise: Noise) -> torch.Tensor:
    """The cluster of each row, (B,) int64. x: (B, D). weights: (B,), at least 0, of how much a row counts."""
    centres = plus_plus(x, weights, count, noise)
    before, labels = None, _nearest(x, centres)
    for _ in range(_MOST_ITERATIONS):
        if before is not None and torch.equal(before, labels):
            break
        centres = _means(x, weights, labels, centres)
        before, labels = labels, _nearest(x, centres)
    return labels


def plus_plus(x: torch.Tensor, weights: torch.Tensor, count: int, noise: Noise) -> torch.Tensor:
    """Centres (K, D) among the rows, each far from those before it."""
    trials = 2 + int(math.log(count))
    draws = noise.rows(1, "k-means++").uniform(count, trials)[0].to(x.device)
    centres = x[_drawn(weights, draws[0, :1])]  # (1, D)
    nearest = (x - centres[0]).square().sum(dim=1)  # squared distance to the nearest centre
    for step in range(1, count):
        odds = nearest * weights
        candidates = x[_drawn(odds if odds.any() else weights, draws[step])]  # (trials, D)
        distances = torch.stack([(x - row).square().sum(dim=1) for row in candidates]).minimum(nearest)
        best = int((distances * weights).sum(dim=1).argmin())
        nearest = distances[best]
        centres = torch.cat([centres, candidates[best : best + 1]])
    return centres


def _drawn(odds: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Rows drawn in proportion to their odds (B,), one for each number on [0, 1)."""
    upto = odds.double().cumsum(dim=0)
    return torch.searchsorted(upto, uniform * upto[-1], right=True).clamp(max=len(odds) - 1)


def _nearest(x: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """The nearest centre of each row, (B,) int64."""
    squares = centres.square().sum(dim=1)
    rows = max(1, _DISTANCES_AT_ONCE // len(centres))
    parts = (x[first : first + rows] for first in range(0, len(x), rows))
    # a row's own square is the same for all centres
    return torch.cat([(squares - 2 * part @ centres.mT).argmin(dim=1) for part in parts])


def _means(
    x: torch.Tensor, weights: torch.Tensor, labels: torch.Tensor, centres: torch.Tensor
) -> torch.Tensor:
    """The mean of each cluster; one without rows moves to the row that is farthest from its centre."""
    count = sums_by(labels, weights, len(centres))
    total = sums_by(labels, x * weights[:, None], len(centres))
    empty = (count == 0).nonzero()[:, 0]
    if len(empty):
        far = ((x - centres[labels]).square().sum(dim=1) * weights).topk(min(len(empty), len(x))).indices
        total[empty[: len(far)]], count[empty[: len(far)]] = x[far], 1
    return torch.where(
        count[:, None] > 0, total / count.clamp(min=torch.finfo(x.dtype).tiny)[:, None], centres
    )
