"""Sequences in files: what is a sequence, what is a frame, and what is no frame at all."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from zoo.datasets import records
from zoo.datasets.sequence_files import SUFFIXES, Sequences, Wanted, read
from zoo.datasets.source import Source
from zoo.errors import DataError, UsageError
from zoo.modality.sequence_format import LETTERS, folded

SYMBOLS = Wanted(symbols=True)


def files(path, wanted=Wanted()) -> Sequences:  # noqa: B008 - it is frozen
    return read(Source(str(path), path=path).files(SUFFIXES), wanted)


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def told(found: Sequences):
    """Each sequence as a person would have it back."""
    return [
        said if isinstance(said := found.format.decode(values), str | list) else said.tolist()
        for values in found.split()
    ]


# Text


def test_a_text_file_is_a_sequence_of_characters(tmp_path):
    path = written(tmp_path / "a.txt", "tö be\r\n")
    found = files(path)
    assert told(found) == ["tö be\r\n"]
    assert found.format.symbols == ("\n", "\r", " ", "b", "e", "t", "ö")
    assert (found.format.text, found.format.names, found.labels) == (True, ("symbol",), (str(path),))
    assert found.values.tolist() == [5, 6, 2, 3, 4, 1, 0]


def test_each_file_of_a_folder_or_an_archive_is_a_sequence_in_order_of_name(tmp_path):
    for name, text in (("b.txt", "second"), ("a/z.txt", "first"), (".hidden.txt", "x"), ("notes.md", "x")):
        written(tmp_path / "works" / name, text)
    with zipfile.ZipFile(tmp_path / "works.zip", "w") as archive:
        archive.writestr("b.txt", "second")
        archive.writestr("a/z.txt", "first")
    assert told(files(tmp_path / "works")) == told(files(tmp_path / "works.zip")) == ["first", "second"]


def test_each_line_may_be_a_sequence(tmp_path):
    path = written(tmp_path / "a.txt", "one\r\n\n  \ntwo\u2028lines\nthree")
    found = files(path, Wanted(lines=True))
    assert told(found) == ["one", "two\u2028lines", "three"]
    assert found.labels == (f"{path}:1", f"{path}:4", f"{path}:5")


def test_text_may_be_folded_to_letters_and_single_blanks(tmp_path):
    path = written(tmp_path / "a.txt", "  ROMÉO.\n\tBut, soft! 'tis  2b\n")
    found = files(path, Wanted(letters=True))
    assert told(found) == ["romeo but soft tis b"]
    assert "".join(found.format.symbols) == LETTERS
    assert found.format.letters
    assert told(files(path, Wanted(letters=True, lines=True))) == ["romeo", "but soft tis b"]


def test_sequences_without_frames_are_left_out_and_counted(tmp_path):
    for name, text in (("a.txt", ""), ("b.txt", "text"), ("c.txt", "")):
        written(tmp_path / "works" / name, text)
    found = files(tmp_path / "works")
    assert (told(found), found.empty) == (["text"], 2)
    folded_away = written(tmp_path / "lines.txt", "to\n123\nbe")
    found = files(folded_away, Wanted(lines=True, letters=True))
    assert (told(found), found.empty) == (["to", "be"], 1)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_text_is_read_back_as_it_was(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("texts")
    for number, text in enumerate(texts):
        written(folder / f"{number}.txt", text)
    assert told(files(folder)) == texts


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_folded_text_has_letters_and_single_blanks_only_and_stays_as_it_is(text):
    once = folded(text)
    assert set(once) <= set(LETTERS)
    assert "  " not in once
    assert once == once.strip() == folded(once)
    assert folded(text, goes_on=True).rstrip() == once


# Tables


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_without_a_column_of_sequences_is_one_sequence(tmp_path, suffix):
    path = table(tmp_path / f"a{suffix}", x=[1.5, -2.0, 3e300], y=[0, 1, 2])
    found = files(path)
    assert told(found) == [[[1.5, 0.0], [-2.0, 1.0], [3e300, 2.0]]]
    assert (found.format.names, found.labels, found.lengths.tolist()) == (("x", "y"), (str(path),), [3])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_a_column_says_which_sequence_a_row_belongs_to(tmp_path, monkeypatch, suffix, at_once):
    monkeypatch.setattr(records, "_ROWS_AT_ONCE", at_once)
    path = table(tmp_path / f"a{suffix}", sequence=["b", "b", "a", "c", "c", "c"], x=[1, 2, 3, 4, 5, 6])
    found = files(path)
    assert told(found) == [[[1.0], [2.0]], [[3.0]], [[4.0], [5.0], [6.0]]]
    assert found.labels == (f"{path}:b", f"{path}:a", f"{path}:c")


def test_that_column_may_have_another_name_or_hold_numbers(tmp_path):
    path = table(tmp_path / "a.csv", patient=[7, 7, 3], sequence=[1.0, 2.0, 3.0])
    found = files(path, Wanted(sequence="patient"))
    assert told(found) == [[[1.0], [2.0]], [[3.0]]]
    assert found.labels == (f"{path}:7", f"{path}:3")
    assert (
        files(table(tmp_path / "a.parquet", patient=[7, 7, 3], x=[1, 2, 3]), Wanted(sequence="patient"))
        .labels[0]
        .endswith("a.parquet:7")
    )


def test_a_sequence_does_not_go_on_in_another_file(tmp_path):
    table(tmp_path / "both" / "1.csv", sequence=["a"], x=[1])
    table(tmp_path / "both" / "2.csv", sequence=["a"], x=[2])
    assert told(files(tmp_path / "both")) == [[[1.0]], [[2.0]]]


def test_columns_are_chosen_by_name(tmp_path):
    path = table(tmp_path / "a.csv", sequence=["a", "a"], year=[1, 2], x=[3, 4], y=[5, 6], note=["p", "q"])
    assert told(files(path, Wanted(columns=("y", "x")))) == [[[5.0, 3.0], [6.0, 4.0]]]
    assert told(files(path, Wanted(columns=("note",)))) == [["p", "q"]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_one_column_of_text_holds_symbols(tmp_path, suffix):
    path = table(tmp_path / f"a{suffix}", sequence=["s", "s", "t"], base=["T", " A", "T"])
    found = files(path)
    assert told(found) == [["T", " A"], ["T"]]
    assert (found.format.symbols, found.format.text) == ((" A", "T"), False)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_numbers_are_symbols_where_that_is_asked(tmp_path, suffix):
    found = files(table(tmp_path / f"a{suffix}", x=[10, 9, 10, -1]), SYMBOLS)
    assert told(found) == [["10", "9", "10", "-1"]]
    assert found.format.symbols == ("-1", "9", "10")


@pytest.mark.parametrize(
    ("content", "wanted", "error", "said"),
    [
        ("x\n1\n\n", Wanted(columns=("z",)), UsageError, "data.columns names 'z', but FILE has x"),
        ("x\n1\n", Wanted(sequence="id"), UsageError, "data.sequence is 'id', but FILE has x"),
        ("sequence\na\n", Wanted(), DataError, "FILE has no column of frames beside 'sequence'"),
        ("x,y\n1,2\n3,\n", Wanted(), DataError, "FILE: row 2, column 'y' is empty, not a finite number"),
        ("x\n1\nnan\n", Wanted(), DataError, "FILE: row 2, column 'x' is 'nan', not a finite number"),
        ("x\n1\n2\nn/a\n", Wanted(), DataError, "FILE: row 3, column 'x' is 'n/a', not a finite number"),
        ("x\n1\n1_0\n", Wanted(), DataError, "FILE: row 2, column 'x' is '1_0', not a finite number"),
        ("x\ninf\n", Wanted(), DataError, "FILE: row 1, column 'x' is 'inf', not a finite number"),
        (
            "x,y\na,\n,2\n",
            Wanted(columns=("x",)),
            DataError,
            "FILE: row 2, column 'x' is empty, not a symbol",
        ),
        ("x,y\n1,a\n", Wanted(), DataError, "FILE: column 'y' is text, .* a frame has 2 columns: x, y"),
        ("x,y\n1,2\n", SYMBOLS, UsageError, "data.symbols takes one column, but FILE has x, y"),
        (
            "sequence,x\na,1\nb,2\na,3\n",
            Wanted(),
            DataError,
            "FILE: row 3 belongs to sequence 'a' again, which ended above",
        ),
        ("sequence,x\na,1\n,2\n", Wanted(), DataError, "FILE: row 2, column 'sequence' is empty"),
        ("x,y\n1,2\n3\n", Wanted(), DataError, "FILE: row 2 has 1 cells, but there are 2 columns"),
        ("x\n", Wanted(), DataError, "FILE has no rows"),
        ("", Wanted(), DataError, "FILE is empty"),
        (b"x\n\xff\n", Wanted(), DataError, "FILE: after line .* not UTF-8"),
    ],
)
def test_what_is_no_frame_is_told_with_file_row_and_column(tmp_path, content, wanted, error, said):
    path = written(tmp_path / "a.csv", content)
    with pytest.raises(error, match=said.replace("FILE", str(path)).replace("(", r"\(")):
        files(path, wanted)


def test_a_row_is_counted_over_all_parts_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_ROWS_AT_ONCE", 2)
    text = written(tmp_path / "a.csv", "sequence,x\n" + "s,1\n" * 4 + "s,\n")
    stored = table(tmp_path / "a.parquet", x=[1.0, 2.0, 3.0, 4.0, None])
    for path in (text, stored):
        with pytest.raises(DataError, match="row 5, column 'x' is empty"):
            files(path)
    with pytest.raises(DataError, match="row 3 belongs to sequence 'a' again"):
        files(written(tmp_path / "b.csv", "sequence,x\na,1\nb,2\na,3\n"))


@pytest.mark.parametrize("values", [[1.0, float("nan")], [1.0, float("inf")]])
def test_parquet_numbers_are_finite(tmp_path, values):
    with pytest.raises(DataError, match=r"row 2, column 'x' is '(nan|inf)', not a finite number"):
        files(table(tmp_path / "a.parquet", x=values))


def test_other_columns_of_parquet_and_damage_are_told(tmp_path):
    with pytest.raises(DataError, match=r"column 'x' holds list<.*>, neither numbers nor text"):
        files(table(tmp_path / "a.parquet", x=[[1], [2]]))
    with pytest.raises(DataError, match=r"broken\.parquet cannot be read as Parquet"):
        files(written(tmp_path / "broken.parquet", b"PAR1 and nothing else"))


def test_files_of_several_kinds_are_not_mixed(tmp_path):
    table(tmp_path / "mixed" / "a.csv", x=[1])
    written(tmp_path / "mixed" / "b.txt", "text")
    with pytest.raises(DataError, match=r"b\.txt holds text in symbol, but .*a\.csv holds numbers in x"):
        files(tmp_path / "mixed")
    table(tmp_path / "other" / "a.csv", x=[1])
    table(tmp_path / "other" / "b.csv", y=[1])
    with pytest.raises(DataError, match=r"b\.csv holds numbers in y, but .*a\.csv holds numbers in x"):
        files(tmp_path / "other")


@given(
    st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_numbers_are_read_back_as_they_were(tmp_path_factory, sequences):
    folder = tmp_path_factory.mktemp("numbers")
    names = [number for number, values in enumerate(sequences) for _ in values]
    flat = [value for values in sequences for value in values]
    for suffix in (".csv", ".tsv", ".parquet"):
        found = files(table(folder / f"a{suffix}", sequence=names, x=flat))
        assert told(found) == [[[value] for value in values] for values in sequences]


# Arrays


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ([1, 2, 3], [[[1.0], [2.0], [3.0]]]),
        ([[1.5, 2.5], [3.5, 4.5]], [[[1.5, 2.5], [3.5, 4.5]]]),
        ([[[1, 2]], [[3, 4]]], [[[1.0, 2.0]], [[3.0, 4.0]]]),
        ([True, False], [[[1.0], [0.0]]]),
        (["b", "a"], [["b", "a"]]),
        ([["b", "a"], ["a", "a"]], [["b", "a"], ["a", "a"]]),
    ],
)
def test_an_array_is_one_sequence_or_several(tmp_path, array, expected):
    np.save(tmp_path / "a.npy", np.array(array))
    assert told(files(tmp_path / "a.npy")) == expected


def test_whole_numbers_of_an_array_are_symbols_where_that_is_asked(tmp_path):
    np.save(tmp_path / "a.npy", np.array([3, 10, 3], np.int16))
    assert told(files(tmp_path / "a.npy", SYMBOLS)) == [["3", "10", "3"]]


def test_the_arrays_of_an_archive_are_a_sequence_each(tmp_path):
    np.savez(tmp_path / "a.npz", second=np.array([1.0]), first=np.array([2.0, 3.0]))
    found = files(tmp_path / "a.npz")
    assert told(found) == [[[1.0]], [[2.0], [3.0]]]
    assert [label.rpartition(":")[2] for label in found.labels] == ["second", "first"]


@pytest.mark.parametrize(
    ("values", "lengths", "expected"),
    [
        ([1, 2, 3], [2, 1], [[[1.0], [2.0]], [[3.0]]]),
        ([[1, 2], [3, 4], [5, 6]], [1, 2], [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]),
        ([[1, 2, 0], [3, 0, 0]], [2, 1], [[[1.0], [2.0]], [[3.0]]]),
        ([[[1, 2], [0, 0]], [[3, 4], [5, 6]]], [1, 2], [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]),
        ([1, 2], [2, 0], [[[1.0], [2.0]]]),
    ],
)
def test_lengths_divide_what_lies_side_by_side_or_is_padded(tmp_path, values, lengths, expected):
    np.savez(tmp_path / "a.npz", values=np.array(values), lengths=np.array(lengths))
    assert told(files(tmp_path / "a.npz")) == expected


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((1, 1, 1, 1)), r"has the shape \(1, 1, 1, 1\), but a sequence is \(T,\) or \(T, D\)"),
        (np.array(1.0), r"has the shape \(\)"),
        (np.array([1.0, np.nan]), r"frame 1 is nan, not a finite number"),
        (np.array([[1.0, 2.0], [1.0, np.inf]]), r"frame 1 is inf, not a finite number"),
        (np.array([1j]), "holds complex128, neither numbers nor text"),
        (np.array([None]), "cannot be read: Object arrays"),
        (np.zeros(0), "a.npy has no frames"),
        (np.zeros((2, 0)), "has frames of 0 columns"),
        (np.array(["a", ""]), "frame 1 is empty, not a symbol"),
        (np.array([["ab"], [""]]), ":1: frame 0 is empty, not a symbol"),
    ],
)
def test_what_is_no_sequence_is_refused(tmp_path, array, said):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=said):
        files(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "lengths", [np.array([1, 1]), np.array([4, -1]), np.array([1.5, 1.5]), np.array([[3]]), np.array([9])]
)
def test_lengths_that_do_not_fit_are_refused(tmp_path, lengths):
    np.savez(tmp_path / "a.npz", values=np.zeros(3), lengths=lengths)
    with pytest.raises(DataError, match=r"values \(3,\) do not fit lengths"):
        files(tmp_path / "a.npz")


def test_damaged_and_inflated_arrays_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"a\.npy cannot be read"):
        files(written(tmp_path / "a.npy", b"\x93NUMPY and nothing"))
    with pytest.raises(DataError, match=r"a\.npz cannot be read"):
        files(written(tmp_path / "a.npz", b"PK"))
    monkeypatch.setattr("zoo.bounds.free_memory", lambda: 100)
    np.savez(tmp_path / "large.npz", a=np.zeros(100))
    with pytest.raises(DataError, match="takes 928 bytes of memory, more than half of the 100"):
        files(tmp_path / "large.npz")


def test_columns_of_an_array_have_numbers_or_the_names_that_are_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, 2.0, 3.0]]))
    assert files(tmp_path / "a.npy").format.names == ("c0", "c1", "c2")
    chosen = files(tmp_path / "a.npy", Wanted(columns=("c2", "c0")))
    assert (chosen.format.names, told(chosen)) == (("c2", "c0"), [[[3.0, 1.0]]])
    named = files(tmp_path / "a.npy", Wanted(columns=("p", "q", "r")))
    assert (named.format.names, told(named)) == (("p", "q", "r"), [[[1.0, 2.0, 3.0]]])
    with pytest.raises(UsageError, match=r"data\.columns names 'p'"):
        files(tmp_path / "a.npy", Wanted(columns=("p",)))


def test_every_kind_of_file_is_read_from_an_archive_too(tmp_path):
    kinds = {".csv": None, ".tsv": None, ".parquet": None, ".npy": np.save, ".npz": np.savez}
    for suffix, save in kinds.items():
        path = tmp_path / f"a{suffix}"
        if save is None:
            table(path, value=[1.5, 2.5])
        else:
            save(path, np.array([1.5, 2.5]))
        with zipfile.ZipFile(tmp_path / "both.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, f"1{suffix}")
            archive.write(path, f"2{suffix}")
        assert told(files(tmp_path / "both.zip")) == [[[1.5], [2.5]]] * 2


def table(path, **columns):
    """A file of these columns, as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.table(columns), path)
        return path
    divider = "\t" if path.suffix == ".tsv" else ","
    text = io.StringIO()
    for row in (list(columns), *zip(*columns.values(), strict=True)):
        text.write(divider.join(cell if isinstance(cell, str) else repr(cell) for cell in row) + "\r\n")
    return written(path, text.getvalue())
