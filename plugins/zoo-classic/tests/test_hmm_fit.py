"""Fitting an HMM: what always holds, where it starts, how it goes on, and what it refuses."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from two_processes import together
from zoo.datasets.passes import ALONE, Team
from zoo.errors import DataError, UsageError, ZooWarning
from zoo.noise import Noise
from zoo.weights.load import load
from zoo.weights.save import save
from zoo_classic import seen_passes
from zoo_classic.forward_backward import logarithmic
from zoo_classic.hmm import HMM, build
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.packed import packs
from zoo_classic.sequences import SequencePasses, batch_of

KINDS: dict[str, dict[str, Any]] = {
    "categorical": {"emissions": "categorical", "symbols": 3},
    "poisson": {"emissions": "poisson", "columns": 2},
    "mixture": {"columns": 2, "mixtures": 2},
    "mixture full": {"columns": 2, "mixtures": 2, "covariance": "full"},
    "mixture tied": {"columns": 2, "mixtures": 2, "covariance": "tied"},
    "mixture spherical": {"columns": 2, "mixtures": 2, "covariance": "spherical"},
    "full": {"columns": 2, "covariance": "full"},
    "tied": {"columns": 2, "covariance": "tied"},
    "diagonal": {"columns": 2},
    "spherical": {"columns": 2, "covariance": "spherical"},
}


def batch(sequences: Any) -> dict[str, torch.Tensor]:
    return batch_of([torch.as_tensor(np.asarray(one)) for one in sequences])


def passes(sequences: Any) -> SequencePasses:
    return SequencePasses([torch.as_tensor(np.asarray(one)) for one in sequences])


def some_sequences(kind: str, lengths: tuple[int, ...] = (30, 7, 30, 1, 18), seed: int = 0) -> list[Any]:
    random = np.random.default_rng(seed)
    if kind == "categorical":
        return [random.integers(0, 3, length) for length in lengths]
    if kind == "poisson":
        return [random.poisson(random.uniform(0, 5), (length, 2)) for length in lengths]
    return [random.normal(size=(length, 2)).cumsum(0) for length in lengths]


def steps(model: HMM, sequences: list[Any], count: int, seed: int = 0) -> list[float]:
    fitting = model.fit(passes(sequences), Noise(seed), {})
    return [next(fitting)["log_likelihood"] for _ in range(count)]


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    shape=st.sampled_from(["full", "left-to-right", "mask"]),
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(1, 12), min_size=4, max_size=8).map(tuple),
)
def test_every_iteration_raises_the_likelihood_and_keeps_the_mask(
    kind: str, shape: str, seed: int, lengths: tuple[int, ...]
) -> None:
    allowed: dict[str, Any] = {"mask": ("110", "011", "101")} if shape == "mask" else {"transitions": shape}
    model = HMM(HMMConfig(states=3, covariance_prior=0.0, minimum_variance=1e-3, **KINDS[kind], **allowed))
    sequences = some_sequences(kind, (*lengths, 12), seed)
    fitting = model.fit(passes(sequences), Noise(seed), {})
    before = -np.inf
    for _ in range(5):
        now = next(fitting)["log_likelihood"]
        assert now >= before - 1e-9 * abs(now)
        before = now
        torch.testing.assert_close(model.transition.sum(1), torch.ones(3).double())
        assert float(model.start.sum()) == pytest.approx(1)
        for row, column in itertools.product(range(3), range(3)):
            forbidden = {
                "full": False,
                "left-to-right": column not in (row, row + 1),
                "mask": (row, column) in ((0, 2), (1, 0), (2, 1)),
            }[shape]
            assert not forbidden or model.transition[row, column] == 0


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_sequences_of_unequal_length_count_as_each_does_alone(kind: str) -> None:
    model = HMM(HMMConfig(states=3, **KINDS[kind]))
    sequences = some_sequences(kind)
    steps(model, sequences, 2)
    together = model.log_prob(batch(sequences))
    alone = torch.cat([model.log_prob(batch([one])) for one in sequences])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["categorical", "full"])
def test_parts_of_the_data_add_up_to_the_same_step(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = (HMM(HMMConfig(states=3, **KINDS[kind])) for _ in range(2))
    expected = steps(whole, some_sequences(kind), 4)
    monkeypatch.setattr(HMM, "_most_frames", lambda self: 31)
    monkeypatch.setattr(seen_passes, "_MOST_BYTES", 1000)  # nothing is kept from pass to pass
    np.testing.assert_allclose(steps(parts, some_sequences(kind), 4), expected, rtol=1e-12)
    torch.testing.assert_close(parts.transition, whole.transition, rtol=1e-9, atol=1e-12)


def test_the_order_of_sequences_does_not_matter() -> None:
    model, other = (HMM(HMMConfig(states=2, **KINDS["diagonal"])) for _ in range(2))
    sequences = some_sequences("diagonal")
    steps(model, sequences, 1)
    other.assign(dict(model.named_parameters()))
    np.testing.assert_allclose(steps(model, sequences, 3), steps(other, sequences[::-1], 3), rtol=1e-12)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fit_goes_on_to_the_same_bits(kind: str) -> None:
    sequences = passes(some_sequences(kind))
    straight, broken, again = (HMM(HMMConfig(states=3, **KINDS[kind])) for _ in range(3))
    fitting = straight.fit(sequences, Noise(4), {})
    for _ in range(5):
        next(fitting)
    state: dict[str, torch.Tensor] = {}
    fitting = broken.fit(sequences, Noise(4), state)
    for _ in range(2):
        next(fitting)
    again.load_state_dict({name: value.clone() for name, value in broken.state_dict().items()})
    fitting = again.fit(sequences, Noise(4), {name: value.clone() for name, value in state.items()})
    for _ in range(3):
        next(fitting)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("settings", [{}, {"restarts": 2, "restart_steps": 2}], ids=str)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_two_processes_fit_what_one_does(kind: str, settings: dict[str, Any]) -> None:
    """Five sequences in batches of three: shares of one and two, and of one and one."""
    sequences = [torch.as_tensor(one) for one in some_sequences(kind)]

    class Shared(SequencePasses):
        def __init__(self, team: Team) -> None:
            super().__init__(sequences)
            self.team = team

        def batches(self, size: int) -> Any:
            for first in (0, 3):
                part = self.team.share(len(sequences[first : first + 3]))
                yield batch_of(sequences[first : first + 3][part])

        def total(self, value: torch.Tensor) -> torch.Tensor:
            return self.team.total(value)

    def work(team: Team) -> tuple[HMM, list[Any]]:
        model = HMM(HMMConfig(states=3, **KINDS[kind], **settings))
        fitting = model.fit(Shared(team), Noise(0), {})
        return model, [dict(next(fitting)) for _ in range(4)]

    (first, said), (second, other) = together(work)
    assert other == said
    alone, wanted = work(ALONE)
    np.testing.assert_allclose(
        [step["log_likelihood"] for step in said], [step["log_likelihood"] for step in wanted], rtol=1e-9
    )
    for name, value in alone.state_dict().items():
        assert torch.equal(first.state_dict()[name], second.state_dict()[name]), name
        torch.testing.assert_close(first.state_dict()[name], value, rtol=1e-7, atol=1e-9)


def test_a_share_without_sequences_takes_part() -> None:
    class Nothing(SequencePasses):
        def batches(self, size: int) -> Any:
            return iter(())

        def total(self, value: torch.Tensor) -> torch.Tensor:
            assert not value.any()
            return value + summed

    sequences = some_sequences("mixture")
    tensors = [torch.as_tensor(each) for each in sequences]
    one, idle = (HMM(HMMConfig(states=3, **KINDS["mixture"])) for _ in range(2))
    steps(one, sequences, 1)
    idle.assign(dict(one.named_parameters()))
    summed = torch.zeros(())

    class Listening(SequencePasses):
        def total(self, value: torch.Tensor) -> torch.Tensor:
            nonlocal summed
            summed = value.clone()
            return value

    next(one.fit(Listening(tensors), Noise(0), {}))
    next(idle.fit(Nothing(tensors), Noise(0), {}))
    torch.testing.assert_close(idle.transition, one.transition, rtol=0, atol=0)


def test_the_best_of_several_starts_goes_on() -> None:
    sequences = some_sequences("diagonal", (80, 80))
    several = HMM(HMMConfig(states=6, columns=2, restarts=6, restart_steps=3))
    once = HMM(HMMConfig(states=6, columns=2))
    assert steps(several, sequences, 1)[0] > steps(once, sequences, 4)[-1] + 0.1


@pytest.mark.parametrize("kind", [name for name, config in KINDS.items() if "emissions" not in config])
def test_means_alone_begin_with_the_covariance_of_all_frames(kind: str) -> None:
    sequences = [one * 1e-6 + 5 for one in some_sequences(kind, (60, 40))]
    alone, again = (HMM(HMMConfig(states=3, **KINDS[kind])) for _ in range(2))
    means = torch.tensor(np.concatenate(sequences)[:12:2]).view(3, -1, 2)[:, : alone.config.mixtures].clone()
    alone.assign({"emissions.means": means})
    overall = torch.tensor(np.cov(np.concatenate(sequences).T, bias=True))
    shape = again.emissions.covariances.shape
    paired = again.config.covariance in ("full", "tied")
    diagonal = overall.diagonal() if again.config.covariance == "diagonal" else overall.diagonal().mean()
    covariances = (overall if paired else diagonal).expand(shape)
    again.assign({"emissions.means": means, "emissions.covariances": covariances})
    np.testing.assert_allclose(steps(alone, sequences, 4), steps(again, sequences, 4), rtol=1e-4)


def test_what_made_the_data_is_found_again() -> None:
    truth = HMM(HMMConfig(states=2, columns=1))
    truth.assign(
        {
            "start": torch.tensor([0.5, 0.5]),
            "transition": torch.tensor([[0.95, 0.05], [0.10, 0.90]]),
            "emissions.means": torch.tensor([[[0.0]], [[4.0]]]),
        }
    )
    *_, (_, frames) = truth.draw(40, Noise(1), 300)
    model = HMM(HMMConfig(states=2, columns=1))
    steps(model, list(frames.numpy()), 15)
    order = model.emissions.means[:, 0, 0].argsort()
    np.testing.assert_allclose(model.emissions.means[order, 0, 0], [0, 4], atol=0.1)
    np.testing.assert_allclose(model.transition[order][:, order], truth.transition, atol=0.02)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_hundred_thousand_frames_are_no_trouble(precision: str) -> None:
    """Two states that hardly overlap: the likelihood is that of the known path, to what the rest can add."""
    random = np.random.default_rng(0)
    states = torch.tensor(random.integers(0, 2, 100_000))
    noise = random.normal(size=100_000)
    frames = torch.tensor(noise)[:, None] + torch.tensor([-20.0, 20.0]).double()[states][:, None]
    model = HMM(HMMConfig(states=2, columns=1, precision=precision))
    model.assign(
        {
            "transition": torch.tensor([[0.9, 0.1], [0.2, 0.8]]),
            "emissions.means": torch.tensor([[[-20.0]], [[20.0]]]),
            "emissions.covariances": torch.ones(2, 1, 1),
        }
    )
    emitted = -0.5 * (noise**2 + np.log(2 * np.pi)).sum()
    moves = float(model.transition.double()[states[:-1], states[1:]].log().sum())
    expected = pytest.approx(emitted + moves + np.log(0.5), rel=1e-10 if precision == "float64" else 1e-4)
    assert float(model.log_prob(batch([frames]))) == expected
    assert steps(model, [frames], 1)[0] == expected


def test_a_hundred_thousand_frames_from_left_to_right_are_no_trouble() -> None:
    """Four states of 25,000 frames each, told apart by every frame: the moves are found where they are."""
    means = torch.arange(4.0)[:, None, None] * 40
    model = HMM(HMMConfig(states=4, columns=1, transitions="left-to-right"))
    model.assign({"emissions.means": means, "emissions.covariances": torch.ones(4, 1, 1)})
    frames = means[:, 0].repeat_interleave(25_000, 0).double()
    expected = -0.5 * 100_000 * np.log(2 * np.pi) + 75_000 * np.log(0.5)
    assert steps(model, [frames], 1)[0] == pytest.approx(expected, rel=1e-10)
    torch.testing.assert_close(model.transition.diagonal()[:3], torch.full((3,), 1 - 1 / 25_000).double())


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_log_space_and_viterbi_are_stable_over_many_frames(count: int) -> None:
    """Two states told apart by every frame, where the path is known, and with it what all others can add: nothing."""
    random = np.random.default_rng(0)
    states = torch.tensor(random.integers(0, 2, count))
    frames = torch.tensor([-20.0, 20.0]).double()[states][:, None]
    model = HMM(HMMConfig(states=2, columns=1))
    model.assign(
        {
            "transition": torch.tensor([[0.9, 0.1], [0.2, 0.8]]),
            "emissions.means": torch.tensor([[[-20.0]], [[20.0]]]),
        }
    )
    moves = float(model.transition.log()[states[:-1], states[1:]].sum())
    expected = moves + np.log(0.5) - count * 0.5 * np.log(2 * np.pi)
    [packed] = packs(batch([frames]), count)
    density = model.emissions.log_density(model.emissions.see(packed, model.emissions.shift()))
    by_time = packed.steps
    parts, posterior, transitions = logarithmic(model.start, model.transition, density, by_time)
    assert float(parts.sum()) == pytest.approx(expected, rel=1e-10)
    torch.testing.assert_close(posterior.sum(1), torch.ones(count).double(), rtol=1e-8, atol=0)
    assert float(transitions.sum()) == pytest.approx(count - 1, rel=1e-8)
    path, value = model.viterbi(batch([frames]))
    assert torch.equal(path[0], states)
    assert float(value) == pytest.approx(expected, rel=1e-10)


def test_evidence_beyond_the_smallest_number_is_not_lost() -> None:
    """Two chains that never meet. 200 frames speak for the first by 8 nats each, 300 for the second by as much."""
    model = HMM(HMMConfig(states=2, columns=1, mask=("10", "01")))
    means = torch.tensor([[[2.0]], [[-2.0]]])
    model.assign({"emissions.means": means, "emissions.covariances": torch.ones(2, 1, 1)})
    frames = torch.cat((torch.full((200, 1), 2.0), torch.full((300, 1), -2.0))).double()
    both = {"values": frames[None], "lengths": torch.tensor([500])}
    expected = np.log(0.5) - 500 * 0.5 * np.log(2 * np.pi) - 200 * 8.0
    assert float(model.log_prob(both)) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(model.posterior(both)[0], [[0.0, 1.0]] * 500, atol=1e-12)
    with pytest.warns(ZooWarning, match="1 of 2 states have no frames left"):
        assert steps(model, [frames.numpy()], 1)[0] == pytest.approx(expected, rel=1e-12)


def test_a_frame_far_from_the_only_state_allowed_is_scored() -> None:
    model = HMM(HMMConfig(states=2, columns=1, transitions="left-to-right"))
    model.assign({"emissions.means": torch.tensor([[[0.0]], [[100.0]]])})
    found = model.log_prob(batch([[[100.0]]]))
    assert float(found) == pytest.approx(-5000 - 0.5 * np.log(2 * np.pi))


def test_one_frame_a_sequence_leaves_the_transitions_as_they_were() -> None:
    model = HMM(HMMConfig(states=2, columns=1))
    steps(model, [[[0.0]], [[1.0]], [[5.0]]], 1)
    before = model.transition.clone()
    steps(model, [[[0.0]], [[1.0]], [[5.0]]], 3)
    assert torch.equal(model.transition, before)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("kind", [name for name, config in KINDS.items() if "emissions" not in config])
def test_a_constant_column_is_fitted(kind: str, precision: str) -> None:
    model = HMM(HMMConfig(states=2, covariance_prior=0.0, precision=precision, **KINDS[kind]))
    sequences = [np.stack((one[:, 0], np.full(len(one), 7.0)), 1) for one in some_sequences(kind)]
    assert np.isfinite(steps(model, sequences, 6)).all()
    model.check()
    torch.testing.assert_close(
        model.emissions.means[..., 1], torch.full_like(model.emissions.means[..., 1], 7.0)
    )


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["full", "tied", "mixture full", "mixture tied"])
def test_columns_that_follow_from_one_another_are_fitted(kind: str, precision: str) -> None:
    """The second column is 1000 times the first: no digits of float32 are left for what is between them."""
    model = HMM(HMMConfig(states=2, covariance_prior=0.0, precision=precision, **KINDS[kind]))
    sequences = [np.stack((one[:, 0], 1000 * one[:, 0]), 1) for one in some_sequences(kind)]
    assert np.isfinite(steps(model, sequences, 6)).all()
    model.check()


def test_frames_that_are_all_alike_are_fitted() -> None:
    model = HMM(HMMConfig(states=3, columns=1))
    assert np.isfinite(steps(model, [np.full((9, 1), 2.0)], 5)).all()
    counts = HMM(HMMConfig(states=3, emissions="poisson", columns=1))
    assert steps(counts, [np.zeros((9, 1))], 5)[-1] == pytest.approx(0)  # no count but 0 is ever seen


def test_fewer_frames_than_states_are_fitted() -> None:
    model = HMM(HMMConfig(states=6, columns=1))
    with pytest.warns(ZooWarning, match="of 6 states have no frames left") as caught:
        assert np.isfinite(steps(model, [[[0.0], [1.0]]], 60)).all()
    assert len(caught) <= 2
    assert "4 of 6 states" in str(caught[-1].message)
    assert "config.states=2 does without them" in str(caught[-1].message)


@pytest.mark.parametrize(
    ("kind", "values", "lengths", "said"),
    [
        ("diagonal", [[[0.0, 1.0], [np.nan, 0.0]]], [2], r"sequence 0, frame 1 is nan, but every value"),
        ("diagonal", [[[0.0, 1.0], [np.inf, 0.0]]], [2], r"sequence 0, frame 1 is inf, but every value"),
        ("diagonal", [[[0.0], [1.0]]], [2], r"a frame has 1 columns, but the model has 2"),
        ("diagonal", [[[0.0, 1.0]], [[0.0, 1.0]]], [1, 0], r"sequence 1 has length 0, but must have 1 to 1"),
        ("diagonal", [[[0.0, 1.0]]], [2], r"sequence 0 has length 2"),
        (
            "categorical",
            [[0, 1, 0], [2, 3, 0]],
            [2, 2],
            r"sequence 1, frame 1 is 3, but the symbols are 0 to 2",
        ),
        ("categorical", [[0, -1]], [2], r"sequence 0, frame 1 is -1, but the symbols"),
        ("categorical", [[0.0, 0.5]], [2], r"frame 1 is 0.5, but symbols are whole numbers"),
        ("poisson", [[[1, 2], [3, -1]]], [2], r"frame 1 is -1, but counts are whole numbers"),
        ("poisson", [[[1, 2.5]]], [1], r"frame 0 is 2.5, but counts are whole numbers"),
    ],
)
def test_sequences_that_cannot_be_are_refused(kind: str, values: Any, lengths: list[int], said: str) -> None:
    model = HMM(HMMConfig(states=2, **KINDS[kind]))
    wrong = {"values": torch.tensor(values), "lengths": torch.tensor(lengths)}
    with pytest.raises(DataError, match=said):
        model.log_prob(wrong)


def test_no_sequences_are_refused() -> None:
    with pytest.raises(DataError, match="no sequences"):
        next(HMM(HMMConfig()).fit(passes([]), Noise(0), {}))


def test_padding_may_be_anything() -> None:
    model = HMM(HMMConfig(states=2, **KINDS["categorical"]))
    padded = {"values": torch.tensor([[1, 99], [1, 2]]), "lengths": torch.tensor([1, 2])}
    alone = model.log_prob(batch([[1]]))
    assert float(model.log_prob(padded)[0]) == pytest.approx(float(alone))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"start": [0.5, 0.6]}, "start has a row that is no distribution"),
        ({"start": [1.5, -0.5]}, "start has a row that is no distribution"),
        ({"transition": [[0.5, 0.5], [0.5, float("nan")]]}, "transition has a row"),
        ({"transition": [[0.5, 0.5], [0.5, 0.5]]}, "transition from state 1 to 0 is above 0, but the mask"),
        ({"emissions.covariances": [[[[1.0, 2.0], [2.0, 1.0]]]] * 2}, "not positive definite"),
        ({"emissions.means": [[0.0, 1.0]]}, r"has shape \(1, 2\), but must have \(2, 1, 2\)"),
        ({"begin": [1.0]}, "there is no parameter 'begin'"),
    ],
)
def test_parameters_that_are_no_model_are_refused_and_change_nothing(
    tensors: dict[str, Any], said: str
) -> None:
    model = HMM(HMMConfig(states=2, columns=2, covariance="full", transitions="left-to-right"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UsageError, match=said):
        model.assign({name: torch.tensor(value) for name, value in tensors.items()})
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_sequence_that_cannot_be_emitted_scores_minus_infinity_and_stops_a_fit() -> None:
    model = HMM(HMMConfig(states=2, **KINDS["categorical"]))
    model.assign({"emissions.probabilities": torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]])})
    assert float(model.log_prob(batch([[0, 2, 1]]))) == -np.inf
    with pytest.raises(DataError, match="probability 0"):
        steps(model, [[0, 2, 1]], 1)
    with pytest.raises(DataError, match="sequence 0 has probability 0"):
        model.predict_next(batch([[0, 2]]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"states": 2, "mask": ("11",)}, "mask has 1 rows"),
        ({"states": 2, "mask": ("11", "00")}, "row 1 is '00'"),
        ({"states": 2, "mask": ("11", "12")}, "row 1 is '12'"),
        ({"states": 2, "mask": ("11", "11"), "transitions": "left-to-right"}, "exclude each other"),
        ({"emissions": "poisson", "mixtures": 2}, "must be 1 for poisson"),
        ({"emissions": "categorical", "columns": 2}, "must be 1 for categorical"),
    ],
)
def test_configs_that_say_nothing_that_can_be_built_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        HMMConfig(**settings)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_saved_model_is_the_same_when_loaded(kind: str, tmp_path: Path) -> None:
    config = HMMConfig(states=3, **KINDS[kind])
    model, sequences = HMM(config), some_sequences(kind)
    steps(model, sequences, 2)
    save(model, tmp_path / "model.safetensors", family="hmm", config=config)
    again = load(build, config, [tmp_path / "model.safetensors"])
    assert torch.equal(again.log_prob(batch(sequences)), model.log_prob(batch(sequences)))
    assert steps(again, sequences, 1) == steps(model, sequences, 1)  # goes on from where it stands
