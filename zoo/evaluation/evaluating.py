"""`evaluate`: how well a model predicts text that it was not trained on, with confidence intervals.

Losses of neighbouring tokens depend on each other, and so do those of a scene or a chapter: an interval over tokens
would be too narrow. Blocks count as independent instead: whole documents where there are at least 8, otherwise 8 to
32 runs of tokens of one document, of at least 1,024 tokens where there is so much text. An interval over runs of few
documents speaks of more text like these, not of other documents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.datasets.documents import Document
from zoo.errors import CapabilityError, DataError
from zoo.evaluation import held_out
from zoo.evaluation.held_out import HeldOut
from zoo.evaluation.interval import LEAST_BLOCKS, Estimate, ratio
from zoo.evaluation.scoring import opened
from zoo.evaluation.text import TextScore, text_scores, tokenizer_of
from zoo.evaluation.tokens import Windows, windows
from zoo.modality.text_model import TextModel
from zoo.model import Model
from zoo.protocols import Tokenizer
from zoo.targets import Target

_MOST_BLOCKS, _RUN = 32, 1024  # runs of one document, and a run's tokens where there is enough text
_LEAST_RUN = 128


@dataclass(frozen=True, eq=False)
class TextEvaluation:
    """What was measured on the held-out text, and on how much of it.

    names, scores: of each document, empty ones left out. tokens, bytes: of all of them. blocks: what the intervals
    were taken over. window, stride: in tokens. seed: what drew the held-out text; None when the data was measured
    whole.
    """

    model: str
    data: str
    names: tuple[str, ...]
    scores: tuple[TextScore, ...]
    tokens: int
    bytes: int
    blocks: int
    window: int
    stride: int
    seed: int | None
    nats_per_token: Estimate
    perplexity: Estimate
    bits_per_byte: Estimate


def evaluate(
    model: str | Target | Model,
    data: str | Path | Sequence[str] | HeldOut | None = None,
    *,
    column: str | None = None,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
    report: Callable[[int], object] | None = None,
) -> TextEvaluation:
    """Perplexity, nats a token and bits a byte of a text model on text that it was not trained on.

    data: a text file, a folder of them, a built-in name, rows (hf:user/name, FILE.parquet), or texts; None for what a
    run of `zoo train` held out. column: of rows, the one that is text.
    model, window, stride, batch_size, device, dtype, offline: as for `zoo.score`. report: called with the number of
    tokens done so far.
    Raises CapabilityError for a model that is not one of text, DataError when the data cannot be read or has no
    text, UsageError when there is no data, and what `zoo.score` raises.
    """
    loaded = opened(model, device=device, dtype=dtype, offline=offline)
    if not isinstance(loaded, TextModel):
        what = loaded.family.modality
        raise CapabilityError(f"{loaded.name} makes {what}, but only text models are evaluated so far")
    found = _held_out(loaded, data, column, offline)
    over = windows(loaded.context, window, stride)
    present = [(document.name, text) for document in found.documents if (text := document.text)]
    if not present:
        raise DataError(f"{found.name} has no text to measure on: all of it is empty")
    names, texts = [name for name, _ in present], [text for _, text in present]
    scores = text_scores(loaded, texts, over, names=names, batch_size=batch_size, report=report)
    return _summary(loaded, names, tuple(scores), found, over)


def _held_out(
    model: Model, data: str | Path | Sequence[str] | HeldOut | None, column: str | None, offline: bool
) -> HeldOut:
    if isinstance(data, HeldOut):
        return data
    if data is None:
        beside = next(iter(model.files.values()), None)
        return held_out.of_run(beside.parent if beside else None, model.name, offline=offline)
    if isinstance(data, str | Path):
        return held_out.named(str(data), column=column, offline=offline)
    documents = tuple(Document(f"text {number}", text) for number, text in enumerate(data, 1))
    return HeldOut(f"{len(documents)} texts", documents)


def _summary(
    model: TextModel, names: Sequence[str], scores: tuple[TextScore, ...], data: HeldOut, over: Windows
) -> TextEvaluation:
    nats, tokens, sizes = _blocks(scores, tokenizer_of(model))
    per_token = ratio(nats, tokens)
    return TextEvaluation(
        model.name,
        data.name,
        tuple(names),
        scores,
        sum(score.tokens for score in scores),
        sum(score.bytes for score in scores),
        len(nats),
        over.size,
        over.stride,
        data.seed,
        per_token,
        per_token.through(_exp),
        ratio(nats / math.log(2), sizes),
    )


def _exp(nats: float) -> float:
    return math.exp(nats) if not nats > 700 else math.inf  # also for what is not a number


def _blocks(scores: Sequence[TextScore], tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nats, tokens and bytes of each block, (n,) each; their sums are those of the documents."""
    whole = len(scores) >= LEAST_BLOCKS
    total = sum(score.tokens for score in scores)
    runs = min(_MOST_BLOCKS, max(LEAST_BLOCKS, total // _RUN), total // _LEAST_RUN)
    parts = [
        part
        for score in scores
        for part in _runs(score, 1 if whole else max(1, round(runs * score.tokens / total)), tokenizer)
    ]
    nats, tokens, sizes = np.array(parts).T
    return nats, tokens, sizes


def _runs(score: TextScore, count: int, tokenizer: Tokenizer) -> Iterator[tuple[float, float, float]]:
    """Nats, tokens and bytes of `count` runs of a document's tokens, of equal length."""
    ids = np.array_split(score.ids, count)
    written = [len(tokenizer.decode(part.tolist()).encode()) if count > 1 else 1 for part in ids]
    share = score.bytes / sum(written)  # 1, but for cut characters and tokenizers that change the text
    for part, values, size in zip(ids, np.array_split(score.log_probs, count), written, strict=True):
        yield -float(values.sum()), len(part), size * share
