"""The data's own place and size, which priors and regularisation are relative to."""

from __future__ import annotations

import torch

from zoo_classic.small_steps import unshared

_ROUNDING = 4  # units in the last place of a column's values, which is no variation


def measured(x: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the columns of x (N, D), float64, whose rows weigh so much, (N,); each (D,).

    A column that does not vary but by rounding has no size of its own: its deviation is 1.
    """
    with unshared(x, 0):  # each number of threads would round in its own way
        total = weights.sum()
        mean = weights @ x / total
        mean = mean + weights @ (x - mean) / total  # to the last digit, far from zero too
        deviation = (weights @ (x - mean).square() / total).sqrt()
    least = _ROUNDING * torch.finfo(x.dtype).eps * mean.abs()
    return mean, torch.where(deviation > least, deviation, 1.0)
