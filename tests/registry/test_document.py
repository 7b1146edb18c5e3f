"""Bounded YAML: what is read, as what, and what is refused with its line and field."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import RegistryError
from zoo.registry import document
from zoo.registry.reading import read_yaml


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of PyYAML's parsers: the one in C may be absent."""
    monkeypatch.setattr(document, "_Loader", getattr(yaml, request.param))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2020-01-01", "2020-01-01"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("''", ""),
        ("'1'", "1"),
        ("12", 12),
        ("-3", -3),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.0.0", "1.0.0"),
        ("<<", "<<"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("{}", {}),
    ],
)
def test_scalars_follow_the_core_rules_of_yaml_1_2(text: str, value: object) -> None:
    read = read_yaml(f"[{text}]", name="f")
    assert read == [value]
    assert type(read[0]) is type(value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a:\n  b: &x 1\n", "f:2: a.b: has the anchor &x; anchors are not allowed"),
        ("a:\n  - 1\n  - *x\n", "f:3: a[1]: is the alias *x; write the value out, aliases are not allowed"),
        ("a: !!int 1\n", "f:1: a: has the tag 'tag:yaml.org,2002:int'; tags are not allowed"),
        ("a: !x {b: 1}\n", "f:1: a: has the tag '!x'; tags are not allowed"),
        ("a: 1\nb: 2\na: 3\n", "f:3: a: is written twice, first on line 1; allowed: once"),
        ("a:\n  b: 1\n  'b': 2\n", "f:3: a.b: is written twice, first on line 2; allowed: once"),
        ("a:\n  1: x\n", "f:2: a: has the key 1, but keys must be text (quote it)"),
        ("true: x\n", "f:1: has the key True, but keys must be text (quote it)"),
        ("? [a]\n: x\n", "f:1: has the key ['a'], but keys must be text (quote it)"),
        ("a: 1\n---\nb: 1\n", "f:2: a second document starts here; allowed: one document a file"),
        ("a: .inf\n", "f:1: a: is '.inf', but numbers must be finite (quote text)"),
        ("a: 1e999\n", "f:1: a: is '1e999', but numbers must be finite"),
        ("a: 12345678901234567890\n", "whole numbers may have at most 19 digits (quote text)"),
        ("a: b\x07\n", "f:1: has U+0007, a character that YAML does not allow"),
        ("a: 1\nb: \ud800\n", "f:2: has U+D800, a character that YAML does not allow"),
        ("a: [1\n", "is not YAML: "),
        ("a: b: c\n", "f:1: is not YAML: "),
    ],
)
def test_what_is_not_plain_data_is_refused_with_its_line(text: str, error: str) -> None:
    with pytest.raises(RegistryError) as raised:
        read_yaml(text, name="f")
    assert error in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["[" * 5000, "- " * 3000, "? " * 3000, "{a: " * 3000])
def test_deep_nesting_is_refused_before_it_is_followed(text: str) -> None:
    with pytest.raises(RegistryError, match="is nested deeper than 16 levels"):
        read_yaml(text, name="f")


def test_sixteen_levels_are_read() -> None:
    assert read_yaml("[" * 16 + "]" * 16, name="f")
    with pytest.raises(RegistryError, match="deeper than 16"):
        read_yaml("[" * 17 + "]" * 17, name="f")


def test_size_and_count_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match="is larger than 1048576 bytes"):
        read_yaml("é" * (document.MOST_BYTES // 2 + 1), name="f")
    monkeypatch.setattr(document, "MOST_VALUES", 4)
    assert read_yaml("[1, 2, 3]", name="f") == [1, 2, 3]
    with pytest.raises(RegistryError, match=r"f:1: \[3\]: is past 4 values"):
        read_yaml("[1, 2, 3, 4]", name="f")


def test_an_empty_document_is_null_and_a_byte_order_mark_is_dropped() -> None:
    assert read_yaml("# nothing\n", name="f") is None
    assert read_yaml("\ufeffa: 1", name="f") == {"a": 1}


def test_a_hostile_key_is_escaped_and_cut_in_errors() -> None:
    key = '"\\e[31m' + "x" * 200 + '"'
    with pytest.raises(RegistryError) as raised:
        read_yaml(f"{key}: &a 1", name="f")
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value)) < 200


# what JSON can say, with whole numbers of at most 18 digits
_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_categories=["Cc"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_plain)
def test_json_is_read_as_json_reads_it(value: object) -> None:
    assert read_yaml(json.dumps(value), name="f") == value
