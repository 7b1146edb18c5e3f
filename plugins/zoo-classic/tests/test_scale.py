"""What is fitted does not depend on the units of the data, nor on where their zero is."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.noise import Noise
from zoo_classic.gmm import GMM
from zoo_classic.gmm_config import COVARIANCES, GMMConfig
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.passes import TensorPasses
from zoo_classic.scale import measured
from zoo_classic.sequences import SequencePasses, batch_of

FAR = 1e10
STEP = 2.0**-18  # of the values: they are exact when FAR is added
seeds = st.integers(0, 10_000)


def runs(seed: int, columns: int = 2) -> torch.Tensor:
    """120 rows about three points, in runs of ten; one point is far narrower than the others."""
    rng = np.random.default_rng(seed)
    points = rng.normal(scale=4.0, size=(3, columns))
    which = rng.integers(0, 3, 12).repeat(10)
    x = points[which] + rng.normal(size=(120, columns)) * np.array([0.05, 1.0, 1.0])[which][:, None]
    return torch.tensor(np.round(x / STEP) * STEP)


def placed(x: torch.Tensor) -> list[tuple[torch.Tensor, float]]:
    """The rows in other units and from another zero, and the size of their unit."""
    return [(x * 1e-8, 1e-8), (x + FAR, 1.0), (x * 1e6, 1e6)]


def together(shares: torch.Tensor) -> torch.Tensor:
    """(N, N) how probably two rows are of one component, whatever its number: of two like starts either may win."""
    return shares @ shares.T


@settings(max_examples=6, deadline=None, derandomize=True, database=None)
@given(seed=seeds, covariance=st.sampled_from(COVARIANCES), batch_rows=st.sampled_from([0, 70]))
def test_mixtures_of_rows_in_other_units_or_far_away_agree(
    seed: int, covariance: str, batch_rows: int
) -> None:
    def fitted(x: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
        model = GMM(GMMConfig(2, 3, covariance, batch_rows=batch_rows, restarts=2))
        steps = itertools.islice(model.fit(TensorPasses(x), Noise(seed), {}), 8)
        found = [float(step["log_likelihood"]) for step in steps]
        return model.responsibilities(x), [*found, float(model.log_prob(x).mean())]

    x = runs(seed)
    shares, course = fitted(x)
    for other, unit in placed(x):
        found, there = fitted(other)
        torch.testing.assert_close(together(found), together(shares), rtol=0, atol=2e-3)
        np.testing.assert_allclose(np.array(there) + 2 * math.log(unit), course, atol=1e-4)


@settings(max_examples=6, deadline=None, derandomize=True, database=None)
@given(
    seed=seeds,
    covariance=st.sampled_from(COVARIANCES),
    further=st.sampled_from([{}, {"mixtures": 2}, {"transitions": "left-to-right"}, {"restarts": 2}]),
)
def test_chains_of_frames_in_other_units_or_far_away_agree(
    seed: int, covariance: str, further: dict[str, Any]
) -> None:
    def fitted(x: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
        model = HMM(HMMConfig(states=2, columns=2, covariance=covariance, **further))
        steps = itertools.islice(model.fit(SequencePasses([x[:80], x[80:]]), Noise(seed), {}), 8)
        found = [float(step["per_frame"]) for step in steps]
        return model.posterior(batch_of([x]))[0], found

    x = runs(seed)
    shares, course = fitted(x)
    for other, unit in placed(x):
        found, there = fitted(other)
        torch.testing.assert_close(together(found), together(shares), rtol=0, atol=2e-3)
        np.testing.assert_allclose(np.array(there) + 2 * math.log(unit), course, atol=1e-4)


def test_clusters_six_deviations_apart_stay_apart_however_small_they_are() -> None:
    rng = np.random.default_rng(0)
    which = rng.integers(0, 2, 300)
    x = torch.tensor(1e-4 * (rng.normal(size=(300, 2)) + 6 / math.sqrt(2) * which[:, None]))
    model = GMM(GMMConfig(2, 2))
    for _ in itertools.islice(model.fit(TensorPasses(x), Noise(0), {}), 20):
        pass
    assert float((model.means[0] - model.means[1]).norm()) == pytest.approx(6e-4, rel=0.1)
    same = (model.predict(x).numpy() == which).mean()
    assert max(same, 1 - same) > 0.99


def test_small_returns_have_calm_and_wild_states_and_no_state_of_the_prior() -> None:
    """Deviations 0.001 and 0.003 in runs: the prior must not make a state of its own out of a few frames."""
    rng = np.random.default_rng(5)
    state = np.zeros(1000, int)
    for at in range(1, 1000):
        state[at] = state[at - 1] ^ (rng.random() < (0.02, 0.05)[state[at - 1]])
    x = torch.tensor(rng.normal(size=(1000, 1)) * np.array([1e-3, 3e-3])[state][:, None])
    model = HMM(HMMConfig(states=2))
    for _ in itertools.islice(model.fit(SequencePasses([x]), Noise(0), {}), 60):
        pass
    deviations, order = model.emissions.covariances.flatten().sqrt().sort()
    assert deviations.tolist() == pytest.approx([1e-3, 3e-3], rel=0.2)
    share = model.posterior(batch_of([x]))[0].mean(0)[order]
    assert share.tolist() == pytest.approx([1 - state.mean(), state.mean()], abs=0.1)


def test_the_absolute_numbers_of_the_peers_are_there_by_name() -> None:
    x = runs(3) * 1e-3
    model = GMM(GMMConfig(2, 1, "diagonal", regularisation=0.5))
    next(model.fit(TensorPasses(x), Noise(0), {}))
    torch.testing.assert_close(model.covariances[0], x.var(dim=0, correction=0) + 0.5)
    chain = HMM(HMMConfig(states=1, columns=2, covariance_prior=2.0))
    next(chain.fit(SequencePasses([x]), Noise(0), {}))
    wanted = x.var(dim=0, correction=0) + 2.0 / len(x)
    torch.testing.assert_close(chain.emissions.covariances[0, 0], wanted)
    chain = HMM(HMMConfig(states=1, columns=2, minimum_variance=3.0))
    next(chain.fit(SequencePasses([x]), Noise(0), {}))
    assert chain.emissions.covariances.flatten().tolist() == [3.0, 3.0]


@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_no_direction_gets_narrower_than_the_least_share_of_its_columns(covariance: str) -> None:
    """Columns of sizes 1 and 1,000 that are one and the same: the floor is in the units of each."""
    x = runs(1, 1) @ torch.tensor([[1.0, 1000.0]], dtype=torch.float64)
    config = HMMConfig(
        states=1,
        columns=2,
        covariance=covariance,
        relative_covariance_prior=0.0,
        relative_minimum_variance=1e-4,
    )
    model = HMM(config)
    next(model.fit(SequencePasses([x]), Noise(0), {}))
    size = x.std(dim=0, correction=0)
    scaled = model.emissions.covariances.view(2, 2) / size / size[:, None]
    assert torch.linalg.eigvalsh(scaled).tolist() == pytest.approx([1e-4, 2.0], rel=1e-6)


def test_a_column_of_rounding_alone_has_no_size() -> None:
    x = torch.full((1000, 3), 7.1, dtype=torch.float64)
    x[::3, 1] = math.nextafter(7.1, 8)  # 0.1 + 7 and its like
    x[:, 2] = FAR + STEP * 4 * torch.arange(1000, dtype=torch.float64)
    mean, deviation = measured(x, torch.ones(1000, dtype=torch.float64))
    assert mean[:2].tolist() == pytest.approx([7.1, 7.1], rel=1e-15)
    assert deviation[:2].tolist() == [1.0, 1.0]
    assert float(deviation[2]) == pytest.approx(4 * STEP * math.sqrt((1000**2 - 1) / 12), rel=1e-6)
