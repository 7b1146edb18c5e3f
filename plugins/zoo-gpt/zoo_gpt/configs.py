"""What is built: one frozen config a family. Imports no torch, so the command can read it cheaply."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.errors import UsageError
from zoo.settings import Settings, setting

# Far above any model there is; a file that says more is wrong or hostile, and is refused before anything is built.
_MOST_LAYERS = 1_000
_MOST_HEADS = 10_000
_MOST_CHANNELS = 1_000_000
_MOST_TOKENS = 100_000_000


@dataclass(frozen=True)
class GPT1Config(Settings):
    """GPT-1: post-norm transformer, learned positions, tied head."""

    vocabulary: int = setting(
        40478, help="tokens in the vocabulary", minimum=1, maximum=_MOST_TOKENS, unit="tokens"
    )
    context: int = setting(512, help="longest text", minimum=1, maximum=_MOST_TOKENS, unit="tokens")
    layers: int = setting(12, help="transformer blocks", minimum=1, maximum=_MOST_LAYERS)
    width: int = setting(
        768, help="width of the residual stream", minimum=1, maximum=_MOST_CHANNELS, unit="channels"
    )
    heads: int = setting(12, help="attention heads", minimum=1, maximum=_MOST_HEADS)
    dropout: float = setting(0.0, help="share of activations dropped in training", minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        _must_divide("heads", self.heads, "width", self.width)


@dataclass(frozen=True)
class GPT2Config(Settings):
    """GPT-2 and the GPT-3 shapes: pre-norm transformer, learned positions, tied head."""

    vocabulary: int = setting(
        50257, help="tokens in the vocabulary", minimum=1, maximum=_MOST_TOKENS, unit="tokens"
    )
    context: int = setting(1024, help="longest text", minimum=1, maximum=_MOST_TOKENS, unit="tokens")
    layers: int = setting(12, help="transformer blocks", minimum=1, maximum=_MOST_LAYERS)
    width: int = setting(
        768, help="width of the residual stream", minimum=1, maximum=_MOST_CHANNELS, unit="channels"
    )
    heads: int = setting(12, help="attention heads", minimum=1, maximum=_MOST_HEADS)
    head_width: int | None = setting(
        None, help="width of a head; unset: width / heads", minimum=1, maximum=_MOST_CHANNELS, unit="channels"
    )
    dropout: float = setting(0.0, help="share of activations dropped in training", minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        if self.head_width is None:
            _must_divide("heads", self.heads, "width", self.width)


@dataclass(frozen=True)
class LlamaConfig(Settings):
    """Llama and its kin (SmolLM2, Qwen2, Qwen3): RMSNorm, rotary positions, SwiGLU, grouped queries."""

    vocabulary: int = setting(
        49152, help="tokens in the vocabulary", minimum=1, maximum=_MOST_TOKENS, unit="tokens"
    )
    context: int = setting(8192, help="longest text", minimum=1, maximum=_MOST_TOKENS, unit="tokens")
    layers: int = setting(30, help="transformer blocks", minimum=1, maximum=_MOST_LAYERS)
    width: int = setting(
        576, help="width of the residual stream", minimum=1, maximum=_MOST_CHANNELS, unit="channels"
    )
    heads: int = setting(9, help="query heads", minimum=1, maximum=_MOST_HEADS)
    key_value_heads: int = setting(
        3, help="key and value heads, each shared by heads / key_value_heads", minimum=1, maximum=_MOST_HEADS
    )
    head_width: int | None = setting(
        None, help="width of a head; unset: width / heads", minimum=2, maximum=_MOST_CHANNELS, unit="channels"
    )
    hidden: int = setting(
        1536, help="width inside the MLP", minimum=1, maximum=_MOST_CHANNELS, unit="channels"
    )
    norm_epsilon: float = setting(1e-5, help="added to the mean square in RMSNorm", above=0.0)
    rope_theta: float = setting(100000.0, help="base of the rotary wavelengths", above=0.0)
    rope_factor: float = setting(
        1.0, help="how far Llama 3's scaling stretches long wavelengths", minimum=1.0
    )
    rope_low: float = setting(
        1.0, help="wavelengths above original context / this are stretched whole", above=0.0
    )
    rope_high: float = setting(
        4.0, help="wavelengths below original context / this are not stretched", above=0.0
    )
    rope_original_context: int = setting(
        8192, help="context before stretching", minimum=1, maximum=_MOST_TOKENS, unit="tokens"
    )
    qkv_bias: bool = setting(False, help="query, key and value maps have biases, as in Qwen2")
    qk_norm: bool = setting(False, help="queries and keys pass an RMSNorm, as in Qwen3")
    tied: bool = setting(True, help="the head's weights are the token embedding")

    def __post_init__(self) -> None:
        _must_divide("key_value_heads", self.key_value_heads, "heads", self.heads)
        if self.head_width is None:
            _must_divide("heads", self.heads, "width", self.width)
        if self.each_head % 2:
            raise UsageError(
                f"the width of a head is {self.each_head}, but rotary positions need an even one"
            )
        if self.rope_factor > 1 and self.rope_high <= self.rope_low:
            raise UsageError(
                f"rope_high is {self.rope_high:g}, but must be above rope_low, {self.rope_low:g}"
            )

    @property
    def each_head(self) -> int:
        """The width of one head."""
        return self.head_width or self.width // self.heads


def _must_divide(part: str, parts: int, whole: str, size: int) -> None:
    if size % parts:
        raise UsageError(f"{part} is {parts}, but must divide {whole}, {size}")
