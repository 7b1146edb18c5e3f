"""Bits per byte, against sums taken by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from zoo.errors import DataError
from zoo.evaluation.text import bits_per_byte


class Sees(nn.Module):
    """Is sure of the right next letter when it sees as many tokens as `needs`, and has no idea otherwise."""

    vocabulary = 257

    def __init__(self, needs: int, context: int) -> None:
        super().__init__()
        self.needs, self.context = needs, context
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*tokens.shape, 257)
        following = (tokens - 97 + 1) % 26 + 97
        sure = 1e4 * nn.functional.one_hot(following, 257)
        sees = torch.arange(1, tokens.shape[1] + 1) >= self.needs
        return torch.where(sees[:, None], sure, logits) + self.nothing


ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def test_a_network_without_any_idea_costs_the_logarithm_of_its_vocabulary(tokenizer):
    found = bits_per_byte(Sees(1000, 8), tokenizer, ["abc" * 50, "d"])
    assert found.per_byte == pytest.approx(math.log2(257))
    assert (found.bytes, found.tokens) == (151, 151)


def test_bytes_are_counted_not_characters(tokenizer):
    assert bits_per_byte(Sees(1000, 8), tokenizer, ["é"]).bytes == 2


@pytest.mark.parametrize("length", [1, 2, 6, 7, 8, 9, 16, 17, 26])
def test_every_token_is_predicted_once_whatever_the_length(pairs, tokenizer, length):
    network, text = pairs(), ALPHABET[:length]
    ids = torch.tensor([256, *text.encode()])
    table = torch.log_softmax(network.table + network.shift, -1)
    by_hand = -float(table[ids[:-1], ids[1:]].detach().double().sum()) / math.log(2) / length
    found = bits_per_byte(network, tokenizer, [text])
    assert found.tokens == length
    assert found.per_byte == pytest.approx(by_hand, rel=1e-5)


def test_a_token_sees_at_least_half_a_window_once_there_is_so_much_text(tokenizer):
    text = ALPHABET * 3
    assert bits_per_byte(Sees(5, 8), tokenizer, [text]).per_byte == pytest.approx(
        math.log2(257) * 4 / 78, rel=1e-4
    )
    assert bits_per_byte(Sees(6, 8), tokenizer, [text]).per_byte > math.log2(257) * 10 / 78


def test_a_shorter_window_is_kept_to(tokenizer):
    assert bits_per_byte(Sees(5, 8), tokenizer, [ALPHABET], window=4).per_byte == pytest.approx(
        math.log2(257)
    )
    longer = bits_per_byte(Sees(5, 8), tokenizer, [ALPHABET], window=100)
    assert longer == bits_per_byte(Sees(5, 8), tokenizer, [ALPHABET])


def test_without_text_there_is_nothing_to_measure(tokenizer):
    with pytest.raises(DataError, match="there is no text to measure on"):
        bits_per_byte(Sees(1, 8), tokenizer, ["", ""])
