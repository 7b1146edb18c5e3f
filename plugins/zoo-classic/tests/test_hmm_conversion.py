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
    "mixture tied": {"columns": 2, "mixtures": 2, "covariance": "tied"},
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
    assert float(again.log_prob(batch_of([frames]))) == pytest.approx(expected, rel=1e-12)
    if kind == "mixture tied":
        return  # there one matrix a state, which comes back as one for each Gaussian
    for name, value in model.named_parameters():
        assert torch.equal(value, again.get_parameter(name)), name


THEIRS = ("diag", "full", "spherical", "tied")
ESTIMATORS: dict[str, Any] = {
    "categorical": lambda **how: reference.CategoricalHMM(2, **how),
    "poisson": lambda **how: reference.PoissonHMM(2, **how),
} | {
    f"{name} {kind}": lambda kind=kind, name=name, **how: {
        "gaussian": lambda: reference.GaussianHMM(2, kind, **how),
        "mixture": lambda: reference.GMMHMM(2, 2, covariance_type=kind, **how),
    }[name]()
    for name in ("gaussian", "mixture")
    for kind in THEIRS
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_what_hmmlearn_fitted_scores_and_decodes_alike_here(kind: str) -> None:
    frames = frames_for(kind)
    estimator = ESTIMATORS[kind](n_iter=3, tol=-np.inf, random_state=0).fit(frames.numpy())
    model, given = from_hmmlearn(estimator), batch_of([frames])
    assert float(model.log_prob(given)) == pytest.approx(estimator.score(frames.numpy()), rel=1e-9)
    paths, values = model.viterbi(given)
    probability, path = estimator.decode(frames.numpy())
    assert float(values) == pytest.approx(probability, rel=1e-9)
    if kind != "categorical":  # where other orders of a few symbols are as likely
        assert paths[0].tolist() == path.tolist()
    np.testing.assert_allclose(model.posterior(given)[0], estimator.predict_proba(frames.numpy()), atol=1e-8)


def test_what_cannot_be_converted_is_refused() -> None:
    with pytest.raises(UsageError, match="GaussianHMM has no parameters yet"):
        from_hmmlearn(reference.GaussianHMM(2))
    with pytest.raises(UsageError, match="MultinomialHMM cannot be converted"):
        from_hmmlearn(reference.MultinomialHMM(2))
