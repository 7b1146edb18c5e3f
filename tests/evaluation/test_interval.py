"""Confidence intervals: the textbook's numbers, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zoo.evaluation.interval import Estimate, ratio, student


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(7, 2.3646), (10, 2.2281), (31, 2.0395), (100, 1.9840), (10**6, 1.9600)],
)
def test_students_quantiles_are_those_of_the_tables(freedom, quantile):
    assert student(freedom) == pytest.approx(quantile, abs=1e-4)


def test_over_blocks_of_one_size_it_is_the_interval_of_a_mean():
    values = np.array([2.0, 3, 5, 1, 4, 4, 2, 6])
    found = ratio(10 * values, np.full(8, 10))
    margin = 2.3646 * values.std(ddof=1) / math.sqrt(8)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - margin, values.mean() + margin), rel=1e-4
    )


def test_blocks_of_one_ratio_leave_no_doubt_whatever_their_sizes():
    sizes = np.array([1.0, 2, 3, 40, 5, 6, 7, 8])
    found = ratio(3 * sizes, sizes)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3, 3))


@pytest.mark.parametrize(
    "numerators", [np.ones(7), np.array([1.0] * 8 + [math.nan]), np.array([math.inf] * 9)]
)
def test_too_few_blocks_or_no_numbers_have_no_interval(numerators):
    found = ratio(numerators, np.ones(len(numerators)))
    assert (found.low, found.high) == (None, None)
    assert found.value == numerators.sum() / len(numerators) or math.isnan(found.value)


def test_an_increasing_function_takes_value_and_ends_along():
    assert Estimate(0.0, -1.0, 1.0).through(math.exp) == Estimate(1.0, math.exp(-1), math.e)
    assert Estimate(0.0).through(math.exp) == Estimate(1.0)


def held(series: np.ndarray, block: int) -> float:
    """In which share of the series (S, N) of mean 0 the interval over blocks of this length holds 0."""
    blocks = series.reshape(len(series), -1, block).sum(axis=2)
    found = [ratio(numerators, np.full(len(numerators), block)) for numerators in blocks]
    return float(np.mean([estimate.low < 0 < estimate.high for estimate in found]))


def test_of_dependent_losses_intervals_over_blocks_hold_the_truth_and_those_over_tokens_do_not():
    draws = np.random.default_rng(0).normal(size=(500, 4096 + 100))
    series = np.zeros_like(draws)
    for at in range(1, draws.shape[1]):
        series[:, at] = 0.9 * series[:, at - 1] + draws[:, at]
    series = series[:, 100:]
    assert 0.925 <= held(series, 256) <= 0.975
    assert held(series, 1) < 0.5
