"""Settings dataclasses: checks, suggestions and parsing come from the declaration."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from zoo import settings
from zoo.errors import UsageError
from zoo.settings import setting


@dataclass(frozen=True)
class Example:
    layers: int = setting(help="blocks", minimum=1)
    rate: float = setting(0.5, help="a share", above=0.0, maximum=1.0)
    k: int | None = setting(None, help="perhaps", minimum=1)
    stop: tuple[str, ...] = setting((), help="texts")
    mode: str = setting("a", help="one of two", choices=("a", "b"))
    on: bool = setting(False, help="a switch")


def make(**values: object) -> Example:
    return settings.make(Example, {"layers": 2, **values}, what="test")


def test_values_are_kept_with_their_types() -> None:
    assert make(rate=1, stop=["x", "y"], k=None) == Example(layers=2, rate=1.0, stop=("x", "y"), k=None)
    assert isinstance(make(rate=1).rate, float)


def test_one_text_stands_for_a_tuple_of_one() -> None:
    assert make(stop="end").stop == ("end",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": 0}, "test: layers is 0, but must be at least 1"),
        ({"rate": 0.0}, "test: rate is 0.0, but must be above 0 and at most 1"),
        ({"rate": 1.5}, "test: rate is 1.5, but must be above 0 and at most 1"),
        ({"rate": float("nan")}, "test: rate is nan, but must be above 0 and at most 1"),
        ({"layers": "3"}, "test: layers is '3', but must be a whole number"),
        ({"layers": True}, "test: layers is True, but must be a whole number"),
        ({"on": 1}, "test: on is 1, but must be true or false"),
        ({"mode": "c"}, "test: mode is 'c', but must be one of a, b"),
        ({"k": 0}, "test: k is 0, but must be at least 1"),
        ({"layer": 3}, "test: there is no setting 'layer'; did you mean 'layers'?"),
        ({"zzz": 3}, "test: there is no setting 'zzz'; allowed: layers, rate, k, stop, mode, on"),
    ],
)
def test_a_bad_value_is_refused_with_value_and_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(**values)
    assert str(caught.value) == message


def test_a_missing_required_setting_is_named() -> None:
    with pytest.raises(UsageError, match="test: missing layers"):
        settings.make(Example, {}, what="test")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("layers", "3", 3),
        ("rate", "1e-1", 0.1),
        ("k", "none", None),
        ("k", "7", 7),
        ("stop", "a,b", ("a", "b")),
        ("on", "true", True),
        ("mode", "b", "b"),
    ],
)
def test_text_becomes_the_fields_type(name: str, text: str, value: object) -> None:
    field = {field.name: field for field in settings.fields(Example)}[name]
    assert settings.parse(field, text, what="test") == value


@pytest.mark.parametrize(("name", "text"), [("layers", "3.5"), ("rate", "x"), ("on", "yes"), ("layers", "0")])
def test_text_of_another_type_is_refused(name: str, text: str) -> None:
    field = {field.name: field for field in settings.fields(Example)}[name]
    with pytest.raises(UsageError, match=f"test: {name} is"):
        settings.parse(field, text, what="test")


def test_plain_data_makes_the_same_settings_again() -> None:
    example = make(stop=["x"], k=3)
    assert settings.make(Example, settings.plain(example), what="test") == example
