"""Scores of texts against sums by hand; what cannot be scored; other modalities by their log_prob."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from byte_tokenizer import ByteTokenizer
from zoo.errors import CapabilityError, DataError, UsageError, WeightsError
from zoo.evaluation.text import token_texts
from zoo.model import Model

TEXTS = ["to be", "or not to be, that is the question", "é", "\n", " "]


def test_the_log_likelihood_is_the_sum_over_all_tokens_from_the_start_on(model, chain_log_likelihood):
    chain = model()
    found = zoo.score(chain, TEXTS)
    table = chain.network.table.detach()
    for item, text in zip(found.items, TEXTS, strict=True):
        assert item.text == text
        assert item.log_likelihood == pytest.approx(chain_log_likelihood(table, text), rel=1e-6)
        assert item.log_likelihood == pytest.approx(float(item.log_probs.sum()))
        assert (item.tokens, item.bytes) == (len(text.encode()), len(text.encode()))
        assert item.ids.tolist() == list(text.encode())
        assert item.bits_per_byte == pytest.approx(-item.log_likelihood / math.log(2) / item.bytes)
        assert item.nats_per_token == pytest.approx(-item.log_likelihood / item.tokens)
        assert item.exact


def test_totals_and_means_are_over_all_texts(model):
    found = zoo.score(model(), TEXTS)
    total = sum(item.log_likelihood for item in found.items)
    assert found.log_likelihood == pytest.approx(total)
    assert found.mean == pytest.approx(total / 5)
    assert (found.tokens, found.bytes) == (43, 43)
    assert found.nats_per_token == pytest.approx(-total / 43)
    assert found.bits_per_byte == pytest.approx(-total / 43 / math.log(2))


def test_one_text_may_stand_alone(model):
    assert [item.text for item in zoo.score(model(), "to be").items] == ["to be"]


def test_scores_do_not_depend_on_what_is_computed_together(tiny):
    texts = ["x" * length for length in (3, 70, 1, 200, 64)] + [
        "A rose by any other name",
        "would smell as sweet",
    ]
    alone = [zoo.score(tiny, text).items[0] for text in texts]
    for batch_size in (1, 2, 5, None):
        together = zoo.score(tiny, texts, batch_size=batch_size).items
        for one, many in zip(alone, together, strict=True):
            assert many.nats_per_token == pytest.approx(one.nats_per_token, abs=1e-5)
            np.testing.assert_allclose(many.log_probs, one.log_probs, rtol=0, atol=1e-5)


def test_it_is_told_how_many_windows_a_text_took(tiny):
    scores = zoo.score(tiny, ["x" * length for length in (64, 65, 96, 97)])
    assert [item.windows for item in scores.items] == [1, 2, 2, 3]


def test_a_model_may_be_named(tiny_gpt2: Path, tiny):
    named = zoo.score(str(tiny_gpt2), ["to be"], device="cpu")
    assert named.log_likelihood == zoo.score(tiny, ["to be"]).log_likelihood
    half = zoo.score(str(tiny_gpt2), ["to be"], device="cpu", dtype="bfloat16").log_likelihood
    assert half != named.log_likelihood
    assert half == pytest.approx(named.log_likelihood, rel=0.02)


class Prefixed(ByteTokenizer):
    """Puts two tokens before every text itself."""

    def encode(self, text):
        return [7, 8, *text.encode()]


def test_what_a_tokenizer_puts_in_front_is_seen_and_not_predicted(model):
    chain = model(tokenizer=Prefixed)
    table = chain.network.table.detach().log_softmax(-1)
    [item] = zoo.score(chain, "ab").items
    assert item.ids.tolist() == [97, 98]
    assert item.log_likelihood == pytest.approx(float(table[8, 97] + table[97, 98]), rel=1e-6)


class Newline(ByteTokenizer):
    """Begins a text that has no prompt with a line feed, which a text may also begin with."""

    start = (10,)


def test_a_text_that_begins_as_the_start_does_pays_for_it_all_the_same(model):
    assert zoo.score(model(tokenizer=Newline), "\na").tokens == 2


class Small(ByteTokenizer):
    """Knows small letters only."""

    def encode(self, text):
        return [byte for byte in text.lower().encode() if 97 <= byte <= 122]


def test_it_is_told_when_the_tokenizer_changes_a_text(model):
    assert [
        item.exact for item in zoo.score(model(tokenizer=Small), ["abc", "Abc", " abc\n", "a b"]).items
    ] == [
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a", ""], "text 2 has nothing to predict"),
        (["a", "1"], "text 2 has nothing to predict: the tokenizer of chain"),
    ],
)
def test_a_text_without_tokens_has_no_score(model, texts, said):
    with pytest.raises(DataError, match=said):
        zoo.score(model(tokenizer=Small), texts)


def test_text_that_cannot_be_encoded_is_named(tiny):
    with pytest.raises(DataError, match="text 2 cannot be encoded: the text is not valid Unicode"):
        zoo.score(tiny, ["a", "\udcff"])


class Foreign(ByteTokenizer):
    def encode(self, text):
        return [300 + byte for byte in text.encode()]


def test_another_models_tokenizer_is_found_out(model):
    with pytest.raises(
        WeightsError, match="text 1 has the token id 397, but the network of chain knows 0 to 256"
    ):
        zoo.score(model(tokenizer=Foreign), ["a"])


def test_without_a_tokenizer_there_is_no_text(model):
    with pytest.raises(CapabilityError, match="chain has no tokenizer files"):
        zoo.score(model(tokenizer=None), ["a"])


@pytest.mark.parametrize("asked", [{"batch_size": 0}, {"window": 9}, {"window": 0}, {"stride": 9}])
def test_settings_out_of_range_are_refused(model, asked):
    with pytest.raises(UsageError, match=next(iter(asked))):
        zoo.score(model(), ["a"], **asked)


def test_nothing_to_score_is_refused(model):
    with pytest.raises(UsageError, match="no text was given"):
        zoo.score(model(), [])


def test_what_is_not_a_number_is_not_hidden(model):
    table = torch.zeros(257, 257)
    table[98] = math.nan
    found = zoo.score(model(table=table), ["a", "ba", "c"])
    assert [math.isnan(item.log_likelihood) for item in found.items] == [False, True, False]
    assert math.isnan(found.log_likelihood)


@pytest.mark.parametrize("text", ["plain", "é€😀", "", "a\tb\n"])
def test_the_texts_of_tokens_joined_are_the_text(text):
    tokenizer = ByteTokenizer()
    pieces = token_texts(tokenizer, tokenizer.encode(text))
    assert "".join(pieces) == text
    assert len(pieces) == len(text.encode())


class Gaussian(nn.Module):
    """Rows (B, 2) of independent standard normal numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        assert len(x) <= 2
        return torch.distributions.Normal(self.mean, 1).log_prob(x).sum(-1)


def table_model(model, network) -> Model:
    family = dataclasses.replace(model().family, name="gaussian", modality="table")
    return Model("bell", family, None, network, {})


def test_rows_of_another_modality_are_scored_by_the_networks_log_prob(model):
    rows = [[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]]
    found = zoo.score(table_model(model, Gaussian()), rows, batch_size=2)
    by_hand = [-math.log(2 * math.pi) - (x * x + y * y) / 2 for x, y in rows]
    assert found.items == pytest.approx(by_hand, rel=1e-6)
    assert found.mean == pytest.approx(sum(by_hand) / 3)
    assert json.dumps(found.items)


@pytest.mark.parametrize("rows", [[], [1.0, 2.0], torch.zeros(0, 2)])
def test_rows_must_be_rows(model, rows):
    with pytest.raises(UsageError, match="rows have the shape"):
        zoo.score(table_model(model, Gaussian()), rows)


def test_rows_of_another_modality_may_be_a_data_frame_and_must_be_finite(model):
    rows = [[0.0, 0.0], [1.0, math.nan]]
    frame = pytest.importorskip("pandas").DataFrame(rows, columns=["x", "y"])
    bell = table_model(model, Gaussian())
    assert zoo.score(bell, frame[:1]).items == zoo.score(bell, rows[:1]).items
    for given in (frame, rows):
        with pytest.raises(DataError, match=r"row 1 \(from 0\) has a value that is not a finite number"):
            zoo.score(bell, given)


def test_a_model_without_likelihoods_says_so(model):
    with pytest.raises(CapabilityError, match="bell gives no log-likelihoods"):
        zoo.score(table_model(model, nn.Linear(2, 2)), [[0.0, 0.0]])
