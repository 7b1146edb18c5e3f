"""Which token comes next: filters, temperature and Gumbel noise over logits, with the margin of the choice.

Scores are float64, as the noise is. With filters, only the likeliest tokens are sorted and get noise: as many as the
filters could keep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from zoo.modality.text import TextControls

_CANDIDATES = 256  # likeliest tokens looked at first
_MORE = 16  # times as many while others could be kept


def is_greedy(controls: TextControls) -> bool:
    return controls.greedy or controls.temperature == 0


def choose(
    logits: torch.Tensor,
    texts: Sequence[Sequence[int]],
    gumbel: torch.Tensor | None,
    controls: TextControls,
    tolerance: float,
    given: Sequence[int] = (),
) -> tuple[list[int], list[int]]:
    """Pick one token a row from logits (B, V): the largest of logit / temperature + Gumbel noise among those the
    filters keep, in the order repetition penalty, frequency and presence penalty, temperature, top-k, top-p, min-p.

    gumbel: (B, V) float64, or None for greedy. texts: the tokens of each row so far. given: how many of them are the
    prompt's; none when left out. Returns the tokens, and the rows in which a logit error of `tolerance` could have
    changed the choice.
    """
    if controls.repetition_penalty != 1.0:
        logits = _penalised(logits, texts, controls.repetition_penalty)
        tolerance *= max(controls.repetition_penalty, 1 / controls.repetition_penalty)
    if controls.frequency_penalty or controls.presence_penalty:
        written = [text[begin:] for text, begin in zip(texts, given, strict=True)] if given else texts
        logits = _lowered(logits, written, controls)
    if gumbel is None or is_greedy(controls):
        return _largest(logits, 2 * tolerance)
    slack = 2 * tolerance / controls.temperature
    logits = logits.double() / controls.temperature
    if not _has_filters(controls, logits.shape[-1]):
        return _largest(logits + gumbel, slack)
    return _largest_kept(logits, gumbel, controls, slack)


def _largest(scores: torch.Tensor, slack: float) -> tuple[list[int], list[int]]:
    best, tokens = scores.max(dim=-1, keepdim=True)
    if slack == 0:
        return tokens[:, 0].tolist(), []
    near = (scores >= best - slack).sum(dim=-1)
    return tokens[:, 0].tolist(), (near > 1).nonzero()[:, 0].tolist()


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


def _lowered(logits: torch.Tensor, written: Sequence[Sequence[int]], controls: TextControls) -> torch.Tensor:
    """Take the frequency penalty times a token's count, and once the presence penalty, from what was written.

    Source: OpenAI's API reference, "Frequency and presence penalties".
    """
    logits = logits.clone()
    for row, tokens in enumerate(written):
        counts = torch.bincount(torch.tensor(tokens, dtype=torch.int64), minlength=logits.shape[-1])
        logits[row] -= controls.frequency_penalty * counts + controls.presence_penalty * (counts > 0)
    return logits


def _has_filters(controls: TextControls, vocabulary: int) -> bool:
    return _top_k(controls, vocabulary) < vocabulary or _top_p(controls) < 1 or bool(controls.min_p)


def _top_k(controls: TextControls, vocabulary: int) -> int:
    return vocabulary if controls.top_k is None else min(controls.top_k, vocabulary)


def _top_p(controls: TextControls) -> float:
    return 1.0 if controls.top_p is None else controls.top_p


def _largest_kept(
    logits: torch.Tensor, gumbel: torch.Tensor, controls: TextControls, slack: float
) -> tuple[list[int], list[int]]:
    """As `_largest` among the tokens that the filters keep; a choice at their edge makes its row doubtful too."""
    vocabulary = logits.shape[-1]
    count = min(max(_CANDIDATES, _top_k(controls, vocabulary) % vocabulary + 1), vocabulary)
    while True:
        ordered, tokens = logits.topk(count, dim=-1)
        low, threshold, high = _thresholds(logits, ordered, controls, slack)
        if count == vocabulary or bool((ordered[:, -1:] < low).all()):
            break
        count = min(_MORE * count, vocabulary)
    scores = ordered + gumbel.gather(1, tokens)
    best, at = scores.masked_fill(ordered < threshold, -torch.inf).max(dim=-1, keepdim=True)
    chosen = tokens.gather(1, at)[:, 0].tolist()
    if slack == 0:
        return chosen, []
    near = ((ordered >= low) & (scores >= best - slack)).sum(dim=-1)
    at_the_edge = (ordered.gather(1, at) < high)[:, 0]
    return chosen, ((near > 1) | at_the_edge).nonzero()[:, 0].tolist()


def _thresholds(
    logits: torch.Tensor, ordered: torch.Tensor, controls: TextControls, slack: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The smallest logit the filters keep, (B, 1): the least, the actual and the most it is for errors to slack.

    ordered: (B, M) the largest logits, falling. Where the filters keep all of them, the answer is their smallest.
    """
    low = threshold = high = torch.full_like(logits[:, :1], -torch.inf)
    top_k, top_p = _top_k(controls, logits.shape[-1]), _top_p(controls)
    if top_k < logits.shape[-1]:
        threshold = ordered[:, top_k - 1 : top_k]
        low, high = threshold - slack, _sure(ordered, threshold, slack)
    if top_p < 1:
        total = logits.logsumexp(dim=-1, keepdim=True) if top_k == logits.shape[-1] else None
        nuclei = [
            _nucleus(ordered, edge, total, top_p + error)
            for edge, error in ((low, slack), (threshold, 0.0), (high, -slack))
        ]
        low = torch.maximum(low, nuclei[0] - slack)
        threshold = torch.maximum(threshold, nuclei[1])
        high = torch.maximum(high, _sure(ordered, nuclei[2], slack))
    if controls.min_p:
        floor = ordered[:, :1] + math.log(controls.min_p)
        low, high = torch.maximum(low, floor - slack), torch.maximum(high, floor + slack)
        threshold = torch.maximum(threshold, floor)
    return low, threshold, high


def _sure(ordered: torch.Tensor, edge: torch.Tensor, slack: float) -> torch.Tensor:
    """The smallest logit surely on the upper side of an edge: the edge's own where no other could take its place."""
    within_reach = (ordered <= edge) & (ordered >= edge - slack)
    return torch.where(within_reach.sum(dim=-1, keepdim=True) > 1, edge + slack, edge)


def _nucleus(ordered: torch.Tensor, edge: torch.Tensor, total: torch.Tensor | None, p: float) -> torch.Tensor:
    """The smallest logit among the fewest tokens whose probability reaches p, of those at or above the edge.

    total: the log of the sum of exponentials that makes probabilities; None: of the tokens at or above the edge.
    Source: Holtzman et al., "The curious case of neural text degeneration", 2019.
    """
    within = ordered.masked_fill(ordered < edge, -torch.inf)
    probabilities = (within - (within.logsumexp(dim=-1, keepdim=True) if total is None else total)).exp()
    before = probabilities.cumsum(dim=-1) - probabilities
    kept = ((before < p) & (within > -torch.inf)).sum(dim=-1, keepdim=True).clamp(min=1)
    return ordered.gather(1, kept - 1)
