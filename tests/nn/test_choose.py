"""Filters keep what they should, draws follow the softmax, and a choice knows when it is a near thing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import transformers

from zoo.modality.text import TextControls
from zoo.nn.choose import choose
from zoo.noise import Noise

VOCABULARY = 40
FILTERS: list[dict[str, Any]] = [
    {"top_k": 1},
    {"top_k": 7},
    {"top_k": 1000},
    {"top_p": 0.05},
    {"top_p": 0.6},
    {"top_p": 0.95},
    {"min_p": 0.02},
    {"min_p": 0.3},
    {"top_k": 12, "top_p": 0.7},
    {"top_k": 12, "top_p": 0.9, "min_p": 0.1},
    {"temperature": 0.5, "top_p": 0.8},
    {"temperature": 2.0, "min_p": 0.1, "top_k": 20},
    {"repetition_penalty": 1.5, "top_k": 9},
    {"repetition_penalty": 0.7, "temperature": 0.7, "top_p": 0.7},
    {"frequency_penalty": 1.5, "top_k": 9},
    {"presence_penalty": -2.0, "temperature": 0.7, "top_p": 0.7},
    {"repetition_penalty": 1.5, "frequency_penalty": 0.5, "presence_penalty": 1.0, "top_k": 5},
]

OPENAI = {"frequency_penalty", "presence_penalty"}  # transformers has neither


def random_logits(rows: int, *, seed: int = 0, vocabulary: int = VOCABULARY) -> torch.Tensor:
    return 2 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


def kept(logits: torch.Tensor, controls: TextControls, text: list[int]) -> set[int]:
    """The tokens that can be chosen at all: each is, when its own noise is overwhelming."""
    vocabulary = logits.shape[-1]
    noise = torch.eye(vocabulary, dtype=torch.float64) * 1e6
    chosen, _ = choose(logits.expand(vocabulary, -1), [text] * vocabulary, noise, controls, 0.0)
    return {token for token, chose in enumerate(chosen) if chose == token}


def kept_by_definition(logits: torch.Tensor, controls: TextControls, text: list[int]) -> set[int]:
    """The filters as they are defined, token by token."""
    values = [float(value) for value in logits]
    for token in set(text):
        penalty = controls.repetition_penalty
        values[token] = values[token] / penalty if values[token] > 0 else values[token] * penalty
        values[token] -= controls.frequency_penalty * text.count(token) + controls.presence_penalty
    values = [value / controls.temperature for value in values]
    order = sorted(range(len(values)), key=lambda token: -values[token])
    order = order[: controls.top_k]
    if controls.top_p is not None:
        total = sum(math.exp(values[token]) for token in order)
        reached, nucleus = 0.0, []
        for token in order:
            if reached < controls.top_p:
                nucleus.append(token)
            reached += math.exp(values[token]) / total
        order = nucleus
    if controls.min_p is not None:
        floor = controls.min_p * math.exp(max(values))
        order = [token for token in order if math.exp(values[token]) >= floor]
    return set(order)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_the_filters_keep_what_their_definitions_keep(filters):
    controls = TextControls(**filters)
    for logits in random_logits(20):
        assert kept(logits, controls, [3, 5, 5]) == kept_by_definition(logits, controls, [3, 5, 5])


@pytest.mark.parametrize("filters", [each for each in FILTERS if not each.keys() & OPENAI], ids=str)
def test_the_filters_keep_what_those_of_transformers_keep(filters):
    controls = TextControls(**filters)
    text = [3, 5, 5]
    processors = transformers.LogitsProcessorList(
        [
            transformers.RepetitionPenaltyLogitsProcessor(controls.repetition_penalty),
            transformers.TemperatureLogitsWarper(controls.temperature),
            transformers.TopKLogitsWarper(controls.top_k or VOCABULARY),
            transformers.TopPLogitsWarper(controls.top_p or 1.0),
            transformers.MinPLogitsWarper(controls.min_p or 0.0),
        ]
    )
    for logits in random_logits(20, seed=1):
        theirs = processors(torch.tensor([text]), logits[None].clone())[0]
        assert kept(logits, controls, text) == set((theirs > -torch.inf).nonzero()[:, 0].tolist())


def test_penalties_count_what_was_written_after_the_prompt():
    controls = TextControls(greedy=True, frequency_penalty=0.5, presence_penalty=1.0)
    logits = torch.tensor([[3.0, 2.1, 1.1, 0.0]])
    for written, best in ([], 0), ([0], 1), ([1, 1], 0), ([0, 1], 0), ([0, 0, 1], 2), ([2, 3], 0):
        text = [0, 0, 0, *written]
        assert choose(logits, [text], None, controls, 0.0, [3]) == ([best], [])
    assert torch.equal(logits, torch.tensor([[3.0, 2.1, 1.1, 0.0]]))  # they are not changed


def test_filters_look_past_the_first_candidates_when_the_distribution_is_flat():
    logits = 0.01 * random_logits(1, vocabulary=900)[0]
    controls = TextControls(top_p=0.9)
    assert kept(logits, controls, []) == kept_by_definition(logits, controls, [])
    assert len(kept(logits, controls, [])) > 600


@pytest.mark.parametrize(
    "filters", [{}, {"top_k": 5}, {"top_p": 0.8, "temperature": 1.3}, {"min_p": 0.2}], ids=str
)
def test_draws_are_as_frequent_as_the_softmax_says(filters):
    controls = TextControls(**filters)
    logits = random_logits(1, seed=2, vocabulary=12)[0]
    draws, rows = 200, 100
    noise = Noise(5).rows(rows, "tokens")
    counts = torch.zeros(12)
    for _ in range(draws):
        chosen, _ = choose(logits.expand(rows, -1), [[]] * rows, noise.gumbel(12), controls, 0.0)
        counts += torch.bincount(torch.tensor(chosen), minlength=12)
    keep = sorted(kept_by_definition(logits, controls, []))
    expected = (logits[keep] / controls.temperature).softmax(-1) * draws * rows
    assert counts.sum() == counts[keep].sum()
    chi_square = ((counts[keep] - expected) ** 2 / expected).sum()
    freedom = len(keep) - 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)  # four standard deviations above its mean


@pytest.mark.parametrize("controls", [TextControls(greedy=True), TextControls(temperature=0.0, top_k=3)])
def test_greedy_takes_the_largest_logit_whatever_the_noise(controls):
    logits = random_logits(30)
    chosen, _ = choose(logits, [[]] * 30, None, controls, 0.0)
    assert chosen == logits.argmax(-1).tolist()


def test_equal_logits_go_to_the_first_token_when_greedy():
    logits = torch.zeros(1, 300)
    logits[0, [17, 200]] = 1.0
    assert choose(logits, [[]], None, TextControls(greedy=True), 0.0) == ([17], [])
    assert choose(logits, [[]], None, TextControls(greedy=True), 1e-3) == ([17], [0])


@pytest.mark.parametrize("filters", [{"greedy": True}, {}, *FILTERS], ids=str)
def test_a_choice_that_an_error_within_the_tolerance_changes_was_called_doubtful(filters):
    controls = TextControls(**filters)
    rows, tolerance = 2000, 0.01
    logits = random_logits(rows, seed=3)
    texts = [[3, 5, 5]] * rows
    noise = None if controls.greedy else Noise(1).rows(1, "x").gumbel(rows, VOCABULARY)[0]
    chosen, doubtful = choose(logits, texts, noise, controls, tolerance)
    sure = torch.ones(rows, dtype=torch.bool)
    sure[doubtful] = False
    assert 0.4 < sure.float().mean() < 1
    generator = torch.Generator().manual_seed(9)
    changed = torch.zeros(rows, dtype=torch.bool)
    for _ in range(5):
        error = tolerance * torch.randint(-1, 2, logits.shape, generator=generator)
        again, _ = choose(logits + error, texts, noise, controls, 0.0)
        changed |= torch.tensor(again) != torch.tensor(chosen)
    assert changed.any()  # else this says nothing
    assert not (changed & sure).any()
