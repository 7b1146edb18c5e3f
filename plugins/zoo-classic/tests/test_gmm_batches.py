"""Mixtures fitted in batches: when they have converged, how they go on, and that several processes fit as one."""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from two_processes import together
from zoo.datasets.passes import ALONE, RowPasses, Team
from zoo.errors import DataError, ZooWarning
from zoo.noise import Noise
from zoo_classic.gmm import GMM
from zoo_classic.gmm_config import COVARIANCES, GMMConfig
from zoo_classic.passes import TensorPasses

ROWS, SIZE = 250, 60
A_PASS = math.ceil(ROWS / SIZE)


def rows(count: int = ROWS) -> np.ndarray:
    rng = np.random.default_rng(0)
    which = rng.integers(3, size=count)
    return rng.normal(size=(3, 2))[which] * 6 + rng.normal(size=(count, 2)) @ [[1.0, 0.5], [0.0, 2.0]]


def weights() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.1, 2.0, ROWS)


def mixture(covariance: str = "full", batch_rows: int = SIZE, **settings: Any) -> GMM:
    return GMM(GMMConfig(2, 3, covariance, batch_rows=batch_rows, **settings))


def said(model: GMM, data: Any, count: int, state: dict[str, torch.Tensor] | None = None) -> list[Any]:
    steps = model.fit(data, Noise(0), {} if state is None else state)
    return [dict(step) for step in itertools.islice(steps, count)]


def test_it_has_converged_when_a_whole_pass_changes_little():
    """A witness of its own: the batches' means, weighted by their rows, passes compared one with the next."""
    tolerance = 2e-3
    steps = said(mixture(tolerance=tolerance), TensorPasses(torch.tensor(rows())), 30 * A_PASS)
    sizes = [SIZE] * (A_PASS - 1) + [ROWS - SIZE * (A_PASS - 1)]
    found = np.array([step["log_likelihood"] for step in steps]).reshape(-1, A_PASS) @ sizes / ROWS
    flags = np.array([step["converged"] for step in steps]).reshape(-1, A_PASS)
    assert not flags[:, :-1].any()
    assert flags[0, -1] == 0
    assert flags[1:, -1].tolist() == (np.abs(np.diff(found)) < tolerance).astype(float).tolist()
    assert 0 < flags[:, -1].sum() < 29


def test_weights_count_in_what_a_pass_brought():
    x, w = torch.tensor(rows()), torch.tensor(weights())
    state: dict[str, torch.Tensor] = {}
    steps = said(mixture(), TensorPasses(x, w), A_PASS, state)
    shares = [float(part.sum()) for part in w.split(SIZE)]
    assert float(state["last"]) == pytest.approx(
        np.average([step["log_likelihood"] for step in steps], weights=shares), rel=1e-12
    )


@pytest.mark.parametrize("done", [1, 3, A_PASS, A_PASS + 2])
def test_a_fit_goes_on_from_the_middle_of_a_pass_to_the_same_bits(done):
    data = TensorPasses(torch.tensor(rows()))
    model, state = mixture(tolerance=0.05), {}
    steps = model.fit(data, Noise(0), state)
    for _ in range(done):
        next(steps)
    other, kept = copy.deepcopy(model), {name: value.clone() for name, value in state.items()}
    straight = [dict(next(steps)) for _ in range(4 * A_PASS)]
    assert said(other, data, 4 * A_PASS, kept) == straight
    assert any(step["converged"] for step in straight)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_a_pass_in_which_a_component_began_anew_has_not_converged():
    data = TensorPasses(torch.tensor(rows()))
    model = mixture(tolerance=1e9)
    means = torch.tensor([[0.0, 0.0], [3.0, 3.0], [1e6, 1e6]])  # nothing is near the last
    model.start(means, torch.eye(2).repeat(3, 1, 1), torch.tensor([0.4995, 0.4995, 0.001]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        steps = said(model, data, 12 * A_PASS)
    passes = [steps[first : first + A_PASS] for first in range(0, len(steps), A_PASS)]
    anew = [any(step["reseeded"] for step in one) for one in passes]
    assert True in anew
    assert [one[-1]["converged"] for one in passes[1:]] == [float(not one) for one in anew[1:]]


@pytest.mark.parametrize("batch_rows", [ROWS, 10 * ROWS])
def test_batches_of_all_rows_are_the_fit_without_batches(batch_rows):
    data = TensorPasses(torch.tensor(rows()))
    assert said(mixture(batch_rows=batch_rows), data, 6) == said(mixture(batch_rows=0), data, 6)


@pytest.mark.parametrize("batch_rows", [0, SIZE, 7])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_two_processes_fit_what_one_does(covariance, batch_rows):
    """Of 250 rows in batches of 7, the last has 5: one process has two of them, the other three."""
    count = 3 * math.ceil(ROWS / (batch_rows or ROWS))

    def work(team: Team) -> tuple[GMM, list[Any]]:
        model = mixture(covariance, batch_rows, regularisation=0.1)
        return model, said(model, RowPasses(rows(), team, weights=weights()), count)

    (first, steps), (second, others) = together(work)
    assert others == steps
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    alone, wanted = work(ALONE)
    for name in ("log_likelihood", "converged"):
        found = [step[name] for step in steps]
        assert np.allclose(found, [step[name] for step in wanted], rtol=1e-9, atol=1e-9)
    for own, one in zip(first.parameters(), alone.parameters(), strict=True):
        assert torch.allclose(own, one, rtol=1e-9, atol=1e-9)


def test_a_process_without_rows_in_the_last_batch_waits_for_the_others():
    def work(team: Team) -> GMM:
        model = mixture(batch_rows=83)  # 250 = 3 * 83 + 1
        said(model, RowPasses(rows(), team), 9)
        return model

    first, second = together(work)
    assert torch.equal(first.means, second.means)
    assert torch.allclose(first.means, work(ALONE).means, rtol=1e-9)


def test_what_is_not_finite_in_another_process_is_told_by_its_column():
    x = rows()
    x[3, 1] = np.nan  # of the first process

    def work(team: Team) -> None:
        model = mixture(start_rows=ROWS)
        model.start(torch.zeros(3, 2) + torch.arange(3.0)[:, None], torch.eye(2).repeat(3, 1, 1))
        said(model, RowPasses(x, team), 1)

    for error in together(work):
        assert isinstance(error, DataError)
        assert "values in columns 1 (from 0) that are not a finite number" in str(error)


def test_data_that_ends_too_soon_is_refused():
    class Short(TensorPasses):
        @property
        def rows(self) -> int:
            return ROWS

    with pytest.raises(DataError, match=r"ended before all its 250 rows had come"):
        said(mixture(), Short(torch.tensor(rows(200))), 5)


def test_a_batch_without_weight_is_refused():
    w = np.ones(ROWS)
    w[SIZE : 2 * SIZE] = 0
    with pytest.raises(DataError, match="no weight at all") as refused:
        said(mixture(), TensorPasses(torch.tensor(rows()), torch.tensor(w)), 5)
    assert "leave out" in refused.value.hint
