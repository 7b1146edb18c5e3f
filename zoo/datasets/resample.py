"""Another sample rate for a sound, piece by piece: band-limited interpolation with one filter for each phase.

Source: Smith and Gossett, "A flexible sampling-rate conversion method", 1984; the window is Kaiser's.
"""

from __future__ import annotations

import functools
import math

import numpy as np

_ZEROS = 32  # crossings of the sinc at each side; more make the transition band narrower
_BETA = 9.0  # Kaiser's; what is above the band comes out about 90 dB weaker
_BAND = 0.94  # of the lower rate's half is kept


class Resampler:
    """A sound of `rate` samples a second to one of `wanted`. Sample n of either is at n divided by its rate.

    Before and after the sound there is silence. T samples become ceil(T * wanted / rate).
    """

    def __init__(self, rate: int, wanted: int) -> None:
        shared = math.gcd(rate, wanted)
        self._up, self._down = wanted // shared, rate // shared
        self._reach = _bank(self._up, self._down).shape[1] // 2  # samples that an output needs at each side
        self._waiting = np.zeros(self._reach)  # from `reach` samples before the next output on

    def add(self, sound: np.ndarray) -> np.ndarray:
        """Take the next samples, (T,); returns those that are now certain, float32."""
        if self._up == self._down:
            return sound.astype(np.float32)
        self._waiting = np.concatenate([self._waiting, sound])
        periods = (len(self._waiting) - 2 * self._reach) // self._down
        return self._outputs(periods * self._up) if periods > 0 else np.empty(0, np.float32)

    def finish(self) -> np.ndarray:
        """The last samples, once no more come."""
        left = len(self._waiting) - self._reach
        self._waiting = np.concatenate([self._waiting, np.zeros(self._reach + self._down)])
        return self._outputs(-(-left * self._up // self._down))

    def _outputs(self, count: int) -> np.ndarray:
        bank = _bank(self._up, self._down)
        windows = np.lib.stride_tricks.sliding_window_view(self._waiting, 2 * self._reach)
        found = np.empty(count, np.float32)
        for first in range(min(self._up, count)):  # outputs first, first + up, ... share a phase
            start, phase = divmod(first * self._down, self._up)
            alike = found[first :: self._up]
            alike[:] = windows[start + 1 :: self._down][: len(alike)] @ bank[phase]
        self._waiting = self._waiting[count // self._up * self._down :]
        return found


@functools.lru_cache(maxsize=4)
def _bank(up: int, down: int) -> np.ndarray:
    """A filter for each phase, (up, 2 * reach): the weights of the samples around the time phase / up.

    The first weight is of the sample reach - 1 before. A filter's weights add up to one: a constant keeps its value.
    """
    cutoff = _BAND * min(1.0, up / down)
    reach = math.ceil(_ZEROS / cutoff)
    times = np.arange(1 - reach, reach + 1)[None, :] - np.arange(up)[:, None] / up  # (up, 2 * reach)
    window = np.i0(_BETA * np.sqrt(np.maximum(0.0, 1 - (times / reach) ** 2)))
    weights = np.sinc(cutoff * times) * window
    found: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return found
