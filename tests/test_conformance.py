"""Every model of every installed plugin keeps what its registry entry promises."""

from __future__ import annotations

import dataclasses

import pytest

import zoo
from zoo.testing.conformance import findings


@pytest.mark.parametrize("name", [entry.qualified for entry in zoo.list_models(installed=True)])
def test_the_model_keeps_its_promises(name: str) -> None:
    assert findings(zoo.info(name)) == []


def test_a_wrong_parameter_count_is_found() -> None:
    entry = dataclasses.replace(zoo.info("gpt2-small"), parameters=1)
    assert findings(entry) == ["the registry says 1 parameters, the module has 124,439,808"]


def test_a_promise_without_a_method_and_a_method_without_a_promise_are_found() -> None:
    entry = dataclasses.replace(zoo.info("gpt2-small"), can=("sample", "encode"))
    assert findings(entry) == [
        "can: 'train' is not said, but loss() is there",
        "can: 'encode' is said, but encode() is not there",
        "can: 'score' is not said, but step() is there",
    ]
