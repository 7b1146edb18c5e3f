"""What the core asks of a text family: of its built module, and of its tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from zoo.modality.text import TextControls
    from zoo.nn.attention import Cache
    from zoo.noise import Noise


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

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        noise: Noise,
        controls: TextControls,
        done: Set[int] = frozenset(),
    ) -> Iterator[list[int | None]]:
        """can: sample. The next token of each row, step by step; see `zoo.nn.decode.generate`."""
        ...

    def loss(self, batch: torch.Tensor, turn: str = "main") -> torch.Tensor:
        """can: train. The mean cross-entropy of each next token, in nats. batch: (B, T + 1) token ids.

        turn: which of alternating objectives is meant; most families have one.
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

    def special_in(self, text: str) -> tuple[str, ...]:
        """The special tokens that `encode_chat` would read in a text, as they are written."""
        ...

    def decode(self, tokens: Sequence[int]) -> str: ...
