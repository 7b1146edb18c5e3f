"""How well a language model predicts text: log-likelihoods of texts, and bits per byte, which can be compared across
vocabularies."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.errors import CapabilityError, DataError, WeightsError, ZooError
from zoo.evaluation.tokens import Windows, log_probs, spans, windows
from zoo.modality.text import TextWriter
from zoo.modality.text_model import TextModel
from zoo.protocols import Tokenizer
from zoo.settings import require_whole


@dataclass(frozen=True)
class Bits:
    """The mean number of bits a byte of UTF-8 text costs, and over how many bytes and tokens it was taken."""

    per_byte: float
    bytes: int
    tokens: int


def bits_per_byte(
    network: Any, tokenizer: Tokenizer, texts: Sequence[str], *, window: int | None = None
) -> Bits:
    """Predict every token of each text once, from the tokenizer's start and the text before it.

    network: token ids (B, T) to logits (B, T, V), in evaluation mode. window: tokens it sees at most, its context
    when None. Windows overlap by half, so that all but a text's first tokens see at least half a window.
    Raises DataError when there is no text.
    """
    size = sum(len(text.encode()) for text in texts)
    if size == 0:
        raise DataError("there is no text to measure on: all of it is empty")
    over = windows(network.context, min(window or network.context, network.context))
    read = [Encoded.of(text, tokenizer) for text in texts]
    pairs = ((item.ids, item.given) for item in read)
    nats = -sum(float(values.sum()) for values in log_probs(network, pairs, over))
    return Bits(nats / math.log(2) / size, size, sum(item.predicted for item in read))


@dataclass(frozen=True)
class Encoded:
    """A text's token ids, the first `given` of which are the tokenizer's start: they are seen and not predicted."""

    ids: Sequence[int]
    given: int

    @property
    def predicted(self) -> int:
        return len(self.ids) - self.given

    @classmethod
    def of(cls, text: str, tokenizer: Tokenizer) -> Encoded:
        """What the tokenizer puts before every text is the start; where it puts nothing, its `start` is."""
        ids, front = tokenizer.encode(text), tokenizer.encode("")
        if front and ids[: len(front)] == front:
            return cls(ids, len(front))
        return cls([*tokenizer.start, *ids], len(tokenizer.start))


@dataclass(frozen=True, eq=False)
class TextScore:
    """How likely a text is.

    log_likelihood: in nats, the sum of log_probs. bytes: of the text in UTF-8.
    ids: (N,) its token ids, without the tokenizer's start. log_probs: (N,) of each, given those before it in its
    window.
    exact: the tokenizer writes these ids back as this text. windows: 1 when the network saw the text as a whole.
    """

    text: str
    log_likelihood: float
    bytes: int
    ids: np.ndarray
    log_probs: np.ndarray
    exact: bool
    windows: int

    @property
    def tokens(self) -> int:
        return len(self.ids)

    @property
    def bits_per_byte(self) -> float:
        return -self.log_likelihood / math.log(2) / self.bytes

    @property
    def nats_per_token(self) -> float:
        return -self.log_likelihood / self.tokens


def text_scores(
    model: TextModel,
    texts: Sequence[str],
    over: Windows,
    *,
    names: Sequence[str] = (),
    batch_size: int | None = None,
    report: Callable[[int], object] | None = None,
) -> Iterator[TextScore]:
    """The score of each text, in order, as they are computed; texts of similar length are computed together.

    names: of the texts, for errors; their numbers when there are none. report: called with the tokens done.
    Raises UsageError for a bad batch_size, CapabilityError without a tokenizer, DataError for a text without tokens
    or that the tokenizer cannot take, WeightsError when the tokenizer is not the network's.
    """
    if batch_size is not None:
        require_whole("batch_size", batch_size)
    tokenizer = tokenizer_of(model)
    waiting: deque[Encoded] = deque()  # what is being computed

    def pairs() -> Iterator[tuple[Sequence[int], int]]:
        for number, text in enumerate(texts):
            item = _encoded(model, tokenizer, text, names[number] if names else f"text {number + 1}")
            waiting.append(item)
            yield item.ids, item.given

    found = log_probs(model.network, pairs(), over, batch_size=batch_size, report=report)
    for text, values in zip(texts, found, strict=True):
        item = waiting.popleft()
        ids = np.array(item.ids[item.given :], dtype=np.int64)
        exact = tokenizer.decode(ids.tolist()).strip() == text.strip()
        seen = len(spans(len(item.ids) - 1, over, item.given - 1))
        yield TextScore(text, float(values.sum()), len(text.encode()), ids, values, exact, seen)


def _encoded(model: TextModel, tokenizer: Tokenizer, text: str, what: str) -> Encoded:
    """what: the text as an error names it."""
    try:
        found = Encoded.of(text, tokenizer)
    except ZooError as error:
        raise DataError(f"{what} cannot be encoded: {error}", hint=error.hint) from error
    if found.predicted < 1:
        raise DataError(
            f"{what} has nothing to predict: the tokenizer of {model.name} makes no token of {text[:40]!r}"
        )
    known = int(model.network.vocabulary)  # type: ignore[arg-type]
    if not 0 <= min(found.ids) <= max(found.ids) < known:
        unknown = next(number for number in found.ids if not 0 <= number < known)
        raise WeightsError(
            f"{what} has the token id {unknown}, but the network of {model.name} knows 0 to {known - 1}",
            hint="the tokenizer files beside the weights are those of another model",
        )
    return found


def tokenizer_of(model: TextModel) -> Tokenizer:
    """Raises CapabilityError when the model's files hold none."""
    if model.tokenizer is None:
        raise CapabilityError(
            f"{model.name} has no tokenizer files, so text cannot be encoded for it",
            hint="put tokenizer.json beside the weights",
        )
    return model.tokenizer


def token_texts(tokenizer: Tokenizer, encoded: Sequence[int]) -> list[str]:
    """What each token adds to the text, joined the whole; a character of several tokens comes with the last."""
    writer = TextWriter(tokenizer)
    pieces = [writer.add(token) for token in encoded]
    return [*pieces[:-1], pieces[-1] + writer.finish()] if pieces else []
