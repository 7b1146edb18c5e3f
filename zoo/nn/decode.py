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
    cache = network.new_cache(len(rows), _round_up(max(limits)))
    logits = _prefill(network, texts, cache)
    while True:
        gumbel = None if _is_greedy(controls) else draws.gumbel(logits.shape[-1])
        chosen = _choose_alike(network, logits, [texts[row] for row in rows], gumbel, controls)
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
) -> list[int]:
    """The next token of each row, the same whatever the other rows are (see the top of this file)."""
    tolerance = TOLERANCE if logits.dtype == torch.float32 else 0.0  # else the row is alone already
    tokens, fragile = choose(logits.double().cpu(), texts, gumbel, controls, tolerance)
    for row in fragile:
        cache = network.new_cache(1, _round_up(len(texts[row])))
        alone = _prefill(network, [texts[row]], cache)
        own = None if gumbel is None else gumbel[row : row + 1]
        tokens[row] = choose(alone.double().cpu(), [texts[row]], own, controls, 0.0)[0][0]
    return tokens


def _is_greedy(controls: TextControls) -> bool:
    return controls.greedy or controls.temperature == 0


def choose(
    logits: torch.Tensor,
    texts: Sequence[Sequence[int]],
    gumbel: torch.Tensor | None,
    controls: TextControls,
    tolerance: float,
) -> tuple[list[int], list[int]]:
    """Pick one token a row from logits (B, V): the largest of logit / temperature + Gumbel noise among those the
    filters keep, in the order repetition penalty, temperature, top-k, top-p, min-p.

    gumbel: (B, V), or None for greedy. Returns the tokens, and the rows in which a logit error of `tolerance` could
    have changed the choice.
    """
    if controls.repetition_penalty != 1.0:
        logits = _penalised(logits, texts, controls.repetition_penalty)
        tolerance *= max(controls.repetition_penalty, 1 / controls.repetition_penalty)
    if gumbel is None or _is_greedy(controls):
        scores, slack = logits, 2 * tolerance
        keep_low = keep = keep_high = torch.ones_like(logits, dtype=torch.bool)
    else:
        logits = logits / controls.temperature
        slack = 2 * tolerance / controls.temperature
        low, threshold, high = _thresholds(logits, controls, slack)
        keep_low, keep, keep_high = logits >= low, logits >= threshold, logits >= high
        scores = logits + gumbel
    best, tokens = scores.masked_fill(~keep, -torch.inf).max(dim=-1, keepdim=True)
    rivals = (keep_low & (scores >= best - slack)).scatter(1, tokens, value=False).any(dim=-1)
    doubtful = rivals | ~keep_high.gather(1, tokens)[:, 0] if tolerance else torch.zeros_like(rivals)
    return tokens[:, 0].tolist(), doubtful.nonzero()[:, 0].tolist()


def _penalised(logits: torch.Tensor, texts: Sequence[Sequence[int]], penalty: float) -> torch.Tensor:
    """Divide the positive logits of tokens already in the text by the penalty, multiply the negative ones.

    Source: Keskar et al., "CTRL", 2019, as transformers applies it.
    """
    logits = logits.clone()
    for row, text in enumerate(texts):
        seen = torch.tensor(sorted(set(text)))
        values = logits[row, seen]
        logits[row, seen] = torch.where(values > 0, values / penalty, values * penalty)
    return logits


def _thresholds(
    logits: torch.Tensor, controls: TextControls, slack: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The smallest logit the filters keep, (B, 1): the least, the actual and the most it is for errors to slack."""
    threshold = torch.full_like(logits[:, :1], -torch.inf)
    low = high = threshold
    if controls.top_k is not None and controls.top_k < logits.shape[-1]:
        threshold = logits.topk(controls.top_k, dim=-1).values[:, -1:]
        low, high = threshold - slack, threshold + slack
    if controls.top_p is not None and controls.top_p < 1:
        nucleus = [
            _nucleus(logits, t, controls.top_p + e)
            for t, e in ((low, slack), (threshold, 0.0), (high, -slack))
        ]
        low = torch.maximum(low, nucleus[0] - slack)
        threshold = torch.maximum(threshold, nucleus[1])
        high = torch.maximum(high, nucleus[2] + slack)
    if controls.min_p:
        floor = logits.amax(dim=-1, keepdim=True) + torch.tensor(controls.min_p, dtype=logits.dtype).log()
        low, threshold, high = (
            torch.maximum(t, floor + e) for t, e in ((low, -slack), (threshold, 0.0), (high, slack))
        )
    return low, threshold, high


def _nucleus(logits: torch.Tensor, threshold: torch.Tensor, p: float) -> torch.Tensor:
    """The smallest logit among the fewest tokens whose probability reaches p, of those at or above the threshold.

    Source: Holtzman et al., "The curious case of neural text degeneration", 2019.
    """
    ordered = logits.masked_fill(logits < threshold, -torch.inf).sort(dim=-1, descending=True).values
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    kept = (before < p).sum(dim=-1, keepdim=True).clamp(min=1)
    return ordered.gather(1, kept - 1)
