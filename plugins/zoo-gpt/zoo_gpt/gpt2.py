"""GPT-2: a decoder-only transformer with pre-norm blocks, learned positions and a head tied to the embedding.

Source: Radford et al., "Language models are unsupervised multitask learners", 2019. The GPT-3 shapes (Brown et al.,
2020) are built by the same code; their alternating sparse attention is dense here.

Shapes: B rows, T tokens, E width, H heads, D head width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set

import torch
from torch import nn
from torch.nn import functional

from zoo.modality.text import TextControls
from zoo.nn.attention import Cache, Positions
from zoo.nn.decode import generate
from zoo.nn.likelihood import next_token_loss
from zoo.nn.linear import Embedding, Linear
from zoo.noise import Noise
from zoo_gpt.configs import GPT2Config


class Attention(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.heads = config.heads
        inner = config.heads * (config.head_width or config.width // config.heads)
        self.qkv = Linear(config.width, 3 * inner)
        self.out = Linear(inner, config.width)

    def forward(self, x: torch.Tensor, layer: int, positions: Positions) -> torch.Tensor:
        rows, new, _ = x.shape
        q, k, v = (
            self.qkv(x).view(rows, new, 3 * self.heads, -1).transpose(1, 2).chunk(3, dim=1)
        )  # (B, H, T, D)
        mixed = positions.attend(layer, q, k, v)  # (B, H, T, D)
        out: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(rows, new, -1))  # (B, T, E)
        return out


class MLP(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.up = Linear(config.width, 4 * config.width)
        self.down = Linear(4 * config.width, config.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down(functional.gelu(self.up(x), approximate="tanh"))
        return out


class Block(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.norm_2 = nn.LayerNorm(config.width)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, layer: int, positions: Positions) -> torch.Tensor:
        x = x + self.dropout(self.attention(self.norm_1(x), layer, positions))
        out: torch.Tensor = x + self.dropout(self.mlp(self.norm_2(x)))
        return out


class GPT2(nn.Module):
    """Token ids (B, T) to logits (B, T, V)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.context = config.context
        self.vocabulary = config.vocabulary
        self.tokens = Embedding(config.vocabulary, config.width)
        self.positions = Embedding(config.context, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.initialise()

    def initialise(self) -> None:
        """The paper's initial weights: N(0, 0.02), layers that end a residual branch scaled by 1 / sqrt(2 layers)."""
        if self.tokens.weight.is_meta:
            return  # weights will be assigned; drawing on the meta device costs over a second
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:
                ends_branch = name.endswith(("attention.out.weight", "mlp.down.weight"))
                nn.init.normal_(weight, std=0.02 / (math.sqrt(2 * self.config.layers) if ends_branch else 1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self._body(tokens, Positions(tokens, None)))

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.tokens.logits(x)

    def _body(self, tokens: torch.Tensor, positions: Positions) -> torch.Tensor:
        x = self.dropout(self.tokens(tokens) + self.positions(positions.positions))  # (B, T, E)
        for layer, block in enumerate(self.blocks):
            x = block(x, layer, positions)
        out: torch.Tensor = self.norm(x)
        return out

    def loss(self, batch: torch.Tensor, turn: str = "main", noise: Noise | None = None) -> torch.Tensor:
        """Mean cross-entropy of each next token, in nats. batch: (B, T + 1) token ids."""
        del turn, noise  # one objective, and nothing drawn but dropout
        return next_token_loss(self, batch)

    def new_cache(self, rows: int, capacity: int) -> Cache:
        config = self.config
        width = config.head_width or config.width // config.heads
        return Cache(config.layers, rows, config.heads, capacity, width, like=self.tokens.weight)

    def step(self, tokens: torch.Tensor, cache: Cache, counts: torch.Tensor | None = None) -> torch.Tensor:
        positions = Positions(tokens, cache, counts)
        return self.head(positions.last(self._body(tokens, positions)))

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        noise: Noise,
        controls: TextControls,
        done: Set[int] = frozenset(),
    ) -> Iterator[list[int | None]]:
        """Continue each prompt; see `zoo.nn.decode.generate`."""
        return generate(self, prompts, noise, controls, done=done)


def build(config: GPT2Config) -> GPT2:
    return GPT2(config)
