"""Where a fit of a Gaussian mixture begins: k-means or random rows, the likeliest of several short attempts.

Source for several starts: Biernacki, Celeux and Govaert, "Choosing starting values for the EM algorithm", 2003.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from zoo.noise import Noise
from zoo_classic import gmm_em, kmeans
from zoo_classic.gmm_expectation import Scaling
from zoo_classic.gmm_moments import Moments, of_labels
from zoo_classic.passes import TensorPasses
from zoo_classic.small_steps import unshared

if TYPE_CHECKING:
    from zoo_classic.gmm import GMM


def measured(x: torch.Tensor, weights: torch.Tensor) -> Scaling:
    """The rows' mean and standard deviation; a column that does not vary but by rounding keeps its scale."""
    with unshared(x, 0):  # each number of threads would round in its own way
        shift = weights @ x / weights.sum()
        deviation = (weights @ (x - shift).square() / weights.sum()).sqrt()
    return Scaling(shift, torch.where(deviation > 1e-12 * shift.abs(), deviation, 1.0))


def start(model: GMM, x: torch.Tensor, weights: torch.Tensor, noise: Noise, scaling: Scaling) -> None:
    """Set the parameters from rows (B, D) with weights (B,); several starts are each tried for some steps."""
    config, found = model.config, []
    drawn = TensorPasses(x, weights)
    scaled = (x - scaling.shift) / scaling.scale
    for attempt in range(config.restarts):
        own = Noise(noise.seed, noise.start + attempt)
        moments = _initial(model, scaled, weights, own)
        gmm_em.maximise(model, moments, len(x), drawn, own, scaling)
        if config.restarts == 1:
            return
        for _ in range(config.restart_steps):
            _, moments = gmm_em.whole(model, drawn, scaling)
            gmm_em.maximise(model, moments, len(x), drawn, own, scaling)
        found.append(
            (gmm_em.whole(model, drawn, scaling)[0], [value.clone() for value in model.parameters()])
        )
    _, best = max(found, key=lambda tried: tried[0])
    model.assign(*best)


def _initial(model: GMM, x: torch.Tensor, weights: torch.Tensor, noise: Noise) -> Moments:
    """Moments of scaled rows (B, D) to start from."""
    covariance, count = model.config.covariance, model.config.components
    kind = "diagonal" if covariance == "spherical" else covariance
    if model.config.start == "k-means++":
        return of_labels(kind, x, weights, kmeans.cluster(x, weights, count, noise), count)
    order = noise.rows(1, "start").uniform(len(x))[0].to(x.device)
    order = torch.where(weights > 0, order, 2.0).argsort(stable=True)  # rows without weight come last
    chosen = order[torch.arange(count, device=x.device) % len(order)]
    whole = of_labels(kind, x, weights, torch.zeros_like(order), 1)
    scatter = (
        whole.scatter if kind == "tied" else whole.scatter.expand(count, *whole.scatter.shape[1:]).clone()
    )
    return Moments(kind, (whole.count / count).expand(count).clone(), x[chosen], scatter)
