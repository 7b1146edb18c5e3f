"""From the same start, an HMM is fitted, scored and decoded as hmmlearn does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hmmlearn import hmm as reference

from zoo.noise import Noise
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.sequences import SequencePasses, batch_of

STATES, COLUMNS, ITERATIONS = 4, 3, 8
LENGTHS = (60, 1, 35, 60, 2, 48)
NAMES = {"diagonal": "diag", "full": "full", "spherical": "spherical", "tied": "tied"}


def batch(sequences: Any) -> dict[str, torch.Tensor]:
    return batch_of([torch.as_tensor(np.asarray(one)) for one in sequences])


def passes(sequences: Any) -> SequencePasses:
    return SequencePasses([torch.as_tensor(np.asarray(one)) for one in sequences])


def gaussian_sequences(seed: int = 0) -> list[np.ndarray]:
    """Frames around three points, in runs: something to learn, far from 0."""
    random = np.random.default_rng(seed)
    points = random.normal(scale=3.0, size=(3, COLUMNS)) + 50
    found = []
    for length in LENGTHS:
        runs = random.integers(0, 3, length // 5 + 1).repeat(5)[:length]
        found.append(points[runs] + random.normal(size=(length, COLUMNS)))
    return found


def counts(seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.poisson(random.uniform(1, 9, (length, 1)), (length, COLUMNS)) for length in LENGTHS]


def symbols(seed: int = 0) -> list[np.ndarray]:
    """Each mostly follows from the one before; runs of one symbol would tie paths, which rounding then decides."""
    random = np.random.default_rng(seed)
    return [np.where(random.random(n) < 0.2, random.integers(0, 5, n), 1).cumsum() % 5 for n in LENGTHS]


def chain(seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.ones(STATES)), random.dirichlet(np.ones(STATES), STATES)


def gaussian_case(kind: str) -> tuple[HMM, Any, list[np.ndarray]]:
    sequences = gaussian_sequences()
    start, transition = chain()
    means = np.concatenate(sequences)[[0, 20, 70, 110]]
    covariances = {
        "diagonal": np.full((STATES, COLUMNS), 2.0),
        "spherical": np.full(STATES, 2.0),
        "full": np.tile(2 * np.eye(COLUMNS), (STATES, 1, 1)),
        "tied": 2 * np.eye(COLUMNS),
    }[kind]
    model = HMM(HMMConfig(states=STATES, columns=COLUMNS, covariance=kind, covariance_prior=0.01))
    own = covariances if kind == "tied" else covariances[:, None]
    tensors = {
        "start": start,
        "transition": transition,
        "emissions.means": means[:, None],
        "emissions.covariances": own,
    }
    model.assign({name: torch.tensor(value) for name, value in tensors.items()})
    prior = 0.01 * np.eye(COLUMNS) if kind in ("full", "tied") else 0.01
    other = reference.GaussianHMM(
        STATES, NAMES[kind], n_iter=ITERATIONS, tol=-np.inf, init_params="", covars_prior=prior
    )
    other.startprob_, other.transmat_, other.means_ = start, transition, means
    other.covars_ = covariances
    return model, other, sequences


def poisson_case() -> tuple[HMM, Any, list[np.ndarray]]:
    start, transition = chain()
    rates = np.random.default_rng(3).uniform(1, 9, (STATES, COLUMNS))
    model = HMM(HMMConfig(states=STATES, emissions="poisson", columns=COLUMNS))
    tensors = {"start": start, "transition": transition, "emissions.rates": rates}
    model.assign({name: torch.tensor(value) for name, value in tensors.items()})
    other = reference.PoissonHMM(STATES, n_iter=ITERATIONS, tol=-np.inf, init_params="")
    other.startprob_, other.transmat_, other.lambdas_ = start, transition, rates
    return model, other, counts()


def categorical_case() -> tuple[HMM, Any, list[np.ndarray]]:
    start, transition = chain()
    table = np.random.default_rng(3).dirichlet(np.ones(5), STATES)
    model = HMM(HMMConfig(states=STATES, emissions="categorical", symbols=5))
    tensors = {"start": start, "transition": transition, "emissions.probabilities": table}
    model.assign({name: torch.tensor(value) for name, value in tensors.items()})
    other = reference.CategoricalHMM(STATES, n_iter=ITERATIONS, tol=-np.inf, init_params="", n_features=5)
    other.startprob_, other.transmat_, other.emissionprob_ = start, transition, table
    return model, other, [one[:, None] for one in symbols()]


CASES = ("full", "diagonal", "spherical", "tied", "poisson", "categorical")


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[HMM, Any, list[np.ndarray]]:
    if request.param == "poisson":
        return poisson_case()
    return categorical_case() if request.param == "categorical" else gaussian_case(request.param)


def fit(model: HMM, sequences: list[np.ndarray], iterations: int) -> list[float]:
    steps = model.fit(passes(sequences), Noise(0), {})
    return [next(steps)["log_likelihood"] for _ in range(iterations)]


def emission_parameters(model: HMM, other: Any) -> list[tuple[Any, Any]]:
    kind = model.config.emissions
    if kind == "categorical":
        return [(model.emissions.probabilities, other.emissionprob_)]
    if kind == "poisson":
        return [(model.emissions.rates, other.lambdas_)]
    covariance = model.config.covariance
    own = model.emissions.covariances
    if covariance != "tied":
        own = own[:, 0]
    theirs = other._covars_[:, 0] if covariance == "spherical" else other._covars_
    return [(model.emissions.means[:, 0], other.means_), (own, theirs)]


def test_every_iteration_and_the_fitted_parameters_are_theirs(
    case: tuple[HMM, Any, list[np.ndarray]],
) -> None:
    model, other, sequences = case
    other.fit(np.concatenate(sequences), [len(one) for one in sequences])
    found = fit(model, sequences, ITERATIONS)
    expected = np.array(other.monitor_.history) / len(sequences)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found[-1] > found[0] + 1  # there was something to learn
    np.testing.assert_allclose(model.start, other.startprob_, atol=1e-7)
    np.testing.assert_allclose(model.transition, other.transmat_, atol=1e-7)
    for own, theirs in emission_parameters(model, other):
        np.testing.assert_allclose(own, theirs, rtol=1e-7, atol=1e-7)


def test_scores_posteriors_and_paths_are_theirs(case: tuple[HMM, Any, list[np.ndarray]]) -> None:
    model, other, sequences = case
    together, frames, lengths = batch(sequences), np.concatenate(sequences), [len(one) for one in sequences]
    scores = model.log_prob(together)
    np.testing.assert_allclose(scores, [other.score(one) for one in sequences], rtol=1e-10)
    inside = torch.arange(max(lengths)) < together["lengths"][:, None]
    _, posterior = other.score_samples(frames, lengths)
    np.testing.assert_allclose(model.posterior(together)[inside], posterior, atol=1e-9)
    log_probability, path = other.decode(frames, lengths)
    paths, log_probabilities = model.viterbi(together)
    assert paths[inside].tolist() == path.tolist()
    assert float(log_probabilities.sum()) == pytest.approx(log_probability, rel=1e-10)


def test_information_criteria_are_theirs(case: tuple[HMM, Any, list[np.ndarray]]) -> None:
    model, other, sequences = case
    frames, lengths = np.concatenate(sequences), [len(one) for one in sequences]
    mean = float(model.log_prob(batch(sequences)).sum()) / len(frames)
    other.n_features = 5 if model.config.emissions == "categorical" else COLUMNS
    assert model.bic(mean, len(frames)) == pytest.approx(other.bic(frames, lengths), rel=1e-10)
    assert model.aic(mean, len(frames)) == pytest.approx(other.aic(frames, lengths), rel=1e-10)


@pytest.mark.parametrize(
    ("settings", "free"),
    [
        ({"transitions": "left-to-right"}, 0 + 2 + 6),  # each state but the last goes on, or does not
        ({"mask": ("110", "011", "101")}, 2 + 3 + 6),
        ({"mixtures": 2, "columns": 2}, 2 + 6 + 3 + 12 + 12),
        ({"mixtures": 2, "columns": 2, "covariance": "full"}, 2 + 6 + 3 + 12 + 18),
        ({"mixtures": 2, "columns": 2, "covariance": "tied"}, 2 + 6 + 3 + 12 + 3),
        ({"mixtures": 2, "columns": 2, "covariance": "spherical"}, 2 + 6 + 3 + 12 + 6),
    ],
    ids=str,
)
def test_only_what_a_fit_chooses_counts_as_a_free_parameter(settings: dict[str, Any], free: int) -> None:
    assert HMM(HMMConfig(states=3, **settings)).free_parameters == free


@pytest.mark.parametrize("kind", ["diagonal", "spherical", "full"])
def test_mixtures_take_the_same_steps_as_theirs(kind: str) -> None:
    """Their covariances are about the means before the step: about the new ones they are smaller by a known term."""
    random = np.random.default_rng(1)
    sequences, mixed = gaussian_sequences(), 2
    start, transition = chain()
    model = HMM(
        HMMConfig(states=STATES, columns=COLUMNS, covariance=kind, mixtures=mixed, covariance_prior=0.0)
    )
    covariances = {
        "diagonal": np.full((STATES, mixed, COLUMNS), 4.0),
        "spherical": np.full((STATES, mixed), 4.0),
        "full": np.tile(4 * np.eye(COLUMNS), (STATES, mixed, 1, 1)),
    }[kind]
    tensors = {
        "start": start,
        "transition": transition,
        "emissions.weights": random.dirichlet(np.ones(mixed), STATES),
        "emissions.means": np.concatenate(sequences)[random.permutation(200)[: STATES * mixed]].reshape(
            STATES, mixed, COLUMNS
        ),
        "emissions.covariances": covariances,
    }
    model.assign({name: torch.tensor(value) for name, value in tensors.items()})
    steps = model.fit(passes(sequences), Noise(0), {})
    for _ in range(4):
        prior = (
            -(COLUMNS + 2) / 2 if kind == "spherical" else None
        )  # flat; their default is so for 2 columns only
        other = reference.GMMHMM(
            STATES, mixed, covariance_type=NAMES[kind], n_iter=1, init_params="", covars_prior=prior
        )
        other.startprob_, other.transmat_ = model.start.numpy().copy(), model.transition.numpy().copy()
        other.weights_ = model.emissions.weights.numpy().copy()
        other.means_ = before = model.emissions.means.numpy().copy()
        other.covars_ = model.emissions.covariances.numpy().copy()
        other.fit(np.concatenate(sequences), list(LENGTHS))
        found = next(steps)["log_likelihood"]
        assert found * len(sequences) == pytest.approx(other.monitor_.history[0], rel=1e-9)
        np.testing.assert_allclose(model.transition, other.transmat_, atol=1e-9)
        np.testing.assert_allclose(model.emissions.weights, other.weights_, atol=1e-9)
        np.testing.assert_allclose(model.emissions.means, other.means_, atol=1e-7)
        moved = other.means_ - before
        extra = {
            "diagonal": moved**2,
            "spherical": (moved**2).mean(-1),
            "full": moved[..., :, None] * moved[..., None, :],
        }[kind]
        np.testing.assert_allclose(model.emissions.covariances, other.covars_ - extra, atol=1e-7)


def test_pseudo_counts_are_their_priors_less_one() -> None:
    model, other, sequences = categorical_case()
    config = HMMConfig(
        states=STATES,
        emissions="categorical",
        symbols=5,
        start_prior=0.5,
        transition_prior=1.5,
        emission_prior=2.0,
    )
    again = HMM(config)
    again.assign(dict(model.named_parameters()))
    other.startprob_prior, other.transmat_prior, other.emissionprob_prior = 1.5, 2.5, 3.0
    other.fit(np.concatenate(sequences), list(LENGTHS))
    fit(again, sequences, ITERATIONS)
    np.testing.assert_allclose(again.start, other.startprob_, atol=1e-9)
    np.testing.assert_allclose(again.transition, other.transmat_, atol=1e-9)
    np.testing.assert_allclose(again.emissions.probabilities, other.emissionprob_, atol=1e-9)


def test_the_pseudo_count_of_mixed_gaussians_is_their_prior_less_one() -> None:
    sequences = gaussian_sequences()
    config = HMMConfig(states=STATES, columns=COLUMNS, mixtures=2, emission_prior=3.0)
    model = HMM(config)
    steps = model.fit(passes(sequences), Noise(0), {})
    next(steps)
    other = reference.GMMHMM(STATES, 2, covariance_type="diag", n_iter=1, init_params="", weights_prior=4.0)
    other.startprob_, other.transmat_ = model.start.numpy().copy(), model.transition.numpy().copy()
    other.weights_, other.means_ = (
        model.emissions.weights.numpy().copy(),
        model.emissions.means.numpy().copy(),
    )
    other.covars_ = model.emissions.covariances.numpy().copy()
    other.fit(np.concatenate(sequences), list(LENGTHS))
    next(steps)
    np.testing.assert_allclose(model.emissions.weights, other.weights_, atol=1e-9)


def test_float32_agrees_to_its_precision() -> None:
    model, _, sequences = gaussian_case("diagonal")
    config = HMMConfig(states=STATES, columns=COLUMNS, covariance_prior=0.01, precision="float32")
    single = HMM(config)
    single.assign(dict(model.named_parameters()))
    np.testing.assert_allclose(fit(single, sequences, 5), fit(model, sequences, 5), rtol=1e-5)
    assert single.transition.dtype == torch.float32
