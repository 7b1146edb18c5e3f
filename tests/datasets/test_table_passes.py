"""Rows as a fit goes through them: shares of processes, scaling, weights, rows drawn, and arrays in files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from zoo.datasets import passes
from zoo.datasets.passes import ALONE, RowPasses, Team
from zoo.noise import Noise

VALUES = np.arange(22, dtype=np.float64).reshape(11, 2)


def team(index: int, count: int) -> Team:
    return Team(index=index, count=count)


def mapped(path, values):
    np.save(path, values)
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 4, 11, 50])
@pytest.mark.parametrize("chosen", [None, np.array([0, 1, 4, 5, 7, 10])])
def test_processes_share_each_batch_and_together_see_every_row_once(count, size, chosen):
    wanted = VALUES if chosen is None else VALUES[chosen]
    shares = [list(RowPasses(VALUES, team(k, count), chosen=chosen).batches(size)) for k in range(count)]
    batches = max(map(len, shares))
    assert batches == -(-len(wanted) // size)
    for number in range(batches):
        parts = [share[number] for share in shares if number < len(share)]
        assert torch.cat(parts).tolist() == wanted[number * size : (number + 1) * size].tolist()
    assert all(len(share) >= batches - 1 for share in shares)  # only the last may be missing


def test_all_rows_in_memory_are_not_copied():
    [batch] = RowPasses(VALUES).batches(20)
    assert batch.data_ptr() == VALUES.ctypes.data


def test_rows_are_scaled_and_of_the_dtype_that_is_asked_for():
    mean, scale = np.array([1.0, -2.0]), np.array([4.0, 0.1])
    for values in (VALUES, VALUES.astype(np.uint8), VALUES.astype(">f4")):
        [batch] = RowPasses(values, mean=mean, scale=scale, dtype=torch.float32).batches(11)
        assert batch.dtype == torch.float32
        assert torch.equal(batch, torch.from_numpy((VALUES - mean) / scale).float())


def test_weights_go_with_their_rows():
    weights = np.linspace(0, 1, 11)
    chosen = np.array([1, 3, 8])
    for row, weight in RowPasses(VALUES, chosen=chosen, weights=weights, dtype=torch.float32).batches(2):
        assert weight.dtype == torch.float32
        assert torch.allclose(weight.double(), row[:, 0].double() / 2 / 10)


@pytest.mark.parametrize("size", [1, 3, 11])
def test_rows_of_a_file_are_those_of_memory(tmp_path, size):
    values = mapped(tmp_path / "a.npy", VALUES)
    found = torch.cat(list(RowPasses(values).batches(size)))
    assert found.tolist() == VALUES.tolist()
    found += 1  # what is given may be written to, and the file stays
    assert values.tolist() == VALUES.tolist()


@pytest.mark.parametrize(("rows", "count"), [(11, 3), (11, 8), (1000, 400), (1000, 900), (10**9, 500)])
def test_drawn_rows_are_different_and_the_same_in_all_processes(rows, count):
    drawn = passes._drawn(rows, count, Noise(3)) if rows > 10**6 else None
    if drawn is None:
        values = np.arange(rows, dtype=np.float64)[:, None]
        each = [RowPasses(values, team(k, 2)).some(count, Noise(3))[:, 0] for k in range(2)]
        assert torch.equal(*each)
        drawn = each[0].numpy()
    assert len(set(drawn.tolist())) == count
    assert 0 <= drawn.min() <= drawn.max() < rows


def test_every_row_is_drawn_as_often_as_another():
    times = np.zeros(12)
    for seed in range(3000):
        times[passes._drawn(12, 5, Noise(seed))] += 1
    assert stats.chisquare(times).pvalue > 1e-3


def test_drawn_rows_are_among_the_chosen_and_all_of_them_where_few_are_there():
    chosen = np.array([2, 3, 5, 7])
    rows = RowPasses(VALUES, chosen=chosen, weights=np.arange(11.0))
    some, weights = rows.some(2, Noise(0))
    assert set((some[:, 0] / 2).tolist()) < {2, 3, 5, 7}
    assert torch.equal(weights, some[:, 0] / 2)
    assert rows.some(9, Noise(0))[1].tolist() == [2, 3, 5, 7]


def test_the_fingerprint_is_of_content_weights_and_shape(tmp_path, monkeypatch):
    weights, chosen = np.ones(11), np.arange(5)
    same = {RowPasses(VALUES).fingerprint, RowPasses(mapped(tmp_path / "a.npy", VALUES)).fingerprint}
    same.add(RowPasses(np.asfortranarray(VALUES)).fingerprint)
    same.add(RowPasses(VALUES.astype(">f8")).fingerprint)
    same.add(RowPasses(VALUES, chosen=np.arange(11)).fingerprint)
    same.add(RowPasses(VALUES, team(1, 2)).fingerprint)
    monkeypatch.setattr(passes, "_HASHED_AT_ONCE", 40)  # less than three rows
    same.add(RowPasses(VALUES).fingerprint)
    assert len(same) == 1
    changed = VALUES.copy()
    changed[9, 1] = 0
    others = {
        RowPasses(VALUES, weights=weights).fingerprint,
        RowPasses(VALUES, weights=2 * weights).fingerprint,
        RowPasses(VALUES, chosen=chosen).fingerprint,
        RowPasses(VALUES.reshape(22, 1)).fingerprint,
        RowPasses(VALUES.astype(np.float32)).fingerprint,
        RowPasses(changed).fingerprint,
    }
    assert len(others | same) == 7


def test_a_device_with_room_keeps_its_share_from_the_first_pass_on(monkeypatch):
    monkeypatch.setattr(passes, "_room", lambda device: VALUES.nbytes)
    values = VALUES.copy()
    rows = RowPasses(values)
    first = list(rows.batches(4))
    assert all(kept is given for kept, given in zip(rows.batches(4), first, strict=True))
    next(rows.batches(5))  # another size takes its place, once it was gone through
    assert torch.cat(list(rows.batches(5))).tolist() == VALUES.tolist()
    assert list(rows._kept) == [5]
    batches = rows.batches(6)
    assert [len(next(batches)) for _ in range(2)] == [6, 5]  # nobody asks for a third
    assert list(rows._kept) == [6]
    lacking = RowPasses(values, team(0, 2))  # has no row of the last batch
    assert len(list(lacking.batches(10))) == len(list(lacking.batches(10))) == 1
    monkeypatch.setattr(passes, "_room", lambda device: VALUES.nbytes - 1)
    other = RowPasses(values)
    assert len(list(other.batches(4))) == 3
    assert not other._kept


def test_sums_are_those_of_the_team():
    rows = RowPasses(VALUES, Team(total=lambda value: 2 * value))
    assert (rows.rows, rows.unit) == (11, "rows")
    assert rows.total(torch.tensor(3.0)) == 6
    assert RowPasses(VALUES, ALONE).total(torch.tensor(3.0)) == 3
