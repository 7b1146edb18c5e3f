"""Autoregressive sampling of tokens: prefill in one pass, then one token a row and step from a static cache.

A sample's tokens must not depend on the batch it is drawn in, yet a matrix product of 8 rows rounds otherwise than
one of 1. So each choice is made with a margin: when a logit error of `TOLERANCE` could change it, the logits are
computed again from that row's tokens alone, which is the same computation in every batch. Errors are a tenth of the
tolerance (float32), so both ways of choosing agree wherever the margin holds. In float16 and bfloat16 errors are too
large for margins, so there each row is a batch of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING

import torch

from zoo.nn.choose import choose, is_greedy
from zoo.noise import Noise

if TYPE_CHECKING:
    from zoo.modality.text import TextControls
    from zoo.nn.attention import Cache
    from zoo.protocols import LanguageModel

TOLERANCE = 1e-3
"""Logit error, in nats, up to which two computations of one row in float32 count as the same."""

_CHUNK = 64  # cache capacities are multiples of it


@torch.inference_mode()
def generate(
    network: LanguageModel,
    prompts: Sequence[Sequence[int]],
    noise: Noise,
    controls: TextControls,
    *,
    done: Set[int] = frozenset(),
) -> Iterator[list[int | None]]:
    """Draw a continuation of each prompt; each step yields the next token of every row, None for a finished row.

    prompts: one token list a row, none empty, each shorter than `network.context`. Row r uses sample r of `noise`.
    done: rows the caller wants no more of; it may grow between steps. A row also ends at `controls.max_tokens` new
    tokens and at the model's context.
    """
    if len(prompts) > 1 and network.new_cache(1, 1).keys.dtype != torch.float32:
        yield from _each_alone(network, prompts, noise, controls, done)
        return
    texts = [list(prompt) for prompt in prompts]
    limits = [min(len(prompt) + controls.max_tokens, network.context) for prompt in prompts]
    rows = list(range(len(texts)))  # rows of the batch, as rows of the caller
    draws = noise.rows(len(rows), "tokens")
    cache, logits = _begin(network, texts, max(limits))
    while True:
        gumbel = None if is_greedy(controls) else draws.gumbel(logits.shape[-1])
        given = [len(prompts[row]) for row in rows]
        chosen = _choose_alike(network, logits, [texts[row] for row in rows], gumbel, controls, given)
        for row, token in zip(rows, chosen, strict=True):
            texts[row].append(token)
        step: list[int | None] = [None] * len(texts)
        for row, token in zip(rows, chosen, strict=True):
            step[row] = token
        yield step
        kept = [at for at, row in enumerate(rows) if row not in done and len(texts[row]) < limits[row]]
        if not kept:
            return
        if len(kept) < len(rows):
            rows = [rows[at] for at in kept]
            draws = draws.keep(kept)
            cache.keep(kept)
        last = torch.tensor([[texts[row][-1]] for row in rows], device=logits.device)
        logits = network.step(last, cache)


def _each_alone(
    network: LanguageModel,
    prompts: Sequence[Sequence[int]],
    noise: Noise,
    controls: TextControls,
    done: Set[int],
) -> Iterator[list[int | None]]:
    """As `generate`, side by side instead of as one batch."""
    finished: list[set[int]] = [set() for _ in prompts]
    alone = [
        generate(network, [prompt], Noise(noise.seed, noise.start + row), controls, done=finished[row])
        for row, prompt in enumerate(prompts)
    ]
    while True:
        for row in done:
            finished[row].add(0)
        step = [next(tokens, [None])[0] for tokens in alone]
        if all(token is None for token in step):
            return
        yield step


def _begin(
    network: LanguageModel, texts: Sequence[Sequence[int]], longest: int
) -> tuple[Cache, torch.Tensor]:
    """A cache with room for `longest` tokens a row that holds the texts, and the logits after each. One text for all
    rows is read once."""
    if any(text != texts[0] for text in texts):
        cache = network.new_cache(len(texts), _round_up(longest))
        return cache, _prefill(network, texts, cache)
    cache = network.new_cache(1, _round_up(longest))
    logits = _prefill(network, texts[:1], cache)
    if len(texts) > 1:
        cache.keep([0] * len(texts))
    return cache, logits.expand(len(texts), -1)


def _round_up(size: int) -> int:
    return -(-size // _CHUNK) * _CHUNK


def _prefill(network: LanguageModel, texts: Sequence[Sequence[int]], cache: Cache) -> torch.Tensor:
    """All prompts in one pass, padded at the right -> logits (B, V) after each prompt's last token."""
    lengths = [len(text) for text in texts]
    longest = max(lengths)
    device = cache.keys.device
    tokens = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts], device=device)
    counts = None if min(lengths) == longest else torch.tensor(lengths, device=device)
    return network.step(tokens, cache, counts)


def _choose_alike(
    network: LanguageModel,
    logits: torch.Tensor,
    texts: Sequence[Sequence[int]],
    gumbel: torch.Tensor | None,
    controls: TextControls,
    given: Sequence[int],
) -> list[int]:
    """The next token of each row, the same whatever the other rows are (see the top of this file)."""
    tolerance = TOLERANCE if logits.dtype == torch.float32 else 0.0  # else the row is alone already
    tokens, fragile = choose(logits.cpu(), texts, gumbel, controls, tolerance, given)
    for row in fragile:
        cache = network.new_cache(1, _round_up(len(texts[row])))
        alone = _prefill(network, [texts[row]], cache)
        own = None if gumbel is None else gumbel[row : row + 1]
        tokens[row] = choose(alone.cpu(), [texts[row]], own, controls, 0.0, given[row : row + 1])[0][0]
    return tokens
