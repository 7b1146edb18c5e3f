"""Llama and its kin: a pre-norm transformer with RMSNorm, rotary positions, SwiGLU and grouped-query attention.

Source: Touvron et al., "Llama 2", 2023. Qwen2 (Yang et al., 2024) adds biases to the query, key and value maps; Qwen3
(Yang et al., 2025) instead normalises each query and key. SmolLM2 (Allal et al., 2025) is a Llama.

Shapes: B rows, T tokens, E width, H query heads, K key-value heads, D head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from zoo.modality.text import TextControls
from zoo.nn.attention import Cache, Positions
from zoo.nn.decode import generate
from zoo.nn.likelihood import next_token_loss
from zoo.nn.linear import Embedding, Linear
from zoo.nn.rope import Rotation, frequencies, stretched
from zoo.noise import Noise
from zoo_gpt.configs import LlamaConfig


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) times a learned scale; computed in float32 whatever x is."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        scale = (wide.square().mean(dim=-1, keepdim=True) + self.epsilon).rsqrt()
        return self.weight * (wide * scale).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.width = config.each_head
        queries, keys = config.heads * self.width, config.key_value_heads * self.width
        self.q = Linear(config.width, queries, bias=config.qkv_bias)
        self.k = Linear(config.width, keys, bias=config.qkv_bias)
        self.v = Linear(config.width, keys, bias=config.qkv_bias)
        self.out = Linear(queries, config.width, bias=False)
        self.q_norm = RMSNorm(self.width, config.norm_epsilon) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.width, config.norm_epsilon) if config.qk_norm else nn.Identity()

    def forward(self, x: torch.Tensor, layer: int, positions: Positions, rotation: Rotation) -> torch.Tensor:
        rows, new, _ = x.shape
        heads = (rows, new, -1, self.width)
        q = rotation.turn(self.q_norm(self.q(x).view(heads)).transpose(1, 2))  # (B, H, T, D)
        k = rotation.turn(self.k_norm(self.k(x).view(heads)).transpose(1, 2))  # (B, K, T, D)
        v = self.v(x).view(heads).transpose(1, 2)
        mixed = positions.attend(layer, q, k, v)  # (B, H, T, D)
        out: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(rows, new, -1))  # (B, T, E)
        return out


class MLP(nn.Module):
    """SwiGLU (Shazeer, 2020)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate = Linear(config.width, config.hidden, bias=False)
        self.up = Linear(config.width, config.hidden, bias=False)
        self.down = Linear(config.hidden, config.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.norm_1 = RMSNorm(config.width, config.norm_epsilon)
        self.attention = Attention(config)
        self.norm_2 = RMSNorm(config.width, config.norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: torch.Tensor, layer: int, positions: Positions, rotation: Rotation) -> torch.Tensor:
        x = x + self.attention(self.norm_1(x), layer, positions, rotation)
        out: torch.Tensor = x + self.mlp(self.norm_2(x))
        return out


class Llama(nn.Module):
    """Token ids (B, T) to logits (B, T, V)."""

    absent: ClassVar[Mapping[str, str]] = {
        "unembed.weight": "there is no lm_head.weight, though config.json leaves tie_word_embeddings false: set it"
        " true if the model's head is its embedding, else get the weights whole"
    }

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.context = config.context
        self.vocabulary = config.vocabulary
        self.tokens = Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_epsilon)
        self.unembed = None if config.tied else Linear(config.width, config.vocabulary, bias=False)
        self.initialise()

    def initialise(self) -> None:
        """N(0, 0.02), biases zero, as the families' own training code starts."""
        if self.tokens.weight.is_meta:
            return  # weights will be assigned; drawing on the meta device costs over a second
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self._body(tokens, Positions(tokens, None)))

    def head(self, x: torch.Tensor) -> torch.Tensor:
        if self.unembed is None:
            return self.tokens.logits(x)
        logits: torch.Tensor = self.unembed(x)
        return logits

    def _body(self, tokens: torch.Tensor, positions: Positions) -> torch.Tensor:
        x: torch.Tensor = self.tokens(tokens)  # (B, T, E)
        rotation = Rotation(positions.positions, self._frequency(x.device), x.dtype)
        for layer, block in enumerate(self.blocks):
            x = block(x, layer, positions, rotation)
        out: torch.Tensor = self.norm(x)
        return out

    def _frequency(self, device: torch.device) -> torch.Tensor:
        c = self.config
        frequency = frequencies(c.each_head, c.rope_theta, device=device)
        if c.rope_factor == 1:
            return frequency
        return stretched(frequency, c.rope_factor, c.rope_low, c.rope_high, c.rope_original_context)

    def loss(self, batch: torch.Tensor, turn: str = "main", noise: Noise | None = None) -> torch.Tensor:
        """Mean cross-entropy of each next token, in nats. batch: (B, T + 1) token ids."""
        del turn, noise  # one objective, and nothing drawn but dropout
        return next_token_loss(self, batch)

    def new_cache(self, rows: int, capacity: int) -> Cache:
        c = self.config
        return Cache(c.layers, rows, c.key_value_heads, capacity, c.each_head, like=self.tokens.weight)

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


def build(config: LlamaConfig) -> Llama:
    return Llama(config)
