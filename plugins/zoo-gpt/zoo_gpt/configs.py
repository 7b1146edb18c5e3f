"""What is built: one frozen config a family. Imports no torch, so the command can read it cheaply."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.settings import setting


@dataclass(frozen=True)
class GPT2Config:
    """GPT-2 and the GPT-3 shapes: pre-norm transformer, learned positions, tied head."""

    vocabulary: int = setting(50257, help="tokens in the vocabulary", minimum=1, unit="tokens")
    context: int = setting(1024, help="longest text", minimum=1, unit="tokens")
    layers: int = setting(12, help="transformer blocks", minimum=1)
    width: int = setting(768, help="width of the residual stream", minimum=1, unit="channels")
    heads: int = setting(12, help="attention heads", minimum=1)
    head_width: int | None = setting(None, help="width of a head; width / heads when unset", minimum=1, unit="channels")
    dropout: float = setting(0.0, help="share of activations dropped in training", minimum=0.0, maximum=1.0)
