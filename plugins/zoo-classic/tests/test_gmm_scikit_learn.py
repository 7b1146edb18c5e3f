"""Mixtures taken from scikit-learn and given to it score alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

from zoo.errors import UsageError
from zoo.noise import Noise
from zoo_classic.gmm import GMM
from zoo_classic.gmm_config import GMMConfig
from zoo_classic.passes import TensorPasses
from zoo_classic.scikit_learn import from_scikit_learn, to_scikit_learn

X = np.random.default_rng(0).normal(size=(200, 3)) @ np.random.default_rng(1).normal(size=(3, 3)) * 5 + 2


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_a_fitted_estimator_there_and_back_scores_the_same(covariance):
    estimator = GaussianMixture(2, covariance_type=covariance, random_state=0).fit(X)
    model = from_scikit_learn(estimator)
    wanted = estimator.score_samples(X)
    assert np.allclose(model.log_prob(torch.tensor(X)).numpy(), wanted, rtol=1e-11)
    back = to_scikit_learn(model)
    assert np.allclose(back.score_samples(X), wanted, rtol=1e-11)
    assert np.allclose(back.precisions_, estimator.precisions_, rtol=1e-8)
    assert back.precisions_cholesky_.shape == estimator.precisions_cholesky_.shape


@pytest.mark.parametrize("estimator", [GaussianMixture(2), KMeans(2), None])
def test_what_is_no_fitted_mixture_is_refused(estimator):
    with pytest.raises(UsageError, match="no fitted mixture"):
        from_scikit_learn(estimator)


def test_a_bayesian_mixture_is_refused_for_its_densities_are_others():
    estimator = BayesianGaussianMixture(n_components=2, random_state=0).fit(X)
    with pytest.raises(UsageError, match="a BayesianGaussianMixture is no Gaussian mixture"):
        from_scikit_learn(estimator)


def test_a_relative_regularisation_becomes_the_absolute_one_of_its_narrowest_column():
    rows = torch.tensor(X) * torch.tensor([1e-6, 1.0, 1.0])
    model = GMM(GMMConfig(3, 2))
    for _ in itertools.islice(model.fit(TensorPasses(rows), Noise(0), {}), 30):
        pass
    wanted = 1e-6 * float(rows[:, 0].var(correction=0))
    assert to_scikit_learn(model).reg_covar == pytest.approx(wanted, rel=1e-3)
