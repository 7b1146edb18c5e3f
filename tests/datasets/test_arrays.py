"""Rows from arrays depend on the seed and their number alone; arrays larger than memory; the held-out loss."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from zoo.datasets import arrays
from zoo.datasets.arrays import ArrayRows, Pile, Selection, held_out_loss
from zoo.errors import DiskSpaceError

TEN = np.arange(100, 110, dtype=np.int64)


def select(*columns, chosen=None, prepare=torch.from_numpy):
    return Selection(columns, np.arange(len(columns[0])) if chosen is None else np.array(chosen), prepare)


def drawn(first, count, seed=3, **changes):
    return ArrayRows(select(TEN, **changes), "numbers", 1, seed).rows(first, count).tolist()


def test_an_epoch_goes_through_every_chosen_row_once():
    for first in (0, 4, 8):
        assert sorted(drawn(first, 4, chosen=[1, 3, 5, 9])) == [101, 103, 105, 109]


def test_each_epoch_has_an_order_of_its_own_and_each_seed():
    orders = {tuple(drawn(first, 10)) for first in (0, 10, 20)} | {tuple(drawn(0, 10, seed=4))}
    assert len(orders) == 4


def test_rows_depend_on_their_number_alone_also_across_epochs():
    whole = drawn(0, 45)
    assert whole == [drawn(row, 1)[0] for row in range(45)]
    assert whole[7:38] == drawn(7, 31)
    assert drawn(12, 0) == []


def test_arrays_stay_side_by_side():
    rows = ArrayRows(select(TEN, -TEN, prepare=lambda a, b: (a, b)), "pairs", 1, 0)
    first, second = rows.rows(3, 12)
    assert (first == -second).all()


def fingerprint(*columns, chosen=None):
    return ArrayRows(select(*columns, chosen=chosen), "numbers", 1, seed=0).fingerprint


def test_the_fingerprint_tells_content_from_content_and_no_more(monkeypatch, tmp_path):
    grid = np.arange(12, dtype=np.float32).reshape(6, 2)
    grid.tofile(tmp_path / "grid")
    mapped = np.memmap(tmp_path / "grid", np.float32, "r", shape=(6, 2))
    same = {
        fingerprint(grid),
        fingerprint(mapped),
        fingerprint(grid.astype(">f4")),
        fingerprint(grid[:, ::1]),
    }
    monkeypatch.setattr(arrays, "_HASHED_AT_ONCE", 20)  # less than three rows
    same.add(fingerprint(grid))
    assert len(same) == 1
    others = [
        fingerprint(grid, chosen=[0, 1, 2, 3, 4]),
        fingerprint(grid.reshape(3, 4)),
        fingerprint(grid.view(np.int32)),
        fingerprint(grid, grid),
        fingerprint(np.where(grid == 7, 8, grid)),
    ]
    assert len({*same, *others}) == 6


@pytest.mark.parametrize("in_memory", [10**6, 50, 0])
def test_a_pile_is_the_same_array_in_memory_and_in_a_file(tmp_path, monkeypatch, in_memory):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    pile = Pile((2, 3), np.uint8, in_memory=in_memory)
    buffer = np.zeros((3, 2, 3), np.uint8)
    for number in range(5):
        buffer[:] = number  # the pile must not keep a view of it
        pile.add(buffer)
    pile.add(np.full((2, 3), 9, np.uint8))
    found = pile.array()
    assert isinstance(found, np.memmap) == (in_memory < 96)
    assert found.shape == (16, 2, 3)
    assert found[:, 1, 2].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 9]
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_an_empty_pile_is_an_empty_array():
    assert Pile((4,), np.float32).array().shape == (0, 4)


def test_a_pile_that_the_disk_has_no_room_for_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    with pytest.raises(DiskSpaceError, match="has no room for 40 bytes"):
        Pile((), np.float32, in_memory=8).add(np.zeros(10))


class Centre(nn.Module):
    """Squared distance from a point, and noise that a test can foresee."""

    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.tensor(2.0))
        self.seen = []

    def loss(self, batch, turn, noise):
        assert not self.training
        self.seen.append((turn, len(batch), noise.start, noise.seed))
        return ((batch - self.at) ** 2).mean()


def test_the_held_out_loss_is_the_mean_over_rows_whatever_the_parts(monkeypatch):
    held_out = select(np.arange(7, dtype=np.float32)[:, None])
    network = Centre().train()
    assert held_out_loss(network, held_out, seed=5) == {
        "held_out_loss": pytest.approx(5.0)
    }  # (4+1+0+1+4+9+16)/7
    monkeypatch.setattr(arrays, "_VALUES_A_PART", 3)
    assert held_out_loss(network, held_out, seed=5) == {"held_out_loss": pytest.approx(5.0)}
    assert network.seen == [("main", 7, 0, 5), ("main", 3, 0, 5), ("main", 3, 3, 5), ("main", 1, 6, 5)]
    assert network.training
    assert network.at.grad is None


def test_nothing_held_out_measures_nothing():
    assert held_out_loss(Centre(), select(np.zeros((0, 2), np.float32)), seed=0) == {}


class Penalised(nn.Module):
    """A critic whose loss is the norm of its own gradient, as in WGAN-GP, and a generator that needs none."""

    turns: ClassVar = ("critic", "generator")

    def __init__(self):
        super().__init__()
        self.weight = nn.Linear(3, 1, bias=False)

    def loss(self, batch, turn, noise):
        if turn == "generator":
            return batch["x"].mean()
        points = batch["x"].requires_grad_(True)
        [gradient] = torch.autograd.grad(self.weight(points).sum(), points, create_graph=True)
        return {"penalty": torch.tensor(9.0), "loss": gradient.norm(dim=1).mean()}


@pytest.mark.parametrize("around", [torch.inference_mode, torch.no_grad])
def test_each_turn_is_measured_also_one_that_needs_a_gradient(around):
    held_out = select(np.ones((5, 3), np.float32), prepare=lambda x: {"x": torch.from_numpy(x)})
    network = Penalised()
    with around():
        found = held_out_loss(network, held_out, seed=0)
    assert list(found) == ["held_out_critic", "held_out_generator"]
    assert found["held_out_critic"] == pytest.approx(float(network.weight.weight.detach().norm()))
    assert found["held_out_generator"] == 1.0
