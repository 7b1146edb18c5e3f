"""`evaluate`: how well a model predicts data that it was not trained on, with confidence intervals; and text.

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
from zoo.datasets.file_rules import PLAIN, FileRules
from zoo.errors import CapabilityError, DataError, UsageError
from zoo.evaluation import held_out, items
from zoo.evaluation.held_out import HeldOut
from zoo.evaluation.interval import Estimate, ratio, runs
from zoo.evaluation.items import RowEvaluation, SequenceEvaluation
from zoo.evaluation.scoring import opened
from zoo.evaluation.text import TextScore, text_scores, tokenizer_of
from zoo.evaluation.tokens import Windows, windows
from zoo.modality.sequence_model import SequenceModel
from zoo.modality.table_model import TableModel
from zoo.modality.text_model import TextModel
from zoo.model import Model
from zoo.protocols import Tokenizer
from zoo.targets import Target


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
    weights: str | None = None,
    files: FileRules = PLAIN,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
    report: Callable[[int], object] | None = None,
) -> TextEvaluation | RowEvaluation | SequenceEvaluation:
    """Measures of a model on data that it was not trained on, with intervals.

    Of text: perplexity, nats a token and bits a byte; see `zoo.evaluation.items` for those of tables and sequences.
    data: a file, a folder, a built-in name, of text also rows (hf:user/name, FILE.parquet), or texts; of others
    several names. All of it is measured; None is what a run of `zoo train` held out.
    column: of rows, the one that is text. weights: of a table, the column that says how much each row counts.
    files: how files of rows and sequences are written, where that is not to be found.
    model, window, stride, batch_size, device, dtype, offline: as for `zoo.score`. report: called with the number of
    tokens done so far.
    Raises CapabilityError for a model of another modality, DataError when the data cannot be read or there is nothing
    in it to measure, UsageError when there is no data and for what the modality does not take, and what `zoo.score`
    raises.
    """
    loaded = opened(model, device=device, dtype=dtype, offline=offline)
    for_text = {"column": column, "window": window, "stride": stride}
    if isinstance(loaded, TextModel):
        _refuse(loaded, weights=weights, files=None if files == PLAIN else files)
        measured = _held_out(loaded, data, column, offline)
        return of_text(loaded, measured, window=window, stride=stride, batch_size=batch_size, report=report)
    if isinstance(loaded, TableModel):
        _refuse(loaded, **for_text)
        return items.of_table(
            loaded, _sources(data), weights=weights, files=files, batch_size=batch_size, offline=offline
        )
    if isinstance(loaded, SequenceModel):
        _refuse(loaded, **for_text, weights=weights)
        return items.of_sequences(loaded, _sources(data), files=files, batch_size=batch_size, offline=offline)
    what = loaded.family.modality
    raise CapabilityError(
        f"{loaded.name} makes {what}, but only models of text, tables and sequences are evaluated so far"
    )


def _refuse(model: Model, **options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"{name} is {value!r}, but {model.name} makes {model.family.modality}")


def _sources(data: str | Path | Sequence[str] | HeldOut | None) -> list[str] | None:
    """The names of what tables and sequences are read from. Raises UsageError for what is no name."""
    if data is None:
        return None
    several = [data] if isinstance(data, str | Path) else data
    if isinstance(several, HeldOut) or not all(isinstance(name, str | Path) for name in several):
        raise UsageError(
            f"data is {type(data).__name__}, but must be a file, a folder or a built-in name",
            hint="zoo.score takes rows and sequences themselves",
        )
    if not several:
        raise UsageError("there is nothing to measure on: no data was named")
    return [str(name) for name in several]


def of_text(
    loaded: TextModel,
    found: HeldOut,
    *,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    report: Callable[[int], object] | None = None,
) -> TextEvaluation:
    """Perplexity, nats a token and bits a byte of a text model on documents; see `evaluate`."""
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
        return held_out.of_run(model.folder, model.name, offline=offline)
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
    counts = runs([score.tokens for score in scores])
    parts = [
        part for score, count in zip(scores, counts, strict=True) for part in _runs(score, count, tokenizer)
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
