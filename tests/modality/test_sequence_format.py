"""What the frames of a model's sequences are: read, written, and taken from and to what a person has."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sequence_witness as witness
from zoo.datasets.table_columns import Columns, unscaled
from zoo.errors import DataError
from zoo.modality.sequence_format import FILE, LETTERS, Format, folded, read

FOLDED = Format(tuple(LETTERS), unscaled(("symbol",)), text=True, letters=True)


@pytest.mark.parametrize("form", [witness.LETTERS, witness.BASES, witness.NUMBERS, FOLDED])
def test_what_is_written_is_read_back(tmp_path, form):
    form.write(tmp_path / FILE)
    back = read(tmp_path / FILE)
    assert (back.symbols, back.names, back.text, back.letters) == (
        form.symbols,
        form.names,
        form.text,
        form.letters,
    )
    assert back.columns.mean.tolist() == form.columns.mean.tolist()
    assert back.columns.scale.tolist() == form.columns.scale.tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"kind": "numbers"},
        {"symbols": ["a", "a"]},
        {"symbols": []},
        {"symbols": [1, 2]},
        {"symbols": ["ab", "c"]},
        {"symbols": None},
        {"names": ["x", "y"]},
        {"names": []},
        {"mean": [float("nan")]},
        {"scale": [0.0]},
        {"scale": [1.0, 1.0]},
        {"scale": "x"},
        {"text": 1},
        {"letters": None},
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path, change):
    witness.LETTERS.write(tmp_path / FILE)
    said = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(said | change))
    with pytest.raises(DataError, match="does not say what a sequence's frames are"):
        read(tmp_path / FILE)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", "[" * 100_000])
def test_a_file_that_is_no_such_thing_is_refused(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(DataError, match="does not say what a sequence's frames are"):
        read(tmp_path / FILE)


@given(st.text(" abt"))
def test_text_is_encoded_and_back(text):
    numbers = witness.LETTERS.encode(text)
    assert (numbers.dtype, numbers.shape) == (np.int64, (len(text),))
    assert witness.LETTERS.decode(numbers) == text


@given(st.lists(st.sampled_from("ACGT")))
def test_symbols_are_encoded_and_back(symbols):
    assert witness.BASES.decode(witness.BASES.encode(symbols)) == symbols


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1))
def test_numbers_are_scaled_and_back(frames):
    form = witness.NUMBERS
    np.testing.assert_allclose(form.decode(form.encode(np.array(frames))), frames, rtol=1e-12, atol=1e-9)


def test_numbers_are_scaled_by_mean_and_scale():
    assert witness.NUMBERS.encode(np.array([[12.0, -1.5]])).tolist() == [[1.0, -1.0]]
    one = Format(None, Columns(("x",), np.array([1.0]), np.array([2.0])))
    assert one.encode([3, 5]).tolist() == [[1.0], [2.0]]


def test_whole_numbers_that_are_not_scaled_stay_whole():
    counts = Format(None, unscaled(("x",))).decode(np.array([3, 0]))
    assert (counts.tolist(), counts.dtype.kind) == ([[3], [0]], "i")


def test_text_for_a_model_of_letters_is_folded_and_goes_on_after_a_blank():
    assert FOLDED.decode(FOLDED.encode("To be, or\n")) == "to be or"
    assert FOLDED.decode(FOLDED.encode("To be, or\n", goes_on=True)) == "to be or "
    assert folded("... ", goes_on=True) == ""


@pytest.mark.parametrize(
    ("form", "given_", "said", "hint"),
    [
        (
            witness.LETTERS,
            "abcx!",
            "the text has characters that the model does not know: 'c', 'x', '!'",
            "it knows 4 characters: ' abt'",
        ),
        (
            witness.BASES,
            ["A", "U", "N"],
            "the text has symbols that the model does not know: 'U', 'N'",
            "it knows 4 symbols: A, C, G, T",
        ),
        (witness.BASES, "ACGT", "the text is text, but the model's sequences are lists of symbols: A, C", ""),
        (witness.NUMBERS, "12", "the text is not made of numbers", ""),
        (witness.NUMBERS, [[1.0], [2.0]], r"the text has the shape \(2, 1\), but must be \(T, 2\)", ""),
        (witness.NUMBERS, [[1.0, np.nan]], "the text: frame 0, column 'y' is nan, not a finite number", ""),
    ],
)
def test_what_the_model_does_not_know_is_named(form, given_, said, hint):
    with pytest.raises(DataError, match=said) as told:
        form.encode(given_, what="the text")
    assert told.value.hint == hint
