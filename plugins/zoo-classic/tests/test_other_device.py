"""What another device computes is what the CPU does: one that is pretended, and a GPU where there is one.

The pretended one refuses what a GPU would: see `pretend_device`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from pretend_device import DEVICE, pretending
from zoo.modality.sequence import SequenceControls
from zoo.modality.table import TableControls
from zoo.noise import Noise
from zoo_classic.describe_gmm import describe as describe_gmm
from zoo_classic.describe_hmm import describe as describe_hmm
from zoo_classic.gmm import GMM
from zoo_classic.gmm_config import COVARIANCES, GMMConfig
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.hmmlearn_conversion import to_hmmlearn
from zoo_classic.passes import TensorPasses
from zoo_classic.scikit_learn import to_scikit_learn
from zoo_classic.sequences import SequencePasses, batch_of

EMISSIONS: dict[str, dict[str, Any]] = {
    "categorical": {"emissions": "categorical", "symbols": 3},
    "poisson": {"emissions": "poisson", "columns": 2},
    "mixture": {"columns": 2, "mixtures": 2},
} | {kind: {"columns": 2, "covariance": kind} for kind in ("full", "tied", "diagonal", "spherical")}


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    if request.param == "cuda":
        yield torch.device("cuda")
        return
    with pretending():
        yield DEVICE


def moved(given: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: value.to(device) for name, value in given.items()}


class There(SequencePasses):
    """Sequences whose batches are on a device."""

    def __init__(self, sequences: list[torch.Tensor], device: torch.device) -> None:
        super().__init__(sequences)
        self.device = device

    def batches(self, size: int) -> Any:
        return (moved(batch, self.device) for batch in super().batches(size))

    def some(self, count: int, noise: Noise) -> Any:
        return moved(super().some(count, noise), self.device)


def rows() -> torch.Tensor:
    rng = np.random.default_rng(0)
    which = rng.integers(3, size=80)
    return torch.tensor(rng.normal(size=(3, 3))[which] * 4 + rng.normal(size=(80, 3)) + 100)


def sequences(kind: str, lengths: tuple[int, ...]) -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    if kind == "categorical":
        return [torch.tensor(rng.integers(0, 3, length)) for length in lengths]
    if kind == "poisson":
        return [torch.tensor(rng.poisson(rng.uniform(0, 5), (length, 2))) for length in lengths]
    return [torch.tensor(rng.normal(size=(length, 2)).cumsum(0)) for length in lengths]


def close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return np.allclose(found.tolist(), wanted.tolist(), rtol=1e-9, atol=1e-9, equal_nan=True)


def fitted(model: Any, data: Any, count: int = 3) -> list[float]:
    return [step["log_likelihood"] for step in itertools.islice(model.fit(data, Noise(3), {}), count)]


@pytest.mark.parametrize(
    ("covariance", "settings"),
    [
        *((covariance, {}) for covariance in COVARIANCES),
        ("full", {"batch_rows": 30}),
        ("tied", {"restarts": 2, "restart_steps": 2, "start": "random"}),
    ],
    ids=str,
)
def test_a_mixture_is_fitted_and_used_alike(
    covariance: str, settings: dict[str, Any], device: torch.device
) -> None:
    x, asked = rows(), TableControls(given=("1=101.5",))
    here, there = (GMM(GMMConfig(3, 3, covariance, **settings)) for _ in range(2))
    there.to(device)
    wanted = fitted(here, TensorPasses(x))
    assert np.allclose(fitted(there, TensorPasses(x.to(device))), wanted, rtol=1e-9)
    assert there.log_prob(x).device == device  # rows may come from anywhere
    assert close(there.log_prob(x), here.log_prob(x))
    assert close(there.responsibilities(x.to(device)), here.responsibilities(x))
    assert there.predict(x).tolist() == here.predict(x).tolist()
    assert close(there.marginal([2, 0]).log_prob(x[:, [2, 0]]), here.marginal([2, 0]).log_prob(x[:, [2, 0]]))
    for controls in (TableControls(), asked):
        *_, drawn = there.sample(7, Noise(1), controls)
        *_, expected = here.sample(7, Noise(1), controls)
        assert close(drawn, expected)
    assert describe_gmm(there) == describe_gmm(here)
    assert np.allclose(to_scikit_learn(there).score(x.numpy()), to_scikit_learn(here).score(x.numpy()))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_mixture_takes_a_start_and_weights_from_anywhere(covariance: str, device: torch.device) -> None:
    x, weights = rows(), torch.arange(80.0).double()
    here = GMM(GMMConfig(3, 3, covariance))
    fitted(here, TensorPasses(x), 1)
    there = GMM(GMMConfig(3, 3, covariance)).to(device)
    there.start(here.means, here.covariances)
    here.start(here.means, here.covariances)
    found = fitted(there, TensorPasses(x.to(device), weights.to(device)))
    assert np.allclose(found, fitted(here, TensorPasses(x, weights)), rtol=1e-9)


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [*((kind, (9, 3, 9, 1)) for kind in EMISSIONS), ("diagonal", (1001, 300))],  # and longer ones
    ids=str,
)
def test_a_hidden_markov_model_is_fitted_and_used_alike(
    kind: str, lengths: tuple[int, ...], device: torch.device
) -> None:
    data = sequences(kind, lengths)
    given = batch_of(data)
    here, there = (HMM(HMMConfig(states=3, **EMISSIONS[kind])) for _ in range(2))
    there.to(device)
    wanted = fitted(here, SequencePasses(data), 3)
    assert np.allclose(fitted(there, There(data, device), 3), wanted, rtol=1e-9)
    assert close(there.log_prob(given), here.log_prob(given))  # a batch may come from anywhere
    away = moved(given, device)
    assert close(there.log_prob(away), here.log_prob(given))
    assert close(there.posterior(away), here.posterior(given))
    paths, values = there.viterbi(away)
    expected, most = here.viterbi(given)
    assert paths.tolist() == expected.tolist()
    assert close(values, most)
    assert all(map(close, there.predict_next(away), here.predict_next(given)))
    *_, drawn = there.sample(2, Noise(1), SequenceControls(length=12), moved(batch_of(data[:1]), device))
    *_, expected = here.sample(2, Noise(1), SequenceControls(length=12), batch_of(data[:1]))
    assert close(drawn, expected)
    assert describe_hmm(there) == describe_hmm(here)
    assert np.allclose(to_hmmlearn(there).transmat_, to_hmmlearn(here).transmat_, atol=1e-9)


@pytest.mark.parametrize("settings", [{"transitions": "left-to-right"}, {"restarts": 2}], ids=str)
def test_other_starts_of_a_hidden_markov_model_are_alike(
    settings: dict[str, Any], device: torch.device
) -> None:
    data = sequences("full", (9, 9, 7))
    here, there = (HMM(HMMConfig(states=3, columns=2, covariance="full", **settings)) for _ in range(2))
    there.to(device)
    there.check()
    wanted = fitted(here, SequencePasses(data), 3)
    assert np.allclose(fitted(there, There(data, device), 3), wanted, rtol=1e-9)


def test_a_fit_goes_on_from_a_state_that_comes_from_the_cpu(device: torch.device) -> None:
    x = rows()
    for settings in ({}, {"batch_rows": 30}):
        there, state = GMM(GMMConfig(3, 3, **settings)).to(device), {}
        steps = there.fit(TensorPasses(x.to(device)), Noise(0), state)
        next(steps)
        again = GMM(GMMConfig(3, 3, **settings)).to(device)
        again.assign(there.weights, there.means, there.covariances)
        kept = {name: value.cpu().clone() for name, value in state.items()}
        assert next(again.fit(TensorPasses(x.to(device)), Noise(0), kept)) == next(steps)


def test_the_pretended_device_refuses_what_a_gpu_would() -> None:
    with pretending():
        there = torch.ones(2, device=DEVICE)
        with pytest.raises(RuntimeError, match="on meta and on the CPU"):
            there + torch.ones(2)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert (there + 1).cpu().tolist() == [2, 2]
