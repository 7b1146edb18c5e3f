"""What the core asks of a family's built module, by what it can do, and of a text family's tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo.datasets.material import Passes
    from zoo.modality.text import TextControls
    from zoo.nn.attention import Cache
    from zoo.noise import Noise


class Trainable(Protocol):
    """can: train. What the one training loop asks of a module."""

    def loss(self, batch: Any, turn: str, noise: Noise) -> torch.Tensor | Mapping[str, torch.Tensor]:
        """The mean over the batch's rows of what is minimised; or that as "loss", with other scalars to be shown.

        batch: what the modality's rows are (see `zoo.datasets.material.Rows`), on the module's device. turn: which of
        alternating objectives is meant, "main" when there is one. noise: `noise.rows(B, name)` gives each row a
        generator that depends on the seed and on the row's number in the run; whatever is drawn but dropout comes
        from there, so that it is the same however the batch is shared out. Turns that see the same rows draw the
        same from a stream of one name; a stream with the turn in its name is that turn's own.
        """
        ...


class Alternating(Trainable, Protocol):
    """A module with several objectives, each of which changes a part of its own, such as critic and generator.

    turns: their names in the order of a step. One that comes twice is trained twice a step, each time on other rows;
    turns of different names see the same rows. They may depend on the config, as ("critic",) * 5 + ("generator",).
    """

    turns: tuple[str, ...]

    def part(self, turn: str) -> nn.Module:
        """The submodule whose parameters this turn changes; no two turns' parts share one.

        Parameters of other parts get no gradients in this turn, but gradients flow through them. Buffers, such as
        running statistics, change in every turn that computes with them.
        """
        ...


class Paced(Alternating, Protocol):
    """Objectives that learn at rates of their own, as in Heusel et al., "GANs trained by a two time-scale update
    rule converge to a local Nash equilibrium", 2017.

    rates: what a turn's learning rate is multiplied by; one that is not named has the plan's.
    """

    rates: Mapping[str, float]


class Fittable(Protocol):
    """can: fit. A module fitted by passes over the data, such as expectation maximisation, not by gradients.

    A module that learns from a batch a step has `rows_a_step`, how many rows that is; 0, or none, is all of them.
    """

    def fit(
        self, data: Passes, noise: Noise, state: dict[str, torch.Tensor]
    ) -> Iterator[Mapping[str, float]]:
        """Improve the module step by step, for as long as it is asked; yields after each step what it brought.

        The first entry is "log_likelihood": the mean over rows, in nats, under the parameters before the step, or its
        lower bound. "converged" is 1 when no further step is worth it. The module's parameters are at every step
        those to keep.
        state: empty at first; whatever else the next step needs, kept up to date in place. A module with its
        parameters and `state` as they were after a step goes on to the same bits.
        """
        ...


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

    def loss(self, batch: torch.Tensor, turn: str = "main", noise: Noise | None = None) -> torch.Tensor:
        """can: train. The mean cross-entropy of each next token, in nats. batch: (B, T + 1) token ids."""
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


class BytewiseTokenizer(Tokenizer, Protocol):
    """A tokenizer some of whose tokens stand for bytes, which may be a part of a character."""

    def bytes_of(self, token: int) -> bytes | None:
        """What the token adds to the UTF-8 of any text, whatever comes before it; none for an id it leaves out.

        None for a token whose text depends on its neighbours; `decode` says that one, in whole characters.
        """
        ...
