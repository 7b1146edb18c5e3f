"""Small things to train: a tokenizer of bytes, a network of pairs, and text with something to learn in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from byte_tokenizer import ByteTokenizer
from zoo.noise import Noise


class Pairs(nn.Module):
    """The next token from this one alone: a table of logits (V, V), shifted by a vector (V,)."""

    context = 8
    vocabulary = 257

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.table = nn.Parameter(0.1 * torch.randn(257, 257, generator=torch.Generator().manual_seed(3)))
        self.shift = nn.Parameter(torch.zeros(257))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.table[tokens]) + self.shift  # (B, T, V)

    def loss(self, batch: torch.Tensor, turn: str = "main", noise: Noise | None = None) -> torch.Tensor:
        return functional.cross_entropy(self(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


class Letters:
    """Rows (9,) of the alphabet going round, each from another letter on; an epoch starts at every letter."""

    unit = "letters"
    units = 8
    epoch = 26
    fingerprint = "0" * 64

    def rows(self, first: int, count: int) -> torch.Tensor:
        return 97 + (torch.arange(9) + 7 * torch.arange(first, first + count)[:, None]) % 26


@pytest.fixture
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture
def pairs() -> type[Pairs]:
    return Pairs


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def works(tmp_path: Path) -> Path:
    """Four documents of 40 lines each."""
    folder = tmp_path / "works"
    folder.mkdir()
    for name in ("ash", "birch", "cedar", "dogwood"):
        lines = (f"{name.upper()}:\nThe {name} tree counts {number} rings tonight.\n" for number in range(20))
        (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    return folder
