"""k-means as a start: separate clusters are found, the result is as good as scikit-learn's, nothing is left empty."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import KMeans

from zoo.noise import Noise
from zoo_classic.kmeans import cluster


def inertia(x: torch.Tensor, labels: torch.Tensor) -> float:
    """The sum of squared distances to the means of the clusters."""
    parts = [x[labels == label] for label in labels.unique()]
    return sum(float((part - part.mean(dim=0)).square().sum()) for part in parts)


def rows(spread: float) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(0)
    which = rng.integers(6, size=600)
    return torch.tensor(rng.normal(size=(6, 2))[which] * 10 + rng.normal(size=(600, 2)) * spread), which


def test_clusters_far_apart_are_found_whatever_the_seed():
    x, which = rows(0.01)
    for seed in range(5):
        labels = cluster(x, torch.ones(600, dtype=torch.float64), 6, Noise(seed)).numpy()
        assert len(set(zip(labels, which, strict=True))) == 6


def test_the_result_is_as_good_as_scikit_learns():
    x, _ = rows(4.0)
    own = [inertia(x, cluster(x, torch.ones(600, dtype=torch.float64), 6, Noise(seed))) for seed in range(5)]
    theirs = [KMeans(6, n_init=1, random_state=seed).fit(x.numpy()).inertia_ for seed in range(5)]
    assert np.median(own) <= np.median(theirs) * 1.03


def test_a_row_without_weight_is_no_centre_and_moves_none():
    x = torch.tensor([[0.0], [1.0], [100.0]], dtype=torch.float64)
    labels = cluster(x, torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64), 2, Noise(0))
    assert labels[0] != labels[1]


def test_fewer_different_rows_than_clusters_still_give_every_row_a_label():
    labels = cluster(torch.zeros(5, 2, dtype=torch.float64), torch.ones(5, dtype=torch.float64), 3, Noise(0))
    assert labels.shape == (5,)
