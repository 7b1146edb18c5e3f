"""Randomness: sample i depends on the seed and on i, never on the batch size or on how many were asked for.

Every draw comes from a Philox counter generator keyed by (seed, index, stream name), so any sample can be made again
alone. torch's own CPU generator is not used for this: it keeps 32 bits of the seed, and by the birthday bound about
one pair in 65 thousand samples would share its noise.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from zoo.settings import require_whole

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Noise:
    """The noise of a run of samples. seed: 0 <= seed < 2**63. start: the index of the first sample."""

    seed: int
    start: int = 0

    def __post_init__(self) -> None:
        require_whole("seed", self.seed, minimum=0)
        require_whole("start", self.start, minimum=0)

    def rows(self, count: int, stream: str) -> Rows:
        """One generator for each of `count` samples from `start` on. Streams of different names are independent."""
        return Rows([self._generator(self.start + row, stream) for row in range(count)])

    def blocks(self, count: int, size: int, stream: str) -> Iterator[tuple[np.random.Generator, slice]]:
        """A generator for each block of `size` rows that has some of the samples, and which of its rows they are.

        Many times faster than `rows`. Whoever draws and computes a block whole, whichever of its rows are wanted, has
        the same sample i whatever is drawn beside it. size: must follow from the model alone.
        """
        end = self.start + count
        for block in range(self.start // size, -(-end // size) if count else 0):
            first = block * size
            wanted = slice(max(self.start - first, 0), min(end - first, size))
            yield self._generator(block, f"{stream} in blocks of {size}"), wanted

    def _generator(self, index: int, stream: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.seed}:{index}:{stream}".encode()).digest()
        words = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")]
        key: Any = _Key(np.array(words, np.uint64))
        return np.random.Generator(np.random.Philox(key))


class _Key(ISeedSequence):
    """A Philox key as it is, (2,) uint64. Given as `key=`, numpy would first ask the system for entropy: 14 us."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:  # noqa: ARG002 - always a key
        return self._words


class Rows:
    """Generators side by side, one a sample. Each draw has shape (rows, *shape), float64, on the CPU."""

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self._generators = list(generators)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Uniform on [0, 1)."""
        return self._stack([g.random(shape) for g in self._generators])

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal."""
        return self._stack([g.standard_normal(shape) for g in self._generators])

    def gumbel(self, *shape: int) -> torch.Tensor:
        """Standard Gumbel: adding it to logits and taking the largest draws from their softmax."""
        return self._stack([-np.log(g.standard_exponential(shape)) for g in self._generators])

    def keep(self, rows: Sequence[int]) -> Rows:
        """Only these rows, for when the others have finished. A row's own draws go on as before."""
        return Rows([self._generators[row] for row in rows])

    @staticmethod
    def _stack(draws: list[np.ndarray]) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.stack(draws))
