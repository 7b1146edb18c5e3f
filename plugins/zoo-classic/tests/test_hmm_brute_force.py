"""An HMM computes what summing over every path of states gives, and draws what it says is probable."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from zoo.errors import UsageError
from zoo.modality.sequence import SequenceControls
from zoo.noise import Noise
from zoo_classic import forward_backward as recursion
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.packed import packs
from zoo_classic.sequences import SequencePasses, batch_of

STATES, COLUMNS = 3, 2
CONFIGS = (
    {
        "categorical": HMMConfig(states=STATES, emissions="categorical", symbols=4),
        "poisson": HMMConfig(states=STATES, emissions="poisson", columns=COLUMNS),
        "mixture": HMMConfig(states=STATES, columns=COLUMNS, mixtures=2, covariance_prior=0.0),
    }
    | {
        f"mixture {kind}": HMMConfig(
            states=STATES, columns=COLUMNS, mixtures=2, covariance=kind, covariance_prior=0.0
        )
        for kind in ("full", "spherical", "tied")
    }
    | {
        kind: HMMConfig(states=STATES, columns=COLUMNS, covariance=kind, covariance_prior=0.0)
        for kind in ("full", "diagonal", "spherical", "tied")
    }
)


def batch(sequences: Any) -> dict[str, torch.Tensor]:
    return batch_of([torch.as_tensor(np.asarray(one)) for one in sequences])


def passes(sequences: Any) -> SequencePasses:
    return SequencePasses([torch.as_tensor(np.asarray(one)) for one in sequences])


def drawn_model(config: HMMConfig, seed: int = 0) -> HMM:
    """A model with parameters that are all different."""
    random = np.random.default_rng(seed)
    model = HMM(config)
    mask = (model.transition > 0).double().numpy()
    transition = mask * random.uniform(0.1, 1.0, (config.states, config.states))
    start = np.ones(config.states) if config.transitions == "full" else np.eye(config.states)[0]
    start = start * random.uniform(0.1, 1.0, config.states)
    values: dict[str, Any] = {
        "transition": transition / transition.sum(1, keepdims=True),
        "start": start / start.sum(),
    }
    if config.emissions == "categorical":
        values["emissions.probabilities"] = random.dirichlet(np.ones(config.symbols), config.states)
    elif config.emissions == "poisson":
        values["emissions.rates"] = random.uniform(0.5, 6.0, (config.states, config.columns))
    else:
        shape = (config.states, config.mixtures)
        values["emissions.weights"] = random.dirichlet(np.ones(config.mixtures), config.states)
        values["emissions.means"] = random.normal(size=(*shape, config.columns))
        values["emissions.covariances"] = drawn_covariances(config, random)
    model.assign({name: torch.as_tensor(value) for name, value in values.items()})
    return model


def drawn_covariances(config: HMMConfig, random: np.random.Generator) -> np.ndarray:
    shape, columns = (config.states, config.mixtures), config.columns
    if config.covariance == "diagonal":
        return random.uniform(0.3, 2.0, (*shape, columns))
    if config.covariance == "spherical":
        return random.uniform(0.3, 2.0, shape)
    roots = random.normal(size=(() if config.covariance == "tied" else shape) + (columns, 2 * columns))
    return roots @ roots.swapaxes(-1, -2) / columns


def drawn_sequences(config: HMMConfig, lengths: tuple[int, ...], seed: int = 1) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    if config.emissions == "categorical":
        return [random.integers(0, config.symbols, length) for length in lengths]
    if config.emissions == "poisson":
        return [random.poisson(3.0, (length, config.columns)) for length in lengths]
    return [random.normal(size=(length, config.columns)) for length in lengths]


def density(model: HMM, state: int, frame: Any) -> float:
    """P(frame | state), by scipy."""
    config, part = model.config, model.emissions
    if config.emissions == "categorical":
        return float(part.probabilities[state, int(frame)])
    if config.emissions == "poisson":
        return float(stats.poisson.pmf(frame, part.rates[state].numpy()).prod())
    total = 0.0
    for mixed in range(config.mixtures):
        covariance = part.covariances if config.covariance == "tied" else part.covariances[state, mixed]
        matrix = {
            "diagonal": lambda c: np.diag(c.numpy()),
            "spherical": lambda c: np.eye(config.columns) * float(c),
            "full": lambda c: c.numpy(),
            "tied": lambda c: c.numpy(),
        }[config.covariance](covariance)
        normal = stats.multivariate_normal(part.means[state, mixed].numpy(), matrix)
        total += float(part.weights[state, mixed]) * normal.pdf(frame)
    return total


def every_path(model: HMM, sequence: np.ndarray) -> dict[tuple[int, ...], float]:
    """P(path, sequence) of every path of states."""
    found = {}
    start, transition = model.start.tolist(), model.transition.tolist()
    emitted = [[density(model, state, frame) for state in range(STATES)] for frame in sequence]
    for path in itertools.product(range(STATES), repeat=len(sequence)):
        probability = start[path[0]] * emitted[0][path[0]]
        for time in range(1, len(sequence)):
            probability *= transition[path[time - 1]][path[time]] * emitted[time][path[time]]
        found[path] = probability
    return found


@pytest.fixture(params=CONFIGS)
def case(request: pytest.FixtureRequest) -> tuple[HMM, list[np.ndarray]]:
    config = CONFIGS[request.param]
    return drawn_model(config), drawn_sequences(config, (3, 5, 1, 4, 5))


def test_the_likelihood_is_the_sum_over_all_paths(case: tuple[HMM, list[np.ndarray]]) -> None:
    model, sequences = case
    expected = [np.log(sum(every_path(model, one).values())) for one in sequences]
    np.testing.assert_allclose(model.log_prob(batch(sequences)), expected, rtol=1e-12)


def test_the_posterior_is_the_share_of_the_paths_through_a_state(
    case: tuple[HMM, list[np.ndarray]],
) -> None:
    model, sequences = case
    found = model.posterior(batch(sequences))
    for row, sequence in enumerate(sequences):
        paths = every_path(model, sequence)
        expected = np.zeros((len(sequence), STATES))
        for path, probability in paths.items():
            expected[range(len(sequence)), path] += probability / sum(paths.values())
        np.testing.assert_allclose(found[row, : len(sequence)], expected, atol=1e-12)
        assert not found[row, len(sequence) :].any()


def test_viterbi_finds_the_most_probable_path(case: tuple[HMM, list[np.ndarray]]) -> None:
    model, sequences = case
    paths, log_probabilities = model.viterbi(batch(sequences))
    for row, sequence in enumerate(sequences):
        best, probability = max(every_path(model, sequence).items(), key=lambda item: item[1])
        assert paths[row].tolist() == [*best, *[-1] * (5 - len(sequence))]
        assert float(log_probabilities[row]) == pytest.approx(np.log(probability), rel=1e-12)


def test_one_iteration_sets_start_and_transitions_to_the_expected_shares(
    case: tuple[HMM, list[np.ndarray]],
) -> None:
    model, sequences = case
    first, changes = np.zeros(STATES), np.zeros((STATES, STATES))
    for sequence in sequences:
        paths = every_path(model, sequence)
        for path, probability in paths.items():
            share = probability / sum(paths.values())
            first[path[0]] += share
            for here, there in itertools.pairwise(path):
                changes[here, there] += share
    next(model.fit(passes(sequences), Noise(0), {}))
    np.testing.assert_allclose(model.start, first / first.sum(), atol=1e-12)
    np.testing.assert_allclose(model.transition, changes / changes.sum(1, keepdims=True), atol=1e-12)


def test_the_next_frame_is_weighed_over_all_paths(case: tuple[HMM, list[np.ndarray]]) -> None:
    model, sequences = case
    states, frames = model.predict_next(batch(sequences))
    for row, sequence in enumerate(sequences):
        paths = every_path(model, sequence)
        last = np.zeros(STATES)
        for path, probability in paths.items():
            last[path[-1]] += probability / sum(paths.values())
        expected = last @ model.transition.numpy()
        np.testing.assert_allclose(states[row], expected, atol=1e-12)
        np.testing.assert_allclose(frames[row], expected @ model.emissions.mean().numpy(), atol=1e-12)


def test_log_space_computes_what_the_scaled_recursion_does(case: tuple[HMM, list[np.ndarray]]) -> None:
    model, sequences = case
    [packed] = packs(batch(sequences), 10_000)
    seen = model.emissions.see(packed, model.emissions.shift())
    likelihood, offset = model.emissions.likelihood(seen)
    steps = packed.steps
    scaled = recursion.scaled(model.start, model.transition, likelihood[steps.order], steps)
    density = model.emissions.log_density(seen)
    exact = recursion.logarithmic(model.start, model.transition, density[steps.order], steps)
    assert scaled is not None
    units = offset if len(offset) == 1 else offset[steps.order]
    torch.testing.assert_close(scaled[0] + units, exact[0], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(scaled[1], exact[1], atol=1e-12, rtol=0)
    torch.testing.assert_close(scaled[2], exact[2], atol=1e-12, rtol=0)


def test_sequences_are_drawn_as_often_as_they_are_probable() -> None:
    model = drawn_model(HMMConfig(states=STATES, emissions="categorical", symbols=3))
    every = np.array(list(itertools.product(range(3), repeat=3)))
    probable = model.log_prob(batch(every)).exp().numpy()
    assert probable.sum() == pytest.approx(1)
    [(_, drawn)] = model.draw(4000, Noise(0), 3)
    counts = np.bincount((drawn @ torch.tensor([9, 3, 1])).numpy(), minlength=27)
    assert stats.chisquare(counts, probable * 4000).pvalue > 0.01


def test_what_follows_a_prefix_is_drawn_as_often_as_predicted() -> None:
    model = drawn_model(HMMConfig(states=STATES, emissions="categorical", symbols=3))
    prefix = batch([[2, 0, 0, 1]])
    _, probable = model.predict_next(prefix)
    [(_, drawn)] = model.draw(2000, Noise(3), 1, prefix)
    counts = np.bincount(drawn[:, 0].numpy(), minlength=3)
    assert stats.chisquare(counts, probable[0].numpy() * 2000).pvalue > 0.01


@pytest.mark.parametrize("kind", [name for name in CONFIGS if name not in ("categorical", "poisson")])
def test_the_frames_of_a_state_are_distributed_as_it_says(kind: str) -> None:
    """Along any direction a state's frames are a mixture of normal numbers, whose quantiles are uniform."""
    model = drawn_model(CONFIGS[kind])
    config, part = model.config, model.emissions
    [(states, frames)] = model.draw(40, Noise(5), 100)
    own = frames[states == 2].numpy()
    assert len(own) > 500
    matrices = part.covariances if config.covariance == "tied" else part.covariances[2]
    for direction in np.random.default_rng(0).normal(size=(3, COLUMNS)):
        variances = {
            "diagonal": lambda at: matrices.numpy() @ at**2,
            "spherical": lambda at: matrices.numpy() * (at @ at),
            "full": lambda at: np.einsum("i,mij,j->m", at, matrices.numpy(), at),
            "tied": lambda at: at @ matrices.numpy() @ at,
        }[config.covariance](direction)
        means = part.means[2].numpy() @ direction
        below = (
            stats.norm.cdf((own @ direction)[:, None], means, np.sqrt(variances)) @ part.weights[2].numpy()
        )
        assert stats.chisquare(np.histogram(below, bins=20, range=(0, 1))[0]).pvalue > 1e-3


@pytest.mark.parametrize("kind", ["poisson", "mixture", "full", "diagonal", "spherical", "tied"])
def test_frames_are_drawn_from_their_state(kind: str) -> None:
    model = drawn_model(CONFIGS[kind])
    [(states, frames)] = model.draw(60, Noise(2), 100)
    for state in range(STATES):
        own = frames[states == state].double()
        mean = model.emissions.mean()[state]
        error = own.std(0) / len(own) ** 0.5
        assert ((own.mean(0) - mean).abs() < 4 * error).all()
    at = (states == 1).nonzero()[:, 0]
    own = frames[states == 1]
    assert len(at) > 300
    if kind == "poisson":
        counts = np.bincount(own[:, 0].numpy(), minlength=30)[:30]
        expected = stats.poisson.pmf(np.arange(30), float(model.emissions.rates[1, 0]))
        large = expected * len(own) > 5
        seen, due = counts[large], expected[large]
        assert stats.chisquare(seen, due / due.sum() * seen.sum()).pvalue > 0.01
    elif kind == "full":
        expected = model.emissions.covariances[1, 0]
        assert ((torch.cov(own.t()) - expected).abs() < 0.25 * expected.diagonal().amax()).all()


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_sample_depends_on_the_seed_and_its_number_alone(kind: str) -> None:
    model = drawn_model(CONFIGS[kind])
    [(_, many)] = model.draw(5, Noise(9), 20)
    for start in range(5):
        [(_, one)] = model.draw(1, Noise(9, start=start), 20)
        torch.testing.assert_close(many[start], one[0], rtol=0, atol=0)
    *_, (_, long) = model.draw(5, Noise(9), 700)
    torch.testing.assert_close(long[:, :20], many, rtol=0, atol=0)


def test_samples_come_bit_by_bit_and_last_as_a_whole() -> None:
    model = drawn_model(CONFIGS["full"])
    found = list(model.sample(3, Noise(1), SequenceControls(length=300)))
    assert [one.shape[1] for one in found] == [128, 256, 300]
    torch.testing.assert_close(found[0], found[-1][:, :128], rtol=0, atol=0)


def test_each_sample_goes_on_after_its_own_prefix_or_one_for_all() -> None:
    model = drawn_model(CONFIGS["categorical"])
    own = batch([[0, 1, 2], [3]])
    [both] = model.sample(2, Noise(1), SequenceControls(length=9), own)
    [second] = model.sample(1, Noise(1, start=1), SequenceControls(length=9), batch([[3]]))
    assert both[1].tolist() == second[0].tolist()
    [alike] = model.sample(2, Noise(1), SequenceControls(length=9), batch([[3]]))
    assert alike[1].tolist() == second[0].tolist()
    with pytest.raises(UsageError, match="2 prefixes for 3 samples"):
        next(model.sample(3, Noise(1), SequenceControls(length=9), own))
