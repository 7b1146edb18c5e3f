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

if TYPE_CHECKING:
    from zoo_classic.gmm import GMM


_LOOKED_AT = 16  # rows a component, in which so many different ones are looked for first


def start(model: GMM, x: torch.Tensor, weights: torch.Tensor, noise: Noise, scaling: Scaling) -> None:
    """Set the parameters from rows (B, D) with weights (B,); several starts are each tried for some steps."""
    config, found = model.config, []
    drawn = TensorPasses(x, weights)
    begun = torch.zeros(config.components, dtype=torch.int64, device=x.device)
    scaled = (x - scaling.shift) / scaling.scale
    for attempt in range(config.restarts):
        own = Noise(noise.seed, noise.start + attempt)
        moments = _initial(model, scaled, weights, own)
        gmm_em.maximise(model, moments, len(x), drawn, own, scaling, begun.zero_())
        if config.restarts == 1:
            return
        for _ in range(config.restart_steps):
            _, moments = gmm_em.whole(model, drawn, scaling)
            gmm_em.maximise(model, moments, len(x), drawn, own, scaling, begun)
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
        clusters = different(x, weights, count)
        labels = kmeans.cluster(x, weights, clusters, noise)
        return of_labels(kind, x, weights, labels, clusters).repeated(count)
    order = noise.rows(1, "start").uniform(len(x))[0].to(x.device)
    order = torch.where(weights > 0, order, 2.0).argsort(stable=True)  # rows without weight come last
    chosen = order[torch.arange(count, device=x.device) % len(order)]
    return _about(kind, x, weights, x[chosen])


def about(model: GMM, x: torch.Tensor, weights: torch.Tensor, scaling: Scaling) -> None:
    """Keep the model's means, and give every component the covariance of all rows and an equal share of them."""
    means, covariance = model.means.double(), model.config.covariance
    kind = "diagonal" if covariance == "spherical" else covariance
    scaled = (x - scaling.shift) / scaling.scale
    moments = _about(kind, scaled, weights, (means - scaling.shift) / scaling.scale)
    begun = torch.zeros(len(means), dtype=torch.int64, device=x.device)
    gmm_em.maximise(model, moments, len(x), TensorPasses(x, weights), Noise(0), scaling, begun)


def _about(kind: str, x: torch.Tensor, weights: torch.Tensor, means: torch.Tensor) -> Moments:
    """Of components at these means, (K, D), each as wide as all rows (B, D)."""
    whole = of_labels(kind, x, weights, torch.zeros(len(x), dtype=torch.int64, device=x.device), 1)
    each = whole.repeated(len(means))
    return Moments(kind, each.count, means, each.scatter)


def different(x: torch.Tensor, weights: torch.Tensor, most: int) -> int:
    """How many different rows (B, D) there are that have weight; `most` where there are more."""
    every = slice(None, None, max(1, len(x) // (_LOOKED_AT * most)))
    if len(torch.unique(x[every][weights[every] > 0], dim=0)) >= most:
        return most
    return min(most, len(torch.unique(x[weights > 0], dim=0)))
