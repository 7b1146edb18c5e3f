"""Settings dataclasses: checks, suggestions and parsing come from the declaration."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from zoo import plugins, settings
from zoo.datasets import reading
from zoo.datasets.text import TextRules
from zoo.errors import UsageError
from zoo.settings import Settings, setting


@dataclass(frozen=True)
class Example(Settings):
    layers: int = setting(help="blocks", minimum=1)
    rate: float = setting(0.5, help="a share", above=0.0, maximum=1.0)
    k: int | None = setting(None, help="perhaps", minimum=1)
    stop: tuple[str, ...] = setting((), help="texts")
    mode: str = setting("a", help="one of two", choices=("a", "b"))
    on: bool = setting(False, help="a switch")


@dataclass(frozen=True)
class Further(Settings):
    parts: int = setting(2, help="an even number", minimum=1)
    mode: str = setting("alpha", help="one of two", choices=("alpha", "gamma"))

    def __post_init__(self) -> None:
        if self.parts % 2:
            raise UsageError(f"parts is {self.parts}, but must be even")


@dataclass(frozen=True)
class Inheriting(Further):
    more: int = setting(0, help="of its own", minimum=0)


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


def test_a_value_is_checked_however_the_settings_are_made() -> None:
    example = Example(layers=2)
    for made in (lambda: Example(layers=0), lambda: dataclasses.replace(example, layers=0)):
        with pytest.raises(UsageError, match=r"^Example: layers is 0, but must be at least 1$"):
            made()
    with pytest.raises(
        UsageError, match="mode is 'gama', but must be one of alpha, gamma; did you mean 'gamma'"
    ):
        Further(mode="gama")
    with pytest.raises(UsageError, match=r"^Example: rate is inf"):
        Example(layers=2, rate=10**400)


def test_a_class_of_its_own_checks_sees_values_that_are_checked() -> None:
    with pytest.raises(UsageError, match=r"^Further: parts is 'x', but must be a whole number$"):
        Further(parts="x")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^parts is 3, but must be even$"):
        Inheriting(parts=3)
    with pytest.raises(UsageError, match=r"^Inheriting: more is -1, but must be at least 0$"):
        Inheriting(more=-1)


def test_numbers_of_numpy_and_lists_become_what_the_field_says() -> None:
    example = Example(layers=np.int64(3), rate=np.float32(0.5), stop=["x"])  # type: ignore[arg-type]
    assert example == Example(layers=3, rate=0.5, stop=("x",))
    assert [type(value) for value in (example.layers, example.rate, example.stop)] == [int, float, tuple]


def test_what_make_has_checked_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    checked = settings.checked
    monkeypatch.setattr(settings, "checked", lambda *a, **k: looked_at.append(a[0].name) or checked(*a, **k))
    make(rate=0.25)
    assert looked_at == ["layers", "rate"]


def every_settings_class() -> Iterator[type]:
    for _, family in plugins.all_families():
        yield from (family.resolve(part) for part in ("config", "controls", "plan"))
    yield from (reading.rules_class(modality) for modality in reading._READERS)


def test_every_settings_class_of_the_house_checks_itself() -> None:
    every = set(every_settings_class())
    assert len(every) > 10
    for kind, field in ((each, field) for each in every for field in settings.fields(each)):
        wrong: list[object] = [object()]
        if field.kind in (int, float):
            wrong.append(math.nan)
        if (low := field.described.minimum) is not None:
            wrong.append(low - 1)
        if field.described.choices:
            wrong.append("none of them")
        for value in wrong:
            with pytest.raises(UsageError, match=f"^{kind.__name__}: {field.name} is "):
                dataclasses.replace(kind(), **{field.name: value})


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


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2**63 - 1, ""),
        (2**63, "9223372036854775808"),
        (10**400, "100000000000000000...000000000000000000 (401 characters)"),
        (10**5000, "a whole number of 16,610 bits"),
    ],
    ids=["largest", "one more", "400 digits", "5000 digits"],
)
def test_no_whole_number_is_beyond_what_tensors_count_with(value: int, said: str) -> None:
    if not said:
        assert make(layers=value).layers == value
        settings.require_whole("count", value)
        return
    with pytest.raises(UsageError) as caught:
        make(layers=value)
    assert str(caught.value) == f"test: layers is {said}, but must be at most 9,223,372,036,854,775,807"
    with pytest.raises(UsageError) as caught:
        settings.require_whole("count", value)
    assert (
        str(caught.value) == f"count is {said}, but must be at least 1 and at most 9,223,372,036,854,775,807"
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("10000000000", "is 10000000000, but must be at least 257 and at most 1,000,000 tokens"),
        ("9" * 400, f"{'9' * 18} (400 characters), but must be at least 257 and at most 1,000,000 tokens"),
        ("9" * 5000, "(5,002 characters), but must be a whole number"),
        ("1e9", "is '1e9', but must be a whole number"),
    ],
    ids=["a number", "400 digits", "5000 digits", "no whole number"],
)
def test_an_assignment_of_too_much_says_the_value_and_what_is_allowed(value: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings.assigned(f"data.vocabulary={value}", {"data": TextRules})
    assert said in str(caught.value)
    assert len(str(caught.value)) < 250
