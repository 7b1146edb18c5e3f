"""95% confidence intervals of ratios, such as nats a token, from blocks that count as independent.

The ratio estimator and its variance: Cochran, "Sampling Techniques", 1977, chapter 6; Student's quantile: Abramowitz
and Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5. No chance is involved, so nothing depends on a seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LEAST_BLOCKS = 8
"""With fewer, the spread between blocks says too little, and there is no interval."""

_MOST_RUNS, _RUN = 32, 1024  # of what is divided, and the length of a run where there is enough
_LEAST_RUN = 128

_Z = 1.959963984540054  # the normal distribution's quantile of 0.975


@dataclass(frozen=True)
class Estimate:
    """A measured value, and the ends of its 95% confidence interval: None where there was too little data for one."""

    value: float
    low: float | None = None
    high: float | None = None

    def through(self, increasing: Callable[[float], float]) -> Estimate:
        """The estimate of an increasing function of the value."""
        ends = (None if end is None else increasing(end) for end in (self.low, self.high))
        return Estimate(increasing(self.value), *ends)


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> Estimate:
    """sum(numerators) / sum(denominators), each (n,): of n independent blocks."""
    count, total = len(numerators), float(denominators.sum())
    value = float(numerators.sum()) / total
    if count < LEAST_BLOCKS or not math.isfinite(value):
        return Estimate(value)
    rest = numerators - value * denominators
    error = math.sqrt(count / (count - 1) * float(np.square(rest).sum())) / total
    margin = student(count - 1) * error
    return Estimate(value, value - margin, value + margin)


def runs(sizes: Sequence[int]) -> list[int]:
    """How many blocks each of some documents or sequences is to be, so that the blocks count as independent.

    Each is one where there are at least `LEAST_BLOCKS`; otherwise 8 to 32 runs are shared out by size, each of at
    least 1,024 of what `sizes` counts where there is so much, and of at least 128 in any case.
    """
    if len(sizes) >= LEAST_BLOCKS:
        return [1] * len(sizes)
    total = sum(sizes)
    wanted = min(_MOST_RUNS, max(LEAST_BLOCKS, total // _RUN), total // _LEAST_RUN)
    return [max(1, round(wanted * size / total)) for size in sizes]


def student(freedom: int) -> float:
    """The 0.975 quantile of Student's distribution, to 4 digits from 7 degrees of freedom on."""
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))
