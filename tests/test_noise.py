"""Noise: sample i depends on the seed and on i alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.errors import UsageError
from zoo.noise import Noise


def test_a_sample_has_the_same_noise_whatever_is_drawn_beside_it() -> None:
    eight = Noise(7).rows(8, "x").normal(5)
    three = Noise(7, start=2).rows(3, "x").normal(5)
    assert torch.equal(eight[2:5], three)


def test_dropping_rows_leaves_the_others_draws_as_they_were() -> None:
    whole, some = Noise(7).rows(4, "x"), Noise(7).rows(4, "x")
    whole.uniform(3)
    some.uniform(3)
    assert torch.equal(whole.uniform(3)[[1, 3]], some.keep([1, 3]).uniform(3))


def test_seeds_indices_and_streams_are_all_told_apart() -> None:
    draws = [
        Noise(seed, start).rows(1, stream).uniform(4)
        for seed in (0, 1, 2**32, 2**32 + 1)
        for start in (0, 1)
        for stream in ("x", "y")
    ]
    assert len({tuple(draw[0].tolist()) for draw in draws}) == len(draws)


def test_the_noise_of_seed_0_is_the_same_on_every_machine() -> None:
    draw = Noise(0).rows(1, "tokens").uniform(3)[0].tolist()
    assert draw == [0.6775568121454004, 0.16964992347402563, 0.09552592183520248]


def test_gumbel_noise_has_the_gumbel_distribution() -> None:
    draws = np.sort(Noise(1).rows(1, "g").gumbel(20_000)[0].numpy())
    distribution = np.exp(-np.exp(-draws))
    steps = np.arange(1, len(draws) + 1) / len(draws)
    assert np.abs(distribution - steps).max() < 1.63 / np.sqrt(len(draws))  # Kolmogorov-Smirnov at 1%


@pytest.mark.parametrize(("seed", "start"), [(-1, 0), (2**63, 0), (0, -1)])
def test_a_seed_or_start_out_of_range_is_refused(seed: int, start: int) -> None:
    with pytest.raises(UsageError, match="must be at least 0"):
        Noise(seed, start)


@pytest.mark.parametrize(("start", "count"), [(0, 8), (2, 3), (3, 1), (4, 4), (7, 10), (5, 0)])
def test_blocks_have_every_row_once_with_the_same_generator(start: int, count: int) -> None:
    def drawn(first: int, rows: int) -> list[float]:
        found = [g.random(4)[wanted] for g, wanted in Noise(7, first).blocks(rows, 4, "x")]
        return [float(value) for part in found for value in part]

    assert drawn(start, count) == drawn(0, 20)[start : start + count]
    assert len(set(drawn(0, 20))) == 20
