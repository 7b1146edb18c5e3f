"""The rows that the seed holds out."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.datasets.split import split_rows
from zoo.errors import DataError


@pytest.mark.parametrize(("count", "share", "held"), [(40, 0.1, 4), (3, 0.05, 1), (10, 0.9, 9), (7, 0.0, 0)])
def test_every_row_is_on_one_side_in_order(count, share, held):
    train, held_out = split_rows(count, share, seed=1)
    assert len(held_out) == held
    assert (np.diff(train) > 0).all()
    assert (np.diff(held_out) > 0).all()
    assert sorted([*train, *held_out]) == list(range(count))


def test_the_seed_alone_decides():
    drawn = [split_rows(1000, 0.05, seed)[1].tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(("count", "share"), [(1, 0.05), (0, 0.0)])
def test_something_must_be_left_to_train_on(count, share):
    with pytest.raises(DataError, match="nothing is left to train on"):
        split_rows(count, share, seed=0)
