"""An HMM and an estimator of hmmlearn made from one another give the same scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hmmlearn import hmm as reference

from zoo.errors import UsageError
from zoo.noise import Noise
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.hmmlearn_conversion import from_hmmlearn, to_hmmlearn
from zoo_classic.sequences import SequencePasses, batch_of

CONFIGS: dict[str, dict[str, Any]] = {
    "categorical": {"emissions": "categorical", "symbols": 4},
    "poisson": {"emissions": "poisson", "columns": 2},
    "mixture diagonal": {"columns": 2, "mixtures": 2},
    "mixture full": {"columns": 2, "mixtures": 2, "covariance": "full"},
    "mixture spherical": {"columns": 2, "mixtures": 2, "covariance": "spherical"},
    "full": {"columns": 2, "covariance": "full"},
    "tied": {"columns": 2, "covariance": "tied"},
    "diagonal": {"columns": 2},
    "spherical": {"columns": 2, "covariance": "spherical"},
}


def frames_for(kind: str) -> torch.Tensor:
    random = np.random.default_rng(0)
    if kind == "categorical":
        return torch.tensor(random.integers(0, 4, (80, 1)))
    if kind == "poisson":
        return torch.tensor(random.poisson(4.0, (80, 2)))
    return torch.tensor(random.normal(size=(80, 2)).cumsum(0))


@pytest.mark.parametrize("kind", CONFIGS)
def test_there_and_back_scores_alike(kind: str) -> None:
    frames = frames_for(kind)
    model = HMM(HMMConfig(states=3, **CONFIGS[kind]))
    steps = model.fit(SequencePasses([frames]), Noise(0), {})
    for _ in range(3):
        next(steps)
    estimator = to_hmmlearn(model)
    expected = float(model.log_prob(batch_of([frames])))
    assert estimator.score(frames.numpy()) == pytest.approx(expected, rel=1e-9)
    again = from_hmmlearn(estimator)
    for name, value in model.named_parameters():
        assert torch.equal(value, again.get_parameter(name)), name


@pytest.mark.parametrize("kind", ["diag", "full", "spherical", "tied"])
def test_what_hmmlearn_fitted_scores_alike_here(kind: str) -> None:
    frames = frames_for("diagonal")
    estimator = reference.GaussianHMM(2, kind, n_iter=3, tol=-np.inf, random_state=0).fit(frames.numpy())
    found = from_hmmlearn(estimator).log_prob(batch_of([frames]))
    assert float(found) == pytest.approx(estimator.score(frames.numpy()), rel=1e-9)


def test_what_cannot_be_converted_is_refused() -> None:
    with pytest.raises(UsageError, match="GaussianHMM has no parameters yet"):
        from_hmmlearn(reference.GaussianHMM(2))
    with pytest.raises(UsageError, match="MultinomialHMM cannot be converted"):
        from_hmmlearn(reference.MultinomialHMM(2))
    with pytest.raises(UsageError, match="one matrix a state"):
        to_hmmlearn(HMM(HMMConfig(mixtures=2, columns=2, covariance="tied")))
