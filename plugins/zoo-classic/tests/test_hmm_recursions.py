"""The kernel, torch and log space compute the same, whatever stands beside a sequence and with any threads."""

from __future__ import annotations

import itertools
import math
import shutil
from typing import Any

import numpy as np
import pytest
import torch

from zoo.errors import DataError
from zoo.noise import Noise
from zoo_classic import recursions
from zoo_classic.frame_sums import summed_products
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.packed import Packed, packs
from zoo_classic.sequences import SequencePasses, batch_of

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler here"
)
LENGTHS = [(1,), (50,), (30, 30, 30, 30, 30), (60, 51, 10, 9, 8, 7, 1, 1)]
STATES = [1, 2, 3, 8, 16, 19, 40]


def chain(states: int, lengths: tuple[int, ...], *, zeros: bool = False) -> tuple[HMM, Packed, torch.Tensor]:
    """A model, sequences and their log-densities, up to hundreds of nats apart."""
    random = np.random.default_rng(states)
    transition = random.uniform(0.01, 1, (states, states)) ** 3
    if zeros:
        transition *= (
            (random.random((states, states)) < 0.4)
            | np.eye(states, k=1, dtype=bool)
            | np.eye(states, dtype=bool)
        )
    start = random.dirichlet(np.ones(states))
    model = HMM(HMMConfig(states=states))
    tensors = {"start": start, "transition": transition / transition.sum(1, keepdims=True)}
    model.assign({name: torch.tensor(value) for name, value in tensors.items()})
    sequences = [torch.zeros(length, 1, dtype=torch.float64) for length in lengths]
    [packed] = packs(batch_of(sequences), 10**6)
    return model, packed, torch.tensor(random.normal(scale=20, size=(sum(lengths), states)))


def everything(model: HMM, packed: Packed, density: torch.Tensor) -> list[torch.Tensor]:
    """What the recursions tell, of whichever way computes them."""

    def likelihood() -> tuple[torch.Tensor, torch.Tensor]:
        largest = density.amax(1)
        return (density - largest[:, None]).exp(), largest

    given = model.start, model.transition
    found = recursions.expected(*given, likelihood(), lambda: density, packed)
    last, log_likelihood = recursions.filtered(*given, likelihood(), lambda: density, packed)
    alone = recursions.expected(*given, likelihood(), lambda: density, packed, transitions=False)
    path, value = recursions.viterbi(*given, density, packed)
    told = [found.log_likelihood, found.posterior, found.transitions, alone.posterior, last, log_likelihood]
    return [*told, path.double(), value]


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(recursions, "_built", lambda: None)
    return monkeypatch


@needs_compiler
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("states", STATES)
def test_the_kernel_gives_what_torch_gives(
    states: int, lengths: tuple[int, ...], zeros: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = chain(states, lengths, zeros=zeros)
    found = everything(*case)
    monkeypatch.setattr(recursions, "_built", lambda: None)
    for own, theirs in zip(found, everything(*case), strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-10, atol=1e-10)


@needs_compiler
@pytest.mark.parametrize("states", STATES)
def test_a_sequence_is_the_same_to_the_bit_in_any_company_and_by_any_threads(states: int) -> None:
    lengths = (60, 51, 40, 39, 38, 7, 1, 1)
    model, packed, density = chain(states, lengths, zeros=True)
    together = everything(model, packed, density)
    ends = list(itertools.accumulate(lengths))
    for number, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        [one] = packs(batch_of([torch.zeros(length, 1)]), 10**6)
        own = slice(end - length, end)
        alone = everything(model, one, density[own])
        for at, rows in [
            (0, [number]),
            (1, own),
            (3, own),
            (4, [number]),
            (5, [number]),
            (6, own),
            (7, [number]),
        ]:
            assert torch.equal(alone[at], together[at][rows]), (number, at)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for own, theirs in zip(everything(model, packed, density), together, strict=True):
            assert torch.equal(own, theirs)
    finally:
        torch.set_num_threads(threads)


def two_chains_that_never_meet() -> tuple[HMM, Packed, torch.Tensor]:
    """The first half speaks for one chain by more than a float64 can say, the second for another by more still."""
    model, packed, density = chain(3, (40, 5))
    model.assign(
        {"transition": torch.eye(3).double(), "start": torch.tensor([0.5, 0.4, 0.1], dtype=torch.float64)}
    )
    density[:20] = torch.tensor([1.0, 1e-50, 1e-300], dtype=torch.float64).log()
    density[20:40] = torch.tensor([1e-60, 1.0, 1e-300], dtype=torch.float64).log()
    return model, packed, density


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=needs_compiler), False])
def test_a_state_that_underflow_loses_is_found_in_log_space(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, packed, density = two_chains_that_never_meet()
    if not compiled:
        monkeypatch.setattr(recursions, "_built", lambda: None)
    log_likelihood, posterior, transitions, alone, last, filtered, *_ = everything(model, packed, density)
    first, second = 20 * math.log(1e-60), 20 * math.log(1e-50)
    expected = math.log(0.5 * math.exp(first - second) + 0.4) + second
    assert float(log_likelihood[0]) == pytest.approx(expected, rel=1e-12)
    assert float(filtered[0]) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(posterior[:40, 1], torch.ones(40).double())
    torch.testing.assert_close(alone, posterior)
    torch.testing.assert_close(last[0], torch.tensor([0.0, 1.0, 0.0]).double())
    assert float(transitions.sum()) == pytest.approx(39 + 4)


@needs_compiler
def test_only_the_sequences_that_need_it_go_to_log_space(monkeypatch: pytest.MonkeyPatch) -> None:
    model, packed, density = two_chains_that_never_meet()
    asked = []
    exact = recursions._Run.exact
    monkeypatch.setattr(
        recursions._Run,
        "exact",
        lambda self, table, which, *rest, **more: (
            asked.append(which.tolist()) or exact(self, table, which, *rest, **more)
        ),
    )
    everything(model, packed, density)
    assert asked == [[True, False]] * 3


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=needs_compiler), False])
def test_of_equally_probable_paths_hmmlearns_is_taken(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hmmlearn import _hmmc

    if not compiled:
        monkeypatch.setattr(recursions, "_built", lambda: None)
    for states in (2, 3, 9):
        model, packed, _ = chain(states, (200,))
        model.assign(
            {
                "transition": torch.full((states, states), 1 / states).double(),
                "start": torch.full((states,), 1 / states).double(),
            }
        )
        density = torch.tensor(np.random.default_rng(0).integers(-2, 0, (200, states))).double()
        path, value = recursions.viterbi(model.start, model.transition, density, packed)
        expected, theirs = _hmmc.viterbi(model.start.numpy(), model.transition.numpy(), density.numpy())
        if isinstance(expected, float):
            expected, theirs = theirs, expected
        assert path.tolist() == expected.tolist()
        assert float(value) == theirs


def test_a_float32_model_loses_no_state_that_float64_keeps() -> None:
    config = HMMConfig(states=2, precision="float32", emissions="categorical", symbols=2, mask=("10", "01"))
    model = HMM(config)
    tensors = {"start": [0.5, 0.5], "emissions.probabilities": [[0.999, 0.001], [0.001, 0.999]]}
    model.assign({name: torch.tensor(value) for name, value in tensors.items()})
    given = batch_of([torch.tensor([0] * 100 + [1] * 101)])
    expected = math.log(0.5) + 100 * math.log(0.001) + 101 * math.log(0.999)
    assert float(model.log_prob(given)) == pytest.approx(expected, rel=1e-4)
    assert model.posterior(given).dtype == torch.float32


def impossible(kind: str) -> tuple[HMM, dict[str, Any]]:
    """Sequence 3 of 4 is impossible: by a symbol, or by a step."""
    model = HMM(HMMConfig(states=2, emissions="categorical", symbols=3, mask=("11", "01")))
    tensors = {"start": [1.0, 0.0], "transition": [[0.5, 0.5], [0.0, 1.0]]}
    tensors["emissions.probabilities"] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    model.assign({name: torch.tensor(value).double() for name, value in tensors.items()})
    wrong = {"symbol": [0, 2], "step": [1, 0], "later": [0] * 30 + [1] * 30 + [0]}[kind]
    return model, batch_of([torch.tensor(one) for one in ([0], [0, 0, 1], [0, 1], wrong)])


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=needs_compiler), False])
@pytest.mark.parametrize("kind", ["symbol", "step", "later"])
def test_an_impossible_sequence_scores_minus_infinity_and_is_refused_by_its_number_elsewhere(
    kind: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(recursions, "_built", lambda: None)
    model, given = impossible(kind)
    scores = model.log_prob(given)
    assert scores.tolist() == [0.0, pytest.approx(math.log(0.25)), pytest.approx(math.log(0.5)), -math.inf]
    for method in (model.viterbi, model.posterior, model.predict_next):
        with pytest.raises(DataError, match="sequence 3 has probability 0 under the model"):
            method(given)
    sequences = [one[:length] for one, length in zip(given["values"], given["lengths"].tolist(), strict=True)]
    with pytest.raises(
        DataError, match="sequence 3 has probability 0 under the parameters the fit starts from"
    ):
        next(model.fit(SequencePasses(sequences), Noise(0), {}))


def test_no_compiler_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    recursions._built.cache_clear()
    try:
        assert recursions._built() is None
        model, given = impossible("step")
        assert model.log_prob(given)[0] == 0.0
    finally:
        recursions._built.cache_clear()


def test_the_frames_of_one_time_stand_side_by_side() -> None:
    _, packed, _ = chain(2, (3, 2, 2))
    by_time = packed.steps
    assert by_time.order.tolist() == [0, 3, 5, 1, 4, 6, 2]
    assert by_time.sizes == (3, 3, 1)
    assert by_time.previous.tolist() == [0, 1, 2, 3]
    assert by_time.ends.tolist() == [6, 4, 5]
    assert packed.place(4) == (1, 1)


@pytest.mark.parametrize("frames", [0, 3, 1024, 2500])
def test_sums_in_blocks_are_those_of_one_product(frames: int) -> None:
    left, right = torch.rand(frames, 3).double(), torch.rand(frames, 5).double()
    torch.testing.assert_close(summed_products(left, right), left.t() @ right)
