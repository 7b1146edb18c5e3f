"""`score`: the log-likelihood of given texts, or rows of another modality, under a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from zoo import api, targets
from zoo.errors import CapabilityError, DataError, UsageError
from zoo.evaluation.text import TextScore, text_scores
from zoo.evaluation.tokens import windows
from zoo.modality import data_frames
from zoo.modality.text_model import TextModel
from zoo.model import Model
from zoo.settings import require_whole
from zoo.targets import Target


@dataclass(frozen=True, eq=False)
class TextScores:
    """items: the score of each text, in the order they were given. The sums and means are over all of them.

    Log-likelihoods are in nats; one that is not a number makes the sums so too.
    """

    items: tuple[TextScore, ...]

    @property
    def log_likelihood(self) -> float:
        return math.fsum(item.log_likelihood for item in self.items)

    @property
    def mean(self) -> float:
        """Nats a text."""
        return self.log_likelihood / len(self.items)

    @property
    def tokens(self) -> int:
        return sum(item.tokens for item in self.items)

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.items)

    @property
    def bits_per_byte(self) -> float:
        return -self.log_likelihood / math.log(2) / self.bytes

    @property
    def nats_per_token(self) -> float:
        return -self.log_likelihood / self.tokens


@dataclass(frozen=True, eq=False)
class RowScores:
    """items: the log-likelihood of each row, in nats, in the order they were given."""

    items: tuple[float, ...]

    @property
    def log_likelihood(self) -> float:
        return math.fsum(self.items)

    @property
    def mean(self) -> float:
        return self.log_likelihood / len(self.items)


@runtime_checkable
class Scored(Protocol):
    """A model whose modality knows how items are given and in which units their likelihood is."""

    def log_prob(self, items: Any, *, batch_size: int | None = None) -> tuple[float, ...]:
        """The log-likelihood of each item, in nats of the items' own units."""
        ...


def score(
    model: str | Target | Model,
    items: Any,
    *,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
) -> TextScores | RowScores:
    """How likely items are under a model: texts (or one text), or for other modalities rows (N, ...) of numbers.

    model: loaded, or as `zoo.load` takes it with device, dtype and offline.
    A text's first token is predicted from the tokenizer's start, every other from all before it. A text longer than
    the context is read through windows of `window` tokens (default: the context), `stride` apart (default: half of
    it). batch_size: windows, or rows, computed together; it changes results by rounding alone.
    Raises UsageError, CapabilityError for a model that gives no likelihoods, DataError for items it cannot take, and
    what `zoo.load` raises.
    """
    loaded = opened(model, device=device, dtype=dtype, offline=offline)
    if isinstance(loaded, TextModel):
        texts = [items] if isinstance(items, str) else list(items)
        if not texts:
            raise UsageError("there is nothing to score: no text was given")
        over = windows(loaded.context, window, stride)
        return TextScores(tuple(text_scores(loaded, texts, over, batch_size=batch_size)))
    if isinstance(loaded, Scored):
        return RowScores(loaded.log_prob(items, batch_size=batch_size))
    return RowScores(_row_scores(loaded, items, batch_size))


def opened(
    model: str | Target | Model, *, device: str = "auto", dtype: str = "auto", offline: bool = False
) -> Model:
    """The loaded model, if its likelihoods can be computed. Raises CapabilityError, and what `zoo.load` raises."""
    loaded = model if isinstance(model, Model) else _loaded(model, device, dtype, offline)
    if not callable(getattr(loaded.network, scored_by(loaded.family.modality), None)):
        raise CapabilityError(
            f"{loaded.name} gives no log-likelihoods",
            hint="language models do, and models with `score` among what they can: `zoo info MODEL`",
        )
    return loaded


def _loaded(model: str | Target, device: str, dtype: str, offline: bool) -> Model:
    found = targets.find(model, offline=offline)
    if found.family.modality in api.OPENED:
        return api.load(found, device=device, dtype=dtype, offline=offline)
    network, files = api.load_network(found, device=device, dtype=dtype, offline=offline)
    return Model(found.name, found.family, found.config, network, files, found.entry, found.revision)


def scored_by(modality: str) -> str:
    """The method of a network without which `score` does not work: a text network's `step` says that it predicts
    tokens (`zoo.protocols.LanguageModel`), any other network has `log_prob`."""
    return "step" if modality == "text" else "log_prob"


@torch.inference_mode()
def _row_scores(model: Model, rows: Any, batch_size: int | None) -> tuple[float, ...]:
    """`network.log_prob(x)`: rows x (B, ...) -> log-likelihoods (B,) in nats."""
    if batch_size is not None:
        require_whole("batch_size", batch_size)
    like = next(model.network.parameters())
    x = torch.as_tensor(data_frames.values(rows) if data_frames.is_frame(rows) else rows, dtype=like.dtype)
    if x.dim() < 2 or len(x) == 0:
        raise UsageError(f"rows have the shape {tuple(x.shape)}, but must be (N, ...), N at least 1")
    if len(bad := (~x.isfinite().flatten(1).all(dim=1)).nonzero()):
        raise DataError(
            f"row {int(bad[0])} (from 0) has a value that is not a finite number", hint="leave such rows out"
        )
    parts = torch.split(x, batch_size or len(x))
    found = [model.network.log_prob(part.to(like.device)) for part in parts]  # type: ignore[operator]
    return tuple(torch.cat(found).double().tolist())
