"""Calls from Python: a bad one is refused by the call, not by the first sample; objects show as one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import CapabilityError, DataError, UsageError
from zoo.modality.sequence import SequenceControls
from zoo.modality.table import TableControls
from zoo.modality.text import TextControls


@pytest.fixture(scope="module")
def text() -> Any:
    return zoo.load("shakespeare-nano", device="cpu", offline=True)


@pytest.fixture(scope="module")
def table() -> Any:
    return zoo.load("digits-gmm", device="cpu", offline=True)


@pytest.fixture(scope="module")
def sequence() -> Any:
    return zoo.load("shakespeare-hmm", device="cpu", offline=True)


DRAWS = [
    ("text", "sample"),
    ("text", "samples"),
    ("text", "stream"),
    ("table", "sample"),
    ("table", "draw"),
    ("table", "parts"),
    ("sequence", "sample"),
    ("sequence", "samples"),
    ("sequence", "stream"),
]
EVERYWHERE: list[tuple[dict[str, Any], str]] = [
    ({"count": 0}, "count is 0, but must be at least 1"),
    ({"count": 2.5}, "count is 2.5, but must be a whole number"),
    ({"count": "3"}, "count is '3', but must be a whole number"),
    ({"batch_size": 0}, "batch_size is 0, but must be at least 1"),
    ({"batch_size": True}, "batch_size is True, but must be a whole number"),
    ({"seed": -1}, "seed is -1, but must be at least 0"),
    (
        {"seed": 2**63},
        "seed is 9223372036854775808, but must be at least 0 and at most 9,223,372,036,854,775,807",
    ),
    ({"seed": 1.0}, "seed is 1.0, but must be a whole number"),
    ({"start": -1}, "start is -1, but must be at least 0"),
    ({"colour": "red"}, "there is no setting 'colour'"),
    ({"controls": {"seed": 1}}, "controls is a dict, but must be"),
]
OF_ONE: list[tuple[str, dict[str, Any], str]] = [
    ("text", {"temperature": -1.0}, "temperature is -1.0, but must be at least 0"),
    ("text", {"prompt": 5}, "prompt is 5, but must be text"),
    ("text", {"prompt": ["a", 5]}, "must be text, or a list with one a sample"),
    ("text", {"prompt": ["a", "b"], "count": 3}, "count is 3, but there are 2 prompts"),
    ("text", {"prompt": "word " * 2000}, "the prompt is .* tokens long"),
    ("text", {"prompt": "\ud800"}, "not valid Unicode"),
    ("text", {"controls": TableControls()}, "controls is a TableControls, but must be TextControls"),
    ("text", {"controls": TextControls(), "top_k": 3}, "give either controls or top_k, not both"),
    ("table", {"given": {"nothing": 1.0}}, "given names the column 'nothing'"),
    ("table", {"given": {"pixel 0,0": "black"}}, "given "),
    ("sequence", {"prompt": 5}, "prompt is 5, but must be a sequence"),
    ("sequence", {"length": 0}, "length is 0, but must be at least 1"),
    ("sequence", {"controls": SequenceControls(), "length": 3}, "give either controls or length, not both"),
]


@pytest.mark.parametrize(("kind", "method"), DRAWS)
@pytest.mark.parametrize(("asked", "message"), EVERYWHERE, ids=str)
def test_a_bad_request_is_refused_by_the_call_itself(request, kind, method, asked, message):
    with pytest.raises(UsageError, match=message):
        getattr(request.getfixturevalue(kind), method)(**asked)


@pytest.mark.parametrize(("kind", "asked", "message"), OF_ONE)
def test_a_bad_setting_of_a_modality_is_refused_by_the_call_itself(request, kind, asked, message):
    for method in (method for of, method in DRAWS if of == kind):
        with pytest.raises(UsageError, match=message):
            getattr(request.getfixturevalue(kind), method)(**asked)


def test_a_prompt_of_unknown_symbols_is_refused_by_the_call_itself(sequence):
    with pytest.raises(DataError):
        sequence.samples("数")


def test_a_model_of_characters_generates_what_comes_after_the_prompt(sequence):
    [sample] = sequence.samples("ROMEO:", seed=3, length=20)
    text = sequence.generate("ROMEO:", seed=3, length=20)
    assert text == sample.drawn
    assert len(text) == 20
    with pytest.raises(UsageError, match="there is no setting 'count'"):
        sequence.generate("ROMEO:", count=2)


def test_a_model_that_cannot_is_refused_by_the_call_itself():
    with pytest.raises(CapabilityError, match="writes no text"):
        zoo.load("sunspots-hmm", device="cpu").generate()


@pytest.mark.parametrize(
    ("kind", "items"), [("text", "To be"), ("table", np.zeros((2, 64))), ("sequence", "to be")]
)
@pytest.mark.parametrize("size", [0, 1.5])
def test_scoring_refuses_a_bad_batch_size(request, kind, items, size):
    with pytest.raises(UsageError, match=f"batch_size is {size}, but must be"):
        zoo.score(request.getfixturevalue(kind), items, batch_size=size)


@pytest.mark.parametrize(
    ("data", "asked", "error"),
    [
        ("no-such-data", {}, DataError),
        (torch.zeros(0, 3), {}, UsageError),
        ("shakespeare", {"device": "tpu"}, UsageError),
        ("shakespeare", {"plan": zoo.FitPlan()}, UsageError),
    ],
    ids=["data", "rows", "device", "plan"],
)
def test_training_refuses_what_it_cannot_do_before_a_step_is_asked_for(text, data, asked, error):
    with pytest.raises(error):
        zoo.train(text, data, **asked)
    assert not text.network.training
    assert not any(weight.requires_grad for weight in text.network.parameters())


def test_models_and_entries_show_as_one_short_line(text, table, sequence):
    assert repr(text) == "<TextModel shakespeare-nano: gpt2, 2,222,208 parameters, float32 on cpu>"
    assert repr(table).startswith("<TableModel digits-gmm: gmm, ")
    assert repr(sequence).startswith("<SequenceModel shakespeare-hmm: hmm, ")
    assert repr(zoo.info("gpt2")) == (
        "<ModelEntry zoo-gpt/gpt2-small: gpt2, 124,439,808 parameters, weights: converted>"
    )
    assert all(len(repr(entry)) < 100 for entry in zoo.list_models())
