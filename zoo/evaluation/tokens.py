"""The log-probability of each token of a text, given those before it, through windows of what a network can see.

The windows are those of transformers' documentation ("Perplexity of fixed-length models") with max_length =
window + 1: each begins `stride` tokens after the one before, and predicts the tokens that no earlier one has. The
sums there weigh every window after the first by one token too few; here each token counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from zoo.errors import UsageError
from zoo.settings import shown

_CPU_TOKENS, _CPU_LOGITS = 2**12, 2**26  # numbers that one pass may hold: more gain no speed, and cost memory
_GPU_TOKENS, _GPU_LOGITS = 2**16, 2**29
_CHUNK = 1024  # predictions whose probabilities are computed together
_POOL = 2**16  # tokens of texts that are sorted by length together


@dataclass(frozen=True)
class Windows:
    """size: tokens seen at most. stride: how far each window is from the one before."""

    size: int
    stride: int


def windows(context: int, size: int | None = None, stride: int | None = None) -> Windows:
    """The windows asked for: a network's whole context and half of a window when left out. Raises UsageError."""
    size = context if size is None else size
    if not 1 <= size <= context:
        raise UsageError(f"window is {shown(size)}, but must be from 1 to the context of {context:,} tokens")
    stride = max(1, size // 2) if stride is None else stride
    if not 1 <= stride <= size:
        raise UsageError(
            f"stride is {stride}, but must be from 1 to the window of {size:,} tokens",
            hint="windows further apart than they are long would leave tokens out",
        )
    return Windows(size, stride)


@dataclass(frozen=True)
class Span:
    """A window over the tokens start .. end - 1; it predicts the tokens first + 1 .. end."""

    start: int
    end: int
    first: int


def spans(inputs: int, over: Windows, first: int = 0) -> list[Span]:
    """Windows that predict tokens first + 1 .. inputs once each, all but the first `size` from at least
    size - stride + 1 tokens."""
    found: list[Span] = []
    start, end = 0, 0
    while first < inputs:
        end = min(start + over.size, inputs)
        if end > first:
            found.append(Span(start, end, first))
            first = end
        start += over.stride
    return found


def log_probs(
    network: Any,
    texts: Iterable[tuple[Sequence[int], int]],
    over: Windows,
    *,
    batch_size: int | None = None,
    report: Callable[[int], object] | None = None,
) -> Iterator[np.ndarray]:
    """For each text, in order: the natural log-probabilities (N,) in float64 of its tokens after the given ones.

    network: token ids (B, T) to logits (B, T, V), in evaluation mode; a row's logits must not depend on what follows.
    texts: (token ids, how many of them are given and not predicted: at least one). batch_size: windows computed
    together; by what fits in memory when None. It changes the speed, and the results by rounding alone.
    report: called after each pass with how many tokens have been predicted.
    """
    at_once = _Passes(network, over, batch_size, report)
    pool: list[tuple[Sequence[int], int]] = []
    size = 0
    for ids, given in texts:
        pool.append((ids, given))
        size += len(ids)
        if size >= _POOL:
            yield from at_once.pool(pool)
            pool, size = [], 0
    yield from at_once.pool(pool)


class _Passes:
    """Windows of several texts computed together, those of similar length in one pass."""

    def __init__(
        self,
        network: Any,
        over: Windows,
        batch_size: int | None,
        report: Callable[[int], object] | None,
    ) -> None:
        self._report, self._predicted = report, 0
        self._network, self._over, self._batch_size = network, over, batch_size
        self._device = next(network.parameters()).device
        on_cpu = self._device.type == "cpu"
        tokens, logits = (_CPU_TOKENS, _CPU_LOGITS) if on_cpu else (_GPU_TOKENS, _GPU_LOGITS)
        self._tokens = min(tokens, logits // int(network.vocabulary))

    def pool(self, texts: Sequence[tuple[Sequence[int], int]]) -> Iterator[np.ndarray]:
        found = [np.empty(len(ids) - given) for ids, given in texts]
        waiting = [
            (text, span)
            for text, (ids, given) in enumerate(texts)
            for span in spans(len(ids) - 1, self._over, given - 1)
        ]
        waiting.sort(key=lambda item: item[1].end - item[1].start, reverse=True)
        done = 0
        while done < len(waiting):
            longest = waiting[done][1].end - waiting[done][1].start
            rows = self._batch_size or max(1, self._tokens // longest)
            batch = waiting[done : done + rows]
            done += rows
            values = self._run([texts[text][0] for text, _ in batch], [span for _, span in batch])
            self._predicted += len(values)
            if self._report:
                self._report(self._predicted)
            parts = np.split(values, np.cumsum([span.end - span.first for _, span in batch])[:-1])
            for (text, span), part in zip(batch, parts, strict=True):
                given = texts[text][1]
                found[text][span.first + 1 - given : span.end + 1 - given] = part
        yield from found

    @torch.inference_mode()
    def _run(self, texts: Sequence[Sequence[int]], batch: Sequence[Span]) -> np.ndarray:
        """The log-probabilities of all rows' new tokens, one row after the other."""
        longest = max(span.end - span.start for span in batch)
        tokens = torch.zeros(len(batch), longest + 1, dtype=torch.int64)
        counted = torch.zeros(len(batch), longest, dtype=torch.bool)
        for row, (ids, span) in enumerate(zip(texts, batch, strict=True)):
            tokens[row, : span.end - span.start + 1] = torch.tensor(ids[span.start : span.end + 1])
            counted[row, span.first - span.start : span.end - span.start] = True
        rows, columns = counted.nonzero(as_tuple=True)
        targets = tokens[rows, columns + 1].to(self._device)
        logits = self._network(tokens[:, :-1].to(self._device))  # (B, T, V)
        rows, columns = rows.to(self._device), columns.to(self._device)
        values = [
            -functional.cross_entropy(
                _wide(logits[rows[part], columns[part]]), targets[part], reduction="none"
            )
            for part in (slice(at, at + _CHUNK) for at in range(0, len(rows), _CHUNK))
        ]
        found: np.ndarray = torch.cat(values).double().cpu().numpy()
        return found


def _wide(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
