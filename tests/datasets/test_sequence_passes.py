"""Sequences as a fit goes through them: each once, like lengths together, shared out, and drawn."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.datasets.passes import ALONE, Team
from zoo.datasets.sequence_passes import SequencePasses
from zoo.datasets.table_columns import Columns, unscaled
from zoo.modality.sequence_format import Format
from zoo.nn import padding
from zoo.nn.padding import groups
from zoo.noise import Noise
from zoo_classic import sequences as in_memory
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=40)
SYMBOLS = Format(("a", "b", "c"), unscaled(("symbol",)))


def numbered(lengths, team=ALONE, **options) -> SequencePasses:
    """Sequence i has i + 1 as all of its frames."""
    counts = np.array(lengths)
    values = np.repeat(np.arange(1.0, len(counts) + 1), counts)[:, None]
    form = Format(None, unscaled(("x",)))
    starts = counts.cumsum() - counts
    return SequencePasses(values, starts, counts, form, torch.float64, team=team, **options)


def members(batch) -> list[int]:
    """The sequences of a batch, whose frames and padding must be right."""
    values, lengths = batch["values"], batch["lengths"]
    assert values.shape == (len(lengths), int(lengths.max()), 1)
    for row, length in zip(values, lengths.tolist(), strict=True):
        assert (row[:length] == row[0]).all()
        assert (row[length:] == 0).all()
    return (values[:, 0, 0].long() - 1).tolist()


@given(LENGTHS, st.integers(1, 50), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_every_sequence_comes_once_in_one_processs_share_of_a_batch_that_all_agree_on(lengths, size, count):
    shares = [
        [members(batch) for batch in numbered(lengths, Team(index=index, count=count)).batches(size)]
        for index in range(count)
    ]
    together = [number for share in shares for batch in share for number in batch]
    assert sorted(together) == list(range(len(lengths)))
    alone = [members(batch) for batch in numbered(lengths).batches(max(size, count))]
    most = max(map(len, shares))
    assert all(len(share) >= most - 1 for share in shares)  # only the last batch may be missing
    joined = [
        [number for share in shares for number in (share[at] if at < len(share) else [])]
        for at in range(most)
    ]
    assert joined == alone


@given(LENGTHS, st.integers(1, 50))
@settings(max_examples=100, deadline=None)
def test_sequences_of_like_length_are_together_the_longest_first_and_always_in_one_order(lengths, size):
    passes = numbered(lengths)
    first = [members(batch) for batch in passes.batches(size)]
    assert first == [members(batch) for batch in passes.batches(size)]
    flat = [number for batch in first for number in batch]
    assert flat == sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    assert all(len(batch) == size for batch in first[:-1])


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=60), st.integers(1, 3), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_a_processs_part_of_a_batch_is_padded_to_no_more_than_fits(lengths, columns, count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(padding, "MOST_PADDED", 5000)
        found = list(groups(np.array(lengths), 1000, columns, count))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(lengths)))
    for at, group in enumerate(found):
        part = -(-len(group) // count)
        padded = part * max(lengths[number] for number in group) * columns
        assert padded <= 5000 or part == 1
        assert len(group) >= count or at == len(found) - 1


def test_some_are_drawn_without_replacement_and_are_the_same_in_every_process():
    lengths = [3, 1, 4, 1, 5, 9, 2, 6]
    drawn = members(numbered(lengths).some(5, Noise(3)))
    assert len(set(drawn)) == 5
    assert drawn == members(numbered(lengths, Team(index=1, count=2)).some(5, Noise(3)))
    assert drawn != members(numbered(lengths).some(5, Noise(4)))
    assert sorted(members(numbered(lengths).some(100, Noise(3)))) == list(range(8))


def test_no_more_are_drawn_than_fit_side_by_side_but_always_one(monkeypatch):
    monkeypatch.setattr("zoo.datasets.sequence_passes.MOST_PADDED", 20)
    assert len(members(numbered([5] * 10).some(8, Noise(0)))) == 4
    assert len(members(numbered([50] * 10).some(8, Noise(0)))) == 1


def test_each_sequence_is_as_likely_to_be_drawn_as_another():
    passes = numbered([2] * 6)
    counts = np.bincount([number for seed in range(600) for number in members(passes.some(2, Noise(seed)))])
    assert counts.tolist() == pytest.approx([200] * 6, abs=5 * np.sqrt(200 * 4 / 6))


def test_the_fingerprint_is_of_values_lengths_and_their_order():
    base = numbered([2, 3, 2]).fingerprint
    assert len(base) == 64
    assert numbered([2, 3, 2], Team(index=1, count=3)).fingerprint == base
    assert len({base, numbered([3, 2, 2]).fingerprint, numbered([2, 3, 3]).fingerprint}) == 3
    values, starts, lengths = np.array([0, 1, 1, 2]), np.array([0, 2]), np.array([2, 2])

    def of(values, numbers=None, form=SYMBOLS, dtype=torch.int64):
        return SequencePasses(values, starts, lengths, form, dtype, numbers=numbers).fingerprint

    assert of(values) == of(values.astype(np.int32)) == of(2 - values, np.array([2, 1, 0]))
    assert of(values) != of(values[::-1])
    scaled = Format(None, Columns(("x",), np.array([1.0]), np.array([2.0])))
    numbers = np.array([[1.0], [2.0], [3.0], [4.0]])
    assert of(numbers, form=scaled, dtype=torch.float64) != of(
        numbers, form=Format(None, unscaled(("x",))), dtype=torch.float64
    )
    assert of(numbers, form=scaled, dtype=torch.float64) != of(numbers, form=scaled, dtype=torch.float32)


def test_numbers_are_scaled_and_symbols_get_the_networks_numbers():
    form = Format(None, Columns(("x", "y"), np.array([1.0, 0.0]), np.array([2.0, 0.5])))
    one = np.array([0]), np.array([2])
    [batch] = SequencePasses(np.array([[3.0, 1.0], [1.0, 2.0]]), *one, form, torch.float32).batches(9)
    assert batch["values"].dtype == torch.float32
    assert batch["values"].tolist() == [[[1.0, 2.0], [0.0, 4.0]]]
    symbols = SequencePasses(np.array([0, 1], np.int32), *one, SYMBOLS, torch.int64, numbers=np.array([2, 0]))
    [batch] = symbols.batches(9)
    assert (batch["values"].dtype, batch["values"].tolist()) == (torch.int64, [[2, 0]])
    assert (symbols.rows, symbols.unit) == (1, "sequences")


def text(count: int = 9) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 3, size=int(length)) for length in random.integers(1, 40, size=count)]


def passes_of(sequences, team=ALONE) -> SequencePasses:
    lengths = np.array([len(one) for one in sequences])
    values = np.concatenate(sequences).astype(np.int32)
    return SequencePasses(values, lengths.cumsum() - lengths, lengths, SYMBOLS, torch.int64, team=team)


def fitted(data, steps: int = 6) -> list[float]:
    model = HMM(HMMConfig(states=2, emissions="categorical", symbols=3))
    steps_of = model.fit(data, Noise(0), {})
    return [next(steps_of)["log_likelihood"] for _ in range(steps)]


def test_a_fit_goes_as_with_the_sequences_given_from_python():
    sequences = text()
    expected = fitted(in_memory.SequencePasses([torch.from_numpy(one) for one in sequences]))
    assert fitted(passes_of(sequences)) == pytest.approx(expected, rel=1e-12)


def test_several_processes_fit_as_one():
    sequences, count = text(), 3
    parts: list[torch.Tensor | None] = [None] * count
    meeting = threading.Barrier(count, timeout=60)
    results: list[list[float]] = [[]] * count

    def total(index: int, value: torch.Tensor) -> torch.Tensor:
        parts[index] = value
        meeting.wait()
        summed = sum(parts)
        meeting.wait()
        return summed

    def process(index: int) -> None:
        team = Team(index=index, count=count, total=lambda value: total(index, value))
        results[index] = fitted(passes_of(sequences, team))

    threads = [threading.Thread(target=process, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1] == results[2]
    assert results[0] == pytest.approx(fitted(passes_of(sequences)), rel=1e-12)
