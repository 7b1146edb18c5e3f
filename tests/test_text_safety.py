"""Untrusted text: what a terminal would obey is gone, what a person reads stays."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.text_safety import safe_json, safe_text

HARMFUL = [chr(code) for code in range(0x3000) if unicodedata.category(chr(code)) == "Cc"]
BIDIRECTIONAL = [
    chr(code)
    for code in range(0x110000)
    if unicodedata.bidirectional(chr(code)) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
]


@pytest.mark.parametrize("character", [*HARMFUL, *BIDIRECTIONAL, "\u061c", "\u200e", "\u200f"])
def test_no_control_or_bidirectional_character_passes(character):
    shown = safe_text(f"a{character}b", newlines=True)
    assert shown == (f"a{character}b" if character in "\n\t" else "ab")


def test_one_line_stays_one_line():
    assert safe_text("a\r\nb\tc\x85d\u2028e") == "a b c d e"


def test_accents_emoji_sequences_and_right_to_left_letters_stay():
    text = "na\u00efve \u4f60\u597d \u05d0\u05d1 \U0001f469\u200d\U0001f680"
    assert safe_text(text) == text


def test_a_lone_surrogate_can_be_printed():
    assert safe_text("\udcff").encode() == "\ufffd".encode()


@given(st.text(), st.integers(0, 20))
def test_text_may_be_cut_anywhere(text, at):
    pieces = safe_text(text[:at], newlines=True) + safe_text(text[at:], newlines=True)
    assert pieces == safe_text(text, newlines=True)


@given(st.text(st.characters(exclude_categories=())))
def test_safe_json_is_the_same_value_without_raw_control_characters(text):
    written = safe_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(written) == text
    assert safe_text(written, newlines=True) == written
