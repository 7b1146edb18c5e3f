"""The small things to train that three folders of tests share, and text models to measure."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from byte_tokenizer import ByteTokenizer
from training_fixtures import letters, pairs, tokenizer, works
from zoo import targets
from zoo.modality.text_model import TextModel

__all__ = ["letters", "pairs", "tokenizer", "works"]


class Chain(nn.Module):
    """The next token from this one alone: its logits are a row of the table. seen: the shapes of its inputs."""

    vocabulary = 257

    def __init__(self, table: torch.Tensor, context: int) -> None:
        super().__init__()
        self.table, self.context = nn.Parameter(table), context
        self.seen: list[tuple[int, ...]] = []

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        assert tokens.shape[1] <= self.context
        self.seen.append(tuple(tokens.shape))
        return self.table[tokens]  # (B, T, V)

    def step(self, tokens: Any, cache: Any, counts: Any = None) -> torch.Tensor:
        raise NotImplementedError  # scoring asks that it is there, and calls the module as a whole


@pytest.fixture
def model() -> Callable[..., TextModel]:
    """A text model that is a chain of bytes with random logits, and a token a byte."""

    def make(
        *, context: int = 8, tokenizer: Any = ByteTokenizer, table: torch.Tensor | None = None
    ) -> TextModel:
        if table is None:
            table = torch.randn(257, 257, generator=torch.Generator().manual_seed(5))
        family = targets.find("gpt2").family
        network = Chain(table, context).eval()
        return TextModel("chain", family, None, network, {}, tokenizer=tokenizer and tokenizer())

    return make


def by_hand(table: torch.Tensor, text: str) -> float:
    """The text's log-likelihood in nats under a chain, one token after the other, begun by the end token."""
    total, before = 0.0, 256
    for byte in text.encode():
        exponents = [math.exp(value) for value in table[before].tolist()]
        total += math.log(exponents[byte] / sum(exponents))
        before = byte
    return total


@pytest.fixture
def chain_log_likelihood() -> Callable[[torch.Tensor, str], float]:
    return by_hand


@pytest.fixture(scope="session")
def tiny(tiny_gpt2: Path) -> TextModel:
    """A GPT-2 whose every prediction depends on all that came before: context 64, a token a byte."""
    from zoo import api

    return api.load(str(tiny_gpt2), device="cpu")
