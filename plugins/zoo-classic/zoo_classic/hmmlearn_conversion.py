"""HMMs from fitted estimators of hmmlearn, and to them: arrays only, nothing is pickled or unpickled."""

from __future__ import annotations

from typing import Any

import torch

from zoo.errors import MissingDependencyError, UsageError
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig

_COVARIANCES = {"diag": "diagonal", "full": "full", "spherical": "spherical", "tied": "tied"}
_NAMES = {own: theirs for theirs, own in _COVARIANCES.items()}


def from_hmmlearn(estimator: Any) -> HMM:
    """The HMM with the parameters of a fitted CategoricalHMM, GaussianHMM, GMMHMM or PoissonHMM.

    A GMMHMM with tied covariances, there one matrix a state, becomes one with full covariances.
    Raises UsageError for other estimators, and for ones without parameters.
    """
    kind = type(estimator).__name__
    if kind not in _READ:
        raise UsageError(f"a {kind} cannot be converted; what can is {', '.join(_READ)}")
    if not hasattr(estimator, "startprob_"):
        raise UsageError(f"the {kind} has no parameters yet", hint="call its fit first")
    config, emissions = _READ[kind](estimator)
    model = HMM(config)
    tensors = {"start": estimator.startprob_, "transition": estimator.transmat_} | emissions
    model.assign({name: torch.as_tensor(array) for name, array in tensors.items()})
    return model


def _categorical(estimator: Any) -> tuple[HMMConfig, dict[str, Any]]:
    table = estimator.emissionprob_
    config = HMMConfig(states=len(table), emissions="categorical", symbols=table.shape[1])
    return config, {"emissions.probabilities": table}


def _poisson(estimator: Any) -> tuple[HMMConfig, dict[str, Any]]:
    rates = estimator.lambdas_
    config = HMMConfig(states=len(rates), emissions="poisson", columns=rates.shape[1])
    return config, {"emissions.rates": rates}


def _gaussian(estimator: Any) -> tuple[HMMConfig, dict[str, Any]]:
    means, kind = estimator.means_, _COVARIANCES[estimator.covariance_type]
    covariances = estimator._covars_  # the public attribute makes full matrices of all kinds
    if kind == "spherical" and covariances.ndim == 2:
        covariances = covariances[:, 0]
    config = HMMConfig(states=len(means), columns=means.shape[1], covariance=kind)
    own = covariances if kind == "tied" else covariances[:, None]
    return config, {"emissions.means": means[:, None], "emissions.covariances": own}


def _mixture(estimator: Any) -> tuple[HMMConfig, dict[str, Any]]:
    states, mixed, columns = estimator.means_.shape
    kind, covariances = _COVARIANCES[estimator.covariance_type], estimator.covars_
    if kind == "tied":
        kind, covariances = "full", covariances[:, None].repeat(mixed, axis=1)
    config = HMMConfig(states=states, columns=columns, mixtures=mixed, covariance=kind)
    return config, {
        "emissions.weights": estimator.weights_,
        "emissions.means": estimator.means_,
        "emissions.covariances": covariances,
    }


_READ = {"CategoricalHMM": _categorical, "GaussianHMM": _gaussian, "GMMHMM": _mixture, "PoissonHMM": _poisson}


def to_hmmlearn(model: HMM) -> Any:
    """An estimator of hmmlearn with the model's parameters, as if it had been fitted.

    Raises MissingDependencyError without hmmlearn.
    """
    try:
        from hmmlearn import hmm
    except ImportError as error:
        raise MissingDependencyError("hmmlearn is not installed", hint="pip install hmmlearn") from error
    config = model.config
    arrays = {name: tensor.detach().cpu().double().numpy() for name, tensor in model.named_parameters()}
    if config.emissions == "categorical":
        made = hmm.CategoricalHMM(config.states, n_features=config.symbols)
        made.emissionprob_ = arrays["emissions.probabilities"]
    elif config.emissions == "poisson":
        made = hmm.PoissonHMM(config.states)
        made.lambdas_ = arrays["emissions.rates"]
        made.n_features = config.columns
    else:
        made = _to_gaussian(hmm, config, arrays)
    made.startprob_, made.transmat_ = arrays["start"], arrays["transition"]
    return made


def _to_gaussian(hmm: Any, config: HMMConfig, arrays: dict[str, Any]) -> Any:
    means, covariances = arrays["emissions.means"], arrays["emissions.covariances"]
    kind = _NAMES[config.covariance]
    if config.mixtures == 1:
        made = hmm.GaussianHMM(config.states, kind)
        made.means_ = means[:, 0]
        made.n_features = config.columns
        made.covars_ = covariances if kind == "tied" else covariances[:, 0]
        return made
    if kind == "tied":  # there one matrix a state
        covariances = covariances[None].repeat(config.states, axis=0)
    made = hmm.GMMHMM(config.states, config.mixtures, covariance_type=kind)
    made.weights_, made.means_, made.covars_ = arrays["emissions.weights"], means, covariances
    made.n_features = config.columns
    return made
