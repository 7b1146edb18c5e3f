"""What a built module can do, as small protocols: its methods say it, the registry file's `can:` repeats it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from zoo.nn.attention import Cache
    from zoo.noise import Noise


@runtime_checkable
class Samples(Protocol):
    """can: sample. Draws `count` values, yielding partial results (an image at this step) and last the whole."""

    def sample(self, count: int, noise: Noise, controls: Any) -> Iterator[Any]: ...


@runtime_checkable
class LearnsByGradient(Protocol):
    """can: train. The mean loss of a batch, in nats. `turns` names alternating objectives; most have one."""

    def loss(self, batch: Any, turn: str) -> torch.Tensor: ...


@runtime_checkable
class LanguageModel(Protocol):
    """A text family's module: token ids (B, T) to logits (B, T, V), and one step of that with a key-value cache.

    context: the most tokens a row may have. `zoo.nn.decode.generate` samples from any module of this shape.
    """

    context: int
    vocabulary: int

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor: ...

    def new_cache(self, rows: int, capacity: int) -> Cache: ...

    def step(self, tokens: torch.Tensor, cache: Cache, counts: torch.Tensor | None = None) -> torch.Tensor:
        """tokens (B, T), appended to the cache -> logits (B, V) after each row's last real token.

        counts: (B,) real tokens of each row, the rest is padding at the right; None when all are real.
        """
        ...


class Tokenizer(Protocol):
    """Text to token ids and back. end: the ids that end a text. chat_template: Jinja text, or "" for a base model."""

    vocabulary: int
    end: frozenset[int]
    chat_template: str
    special: dict[str, str]  # names a template uses, such as bos_token, to their text
    start: tuple[int, ...]  # what a text without a prompt starts from; never empty

    def encode(self, text: str) -> list[int]: ...

    def encode_chat(self, text: str) -> list[int]:
        """As `encode`, for text that a chat template made: special tokens in it are read as such."""
        ...

    def decode(self, tokens: Sequence[int]) -> str: ...


class TokenizerLoader(Protocol):
    def __call__(self, files: dict[str, Path]) -> Tokenizer | None: ...
