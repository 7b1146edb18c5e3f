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

from zoo.datasets.text import Document, read_documents
from zoo.errors import CapabilityError, DataError
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
    data: str | Path | Sequence[str],
    *,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
) -> TextEvaluation:
    """Perplexity, nats a token and bits a byte of a text model on a text file, a folder of them, or given texts.

    model, window, stride, batch_size, device, dtype, offline: as for `zoo.score`.
    Raises CapabilityError for a model that is not one of text, DataError when the data cannot be read or has no
    text, and what `zoo.score` raises.
    """
    loaded = opened(model, device=device, dtype=dtype, offline=offline)
    if isinstance(data, str | Path):
        documents, name = read_documents(Path(data).expanduser()), str(data)
    else:
        documents = tuple(Document(f"text {number}", text) for number, text in enumerate(data, 1))
        name = f"{len(documents)} texts"
    return evaluate_documents(loaded, documents, name, window=window, stride=stride, batch_size=batch_size)


def evaluate_documents(
    model: Model,
    documents: Sequence[Document],
    data: str,
    *,
    seed: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    report: Callable[[int], object] | None = None,
) -> TextEvaluation:
    """As `evaluate`. data: what the documents are called together. seed: what drew them. report: called with the
    tokens done."""
    if not isinstance(model, TextModel):
        raise CapabilityError(
            f"{model.name} makes {model.family.modality}, but only text models are evaluated so far"
        )
    over = windows(model.context, window, stride)
    present = [document for document in documents if document.text]
    if not present:
        raise DataError(f"{data} has no text to measure on: all of it is empty")
    names = [document.name for document in present]
    texts = [document.text for document in present]
    found = text_scores(model, texts, over, names=names, batch_size=batch_size, report=report)
    return _summary(model, names, tuple(found), data, seed, over)


def _summary(
    model: TextModel,
    names: Sequence[str],
    scores: tuple[TextScore, ...],
    data: str,
    seed: int | None,
    over: Windows,
) -> TextEvaluation:
    nats, tokens, sizes = _blocks(scores, tokenizer_of(model))
    per_token = ratio(nats, tokens)
    return TextEvaluation(
        model.name,
        data,
        tuple(names),
        scores,
        sum(score.tokens for score in scores),
        sum(score.bytes for score in scores),
        len(nats),
        over.size,
        over.stride,
        seed,
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
