"""Fitted mixtures of scikit-learn as ours, and ours as theirs: by their arrays, never by a pickle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from zoo.errors import MissingDependencyError, UsageError
from zoo_classic import gaussians
from zoo_classic.gmm import GMM
from zoo_classic.gmm_config import GMMConfig

_OURS = {"full": "full", "tied": "tied", "diag": "diagonal", "spherical": "spherical"}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()}


def from_scikit_learn(estimator: Any) -> GMM:
    """The mixture of a fitted `sklearn.mixture.GaussianMixture`, in float64.

    Raises UsageError for an estimator of another kind, or one that has not been fitted.
    """
    name = type(estimator).__name__
    if name == "BayesianGaussianMixture":  # has the same arrays
        raise UsageError(
            f"a {name} is no Gaussian mixture: it averages over weights, means and precisions, so that its densities "
            "and its components are others than those of its weights_, means_ and covariances_",
            hint="fit a GaussianMixture, from them with weights_init, means_init and precisions_init",
        )
    kind = _OURS.get(getattr(estimator, "covariance_type", ""))
    arrays = [getattr(estimator, name, None) for name in ("means_", "covariances_", "weights_")]
    if kind is None or any(array is None for array in arrays):
        raise UsageError(
            f"{name} is no fitted mixture: it needs covariance_type, means_, covariances_ and weights_"
        )
    means, covariances, weights = (torch.tensor(np.asarray(array, np.float64)) for array in arrays)
    if means.dim() != 2:
        raise UsageError(f"means are {tuple(means.shape)}, but must be (K, D)")
    model = GMM(GMMConfig(means.shape[1], len(means), kind, regularisation=float(estimator.reg_covar)))
    model.start(means, covariances, weights)
    return model


def to_scikit_learn(model: GMM) -> Any:
    """A `sklearn.mixture.GaussianMixture` as if fitted to these parameters, in float64.

    Raises MissingDependencyError when scikit-learn is not installed.
    """
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError:
        raise MissingDependencyError(
            "scikit-learn is not installed", hint="pip install scikit-learn"
        ) from None
    config = model.config
    ready = gaussians.prepared(model.weights, model.means, model.covariances, config.covariance)
    whitening, precisions = ready.whitening, ready.precisions()
    if config.covariance == "tied":
        whitening, precisions = whitening[0], precisions[0]
    elif config.covariance == "spherical":
        whitening, precisions = whitening[:, 0], precisions[:, 0]
    added = config.regularisation
    if added is None:  # theirs is absolute: of the narrowest column
        added = config.relative_regularisation * float(_variances(model).min())
    theirs = GaussianMixture(config.components, covariance_type=_THEIRS[config.covariance], reg_covar=added)
    arrays = {
        "weights_": model.weights,
        "means_": model.means,
        "covariances_": model.covariances,
        "precisions_cholesky_": whitening,
        "precisions_": precisions,
    }
    for name, value in arrays.items():
        setattr(theirs, name, value.double().cpu().numpy().copy())
    theirs.n_features_in_ = config.columns
    theirs.converged_, theirs.n_iter_, theirs.lower_bound_ = True, 0, float("nan")
    return theirs


def _variances(model: GMM) -> torch.Tensor:
    """Of the columns, (D,), of the mixture as a whole."""
    weights, means = model.weights.double(), model.means.double()
    matrices = gaussians.expanded(model.covariances.double(), model.config.covariance, means)
    within = weights @ matrices.diagonal(dim1=1, dim2=2)
    return within + weights @ (means - weights @ means).square()
