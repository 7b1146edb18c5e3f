"""Files as people have them: what is found about how they are written, what is refused, and what a setting says."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from zoo.datasets import dialect, reading, records, sequence_tables, table, table_files, text_encoding
from zoo.datasets.file_rules import FileRules
from zoo.datasets.sequence_files import Wanted
from zoo.datasets.sequence_files import read as read_sequences
from zoo.datasets.source import Member, Source
from zoo.datasets.table import TableRules, read_table
from zoo.errors import DataError, UsageError

ROWS = [[1.5, 40.25], [2.0, -3.0], [0.5, 1e-3], [1.75, 7.0], [1.25, 41.0], [2.5, 40.0]]
PLAIN = "".join(f"{a},{b}\n" for a, b in ROWS)
COMMAS = "".join(f"{a};{b}\n".replace(".", ",") for a, b in ROWS)


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def gathered(path, **rules):
    """The rows that a fit would learn from, their columns, and what is said of the data."""
    found = table.read(Source(str(path), path=path), TableRules(held_out_share=0.0, **rules), 0)
    return found._table, found.summary


FOUND = {
    "decimal commas": ("a.csv", "x;y\n" + COMMAS, "; columns divided by ';' with decimal commas"),
    "semicolons": ("a.csv", "x;y\n" + PLAIN.replace(",", ";"), "; columns divided by ';'"),
    "tabs": ("a.csv", "x\ty\n" + PLAIN.replace(",", "\t"), "; columns divided by tabs"),
    "bars": ("a.csv", "x|y\n" + PLAIN.replace(",", "|"), "; columns divided by '|'"),
    "commas in a tsv": ("a.tsv", "x,y\n" + PLAIN, "; columns divided by ','"),
    "gzip": ("a.csv.gz", gzip.compress(("x,y\n" + PLAIN).encode()), ""),
    "gzip by another name": ("a.csv", gzip.compress(("x,y\n" + PLAIN).encode()), ""),
    "UTF-16": ("a.csv", ("x,y\n" + PLAIN).encode("utf-16"), ""),
    "UTF-32": ("a.csv", ("x,y\n" + PLAIN).encode("utf-32"), ""),
    "UTF-8 with a mark": ("a.csv", ("x,y\n" + PLAIN).encode("utf-8-sig"), ""),
    "comments": (
        "a.csv",
        "# by a logger\n\n# in metres\nx,y\n1.5,40.25\n# paused\n" + PLAIN.partition("\n")[2],
        "; lines that begin with # passed over",
    ),
    "numpy's names": ("a.csv", "# x,y\n" + PLAIN, ""),
    "numpy's names below a comment": (
        "a.csv",
        "# by numpy\n# x,y\n" + PLAIN,
        "; lines that begin with # passed over",
    ),
    "pandas' index": (
        "a.csv",
        ",x,y\n" + "".join(f"{n},{a},{b}\n" for n, (a, b) in enumerate(ROWS)),
        "; the first column, which has no name and counts the rows, left out",
    ),
    "R's row names": (
        "a.csv",
        '"","x","y"\n' + "".join(f'"{n}",{a},{b}\n' for n, (a, b) in enumerate(ROWS, 1)),
        "; the first column, which has no name and counts the rows, left out",
    ),
    "pandas' index once read": (
        "a.csv",
        "Unnamed: 0,x,y\n" + "".join(f"{n},{a},{b}\n" for n, (a, b) in enumerate(ROWS)),
        "; the first column, which has no name and counts the rows, left out",
    ),
    "a comma at every end": (
        "a.csv",
        "x,y,\n" + PLAIN.replace("\n", ",\n"),
        "; an empty column without a name left out",
    ),
}


@pytest.mark.parametrize(("name", "content", "said"), FOUND.values(), ids=FOUND)
def test_what_can_be_read_in_one_way_is_found_and_said(tmp_path, name, content, said):
    found, summary = gathered(written(tmp_path / name, content))
    assert (found.names, found.values.tolist()) == (("x", "y"), ROWS)
    assert summary == "6 rows of 2 columns, 0 held out" + said


def test_a_file_without_names_is_read_where_its_first_line_is_like_the_others(tmp_path):
    path = written(tmp_path / "a.csv", PLAIN)
    found, summary = gathered(path)
    assert (found.names, found.values.tolist()) == (("c0", "c1"), ROWS)
    assert summary.endswith("; no line of names: the columns are c0, c1")
    assert read_table(path, ["x", "y"]).names == ("x", "y")


def test_western_letters_are_found_and_other_bytes_refused(tmp_path):
    found, summary = gathered(written(tmp_path / "a.csv", ("größe,µm\n" + PLAIN).encode("cp1252")))
    assert (found.names, found.values.tolist()) == (("größe", "µm"), ROWS)
    assert summary.endswith("; read as Latin-1 text")
    path = written(tmp_path / "b.csv", ("возраст,y\n" + PLAIN).encode("cp1251"))
    with pytest.raises(DataError, match="after line 0 it is not UTF-8 text") as refused:
        gathered(path)
    assert "data.encoding" in refused.value.hint
    assert gathered(path, encoding="cp1251")[0].names == ("возраст", "y")
    with pytest.raises(UsageError, match="'no-such', which is no encoding of text"):
        gathered(path, encoding="no-such")


AMBIGUOUS = {
    "thousands": ("x;y\n1,316;2,500\n1,452;3,125\n", "'1,316' may be a decimal sign", "data.decimal=,"),
    "both signs": ("x;y\n1,5;2.5\n1,45;3.5\n", "'1,5' beside '2.5' may be", "data.decimal="),
    "a word among them": ("x;y\n1,5;2\n?;3\n", r"'1,5' beside '\?' may be", "data.decimal="),
    "two delimiters": ("a,b;c\nx,1;y\nz,2;w\n", "divided by ',' or by ';'", "data.delimiter=,"),
    "pandas' own names": ("0,1,2\n5,6,7\n", "0, 1, 2, may be the names", "data.header=false"),
    "years above numbers": ("2019,2020\n" + PLAIN, "2019, 2020, may be the names", "data.header=true"),
    "a row of names and numbers": (
        "".join(f"s{n},{a}\n" for n, (a, _) in enumerate(ROWS)),
        "s0, 1.5, may be the names",
        "data.header=false",
    ),
    "a workbook": (b"PK\3\4\0\0", "is no text, but an archive", "save the sheet as CSV"),
    "two bytes a character": ("x,y\n1,2\n".encode("utf-16-le"), "has bytes of value 0", "utf-16-le"),
}


@pytest.mark.parametrize(("content", "said", "hint"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused_naming_the_setting(tmp_path, content, said, hint):
    with pytest.raises(DataError, match=said) as refused:
        gathered(written(tmp_path / "a.csv", content))
    assert hint in refused.value.hint


def test_a_setting_says_how_the_file_is_written(tmp_path):
    path = written(tmp_path / "a.csv", "x;y\n1,316;2,500\n1,452;3,125\n")
    assert gathered(path, decimal=",")[0].values.tolist() == [[1.316, 2.5], [1.452, 3.125]]
    path = written(tmp_path / "b.csv", "2019,2020\n1,2\n")
    assert gathered(path, header=True)[0].names == ("2019", "2020")
    assert gathered(path, header=False)[0].values.tolist() == [[2019, 2020], [1, 2]]
    path = written(tmp_path / "c.csv", 'x\n"1,5"\n"2,5"\n')
    assert gathered(path, decimal=",", delimiter=",")[0].values.tolist() == [[1.5], [2.5]]
    path = written(tmp_path / "d.csv", "x\n1,5\n2,5\n")
    with pytest.raises(DataError, match="row 1 has 2 cells, but there are 1 columns") as refused:
        gathered(path)
    assert "data.delimiter" in refused.value.hint
    assert gathered(path, decimal=",", delimiter=";")[0].values.tolist() == [[1.5], [2.5]]
    path = written(tmp_path / "e.csv", "x,y\n1.234,5\n")
    with pytest.raises(DataError, match="column 'x' holds text"):
        gathered(path, decimal=",")


@given(
    rows=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), min_size=1, max_size=8),
    sign=st.sampled_from(",;\t|"),
    comma=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_no_file_of_numbers_is_read_as_other_numbers(tmp_path_factory, rows, sign, comma):
    """Whatever the delimiter and the decimal sign, the numbers are right or the file is refused."""
    text = "x" + sign + "y\n" + "".join(sign.join(map(repr, row)) + "\n" for row in rows)
    comma = comma and sign != ","
    path = written(tmp_path_factory.mktemp("any") / "a.csv", text.replace(".", ",") if comma else text)
    try:
        found = gathered(path)[0].values.tolist()
    except DataError as error:
        assert comma  # numbers with points are always read
        assert "may be a decimal sign, or divide thousands" in str(error)  # noqa: PT017 - either is right
    else:
        assert found == rows


def test_true_and_false_are_one_and_zero(tmp_path):
    found, summary = gathered(written(tmp_path / "a.csv", "x,ok\n1,True\n2,FALSE\n3,true\n"))
    assert found.values.tolist() == [[1, 1], [2, 0], [3, 1]]
    assert summary.endswith("; True and False read as 1 and 0")


ODD = {
    "dates": (
        "when,x\n2020-01-02,1\n2020-01-03 10:00,2\n",
        r"holds dates \('2020-01-02'",
        "exclude=when leaves",
    ),
    "categories": (
        "when,x\nRome,1\nParis,2\nRome,3\nParis,4\n",
        r"holds categories \('Rome', 'Paris'\)",
        "as a column of 0 and 1",
    ),
    "text": ("when,x\nabc,1\ndef,2\n", r"holds text \('abc', 'def'\)", "exclude=when leaves"),
    "sequences": (
        "when,x\ns0,1\ns0,2\ns1,3\ns1,4\n",
        r"holds text that stays the same over runs of rows \('s0', 's1'\)",
        "zoo train hmm --set data.sequence=when; if it names kinds of independent rows: --set data.exclude=when",
    ),
}


@pytest.mark.parametrize(("content", "said", "hint"), ODD.values(), ids=ODD)
def test_a_column_of_something_else_is_named_with_what_to_do(tmp_path, content, said, hint):
    path = written(tmp_path / "a.csv", content)
    with pytest.raises(DataError, match=f"column 'when' {said}.*, not numbers") as refused:
        gathered(path)
    assert hint in refused.value.hint
    assert gathered(path, exclude=("when",))[0].names == ("x",)
    with pytest.raises(DataError) as refused:
        gathered(path, columns=("when",))  # asked for, so it is not offered to be left out
    assert "data.exclude" not in refused.value.hint


def test_so_is_one_of_parquet(tmp_path):
    names = pyarrow.table({"patient": ["a", "a", "b", "b"], "x": [1.0, 2, 3, 4]})
    parquet.write_table(names, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'patient' holds string, not numbers") as refused:
        gathered(tmp_path / "a.parquet")
    assert "zoo train hmm --set data.sequence=patient" in refused.value.hint
    dates = pyarrow.table({"when": pyarrow.array([1, 2], pyarrow.timestamp("s")), "x": [1.0, 2]})
    parquet.write_table(dates, tmp_path / "b.parquet")
    with pytest.raises(DataError, match="column 'when' holds timestamp") as refused:
        gathered(tmp_path / "b.parquet")
    assert "data.exclude=when" in refused.value.hint


def test_an_index_of_pandas_in_parquet_is_left_out(tmp_path):
    stored = pyarrow.table({"x": [1.0, 2.0], "__index_level_0__": [5, 9]})
    parquet.write_table(stored, tmp_path / "a.parquet")
    found, summary = gathered(tmp_path / "a.parquet")
    assert (found.names, summary.endswith("; the index of the table left out")) == (("x",), True)


def test_names_that_come_twice_matter_only_where_they_are_needed(tmp_path):
    path = written(tmp_path / "a.csv", "x,x,y\n1,2,3\n4,5,6\n")
    with pytest.raises(DataError, match="has 2 columns 'x'") as refused:
        gathered(path)
    assert "--set data.exclude=x leaves all of them out" in refused.value.hint
    for rules in ({"columns": ("y",)}, {"exclude": ("x",)}):
        assert gathered(path, **rules)[0].values.tolist() == [[3], [6]]
    with pytest.raises(DataError, match="has 2 columns 'x'"):
        gathered(path, columns=("x",))


def test_a_column_without_a_name_that_counts_nothing_is_refused(tmp_path):
    path = written(tmp_path / "a.csv", ",x\n5,1\n9,2\n")
    with pytest.raises(DataError, match="has a column without a name") as refused:
        gathered(path)
    assert refused.value.hint.endswith("--set data.columns=x")
    assert gathered(path, columns=("x",))[0].values.tolist() == [[1], [2]]


def test_rules_that_contradict_each_other_are_refused(tmp_path):
    path = written(tmp_path / "a.csv", "x,y\n1,2\n")
    with pytest.raises(UsageError, match=r"data\.exclude names 'z', but .* has x, y"):
        gathered(path, exclude=("z",))
    with pytest.raises(UsageError, match=r"data\.exclude names 'x', which is among data\.columns too"):
        gathered(path, exclude=("x",), columns=("x", "y"))
    with pytest.raises(UsageError, match="there is nothing to learn from"):
        gathered(path, exclude=("x", "y"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_rows_with_a_missing_value_are_left_out_where_that_is_asked(tmp_path, suffix):
    values = np.array([[1, 2], [np.nan, 3], [4, np.nan], [5, 6]])
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".parquet":
        nulls = [None if np.isnan(value) else value for value in values[:, 1]]
        parquet.write_table(pyarrow.table({"c0": values[:, 0], "c1": nulls}), path)
    else:
        written(path, "c0,c1\n1,2\nNA,3\n4,\n5,6\n")
    with pytest.raises(DataError, match="row 2, column 'c0' is") as refused:
        gathered(path)
    assert "data.skip_missing=true" in refused.value.hint
    found, summary = gathered(path, skip_missing=True)
    assert found.values.tolist() == [[1, 2], [5, 6]]
    assert summary.endswith("; 2 rows with a missing value left out")
    assert gathered(path, skip_missing=True, columns=("c1",))[0].values.tolist() == [[2], [3], [6]]


def test_rows_keep_their_numbers_where_others_are_left_out(tmp_path):
    path = written(tmp_path / "a.csv", "x,w\n1,1\n,1\n3,-1\n")
    with pytest.raises(DataError, match="row 3, column 'w' is -1"):
        gathered(path, skip_missing=True, weights="w")


def test_damage_to_what_is_packed_is_told(tmp_path):
    whole = gzip.compress(("x,y\n" + PLAIN * 50_000).encode())
    path = written(tmp_path / "a.csv.gz", whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.csv\.gz cannot be unpacked"):
        read_table(path)


def sequences(path, **rules):
    wanted = Wanted(sequence=rules.pop("sequence", "sequence"), rules=TableRules(**rules))
    return read_sequences([Member(path.name, path)], wanted)


def test_sequences_are_read_by_the_same_rules(tmp_path):
    path = written(tmp_path / "a.csv", ";sequence;x;note\n0;s;1,5;a\n1;s;2,5;b\n2;t;3,5;a\n")
    found = sequences(path, exclude=("note",))
    assert [part.tolist() for part in found.split()] == [[[1.5], [2.5]], [[3.5]]]
    assert found.notes == (
        "columns divided by ';' with decimal commas",
        "the first column, which has no name and counts the rows, left out",
    )


def test_text_beside_values_is_told_as_the_column_of_sequences(tmp_path):
    path = written(tmp_path / "a.csv", "patient,x,y\na,1,2\na,3,4\nb,5,6\nb,7,8\n")
    with pytest.raises(DataError, match="column 'patient' is text") as refused:
        sequences(path)
    assert refused.value.hint == "if it says which sequence a row belongs to: --set data.sequence=patient"
    assert [len(part) for part in sequences(path, sequence="patient").split()] == [2, 2]


def test_numbers_that_may_name_sequences_are_pointed_at(tmp_path):
    """They can be values, so they are read as such; but it is said."""
    path = written(tmp_path / "a.csv", "patient,x\n1,5\n1,6\n2,7\n2,7\n")
    said = "'patient' stays the same over runs of rows: if it names sequences, --set data.sequence=patient"
    assert sequences(path).notes == (said,)
    assert sequences(path, sequence="patient").notes == ()
    assert sequences(written(tmp_path / "b.csv", "a,x\n1,5\n1,6\n2,7\n1,7\n")).notes == ()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_sequence_with_a_missing_value_is_left_out_whole(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".csv":
        written(path, "sequence,x\na,1\na,2\nb,3\nb,NA\nb,5\nc,6\n")
    else:
        stored = pyarrow.table({"sequence": list("aabbbc"), "x": [1.0, 2, 3, None, 5, 6]})
        parquet.write_table(stored, path)
    with pytest.raises(DataError, match="row 4, column 'x' is"):
        sequences(path)
    found = sequences(path, skip_missing=True)
    assert [part.tolist() for part in found.split()] == [[[1], [2]], [[6]]]
    assert (found.names, found.empty) == (("a", "c"), 0)
    assert found.notes == ("1 sequence with a missing value left out",)
    only = written(tmp_path / "b.csv", "x\n1\n\nNA\n")
    with pytest.raises(DataError, match="every sequence has a missing value"):
        sequences(only, skip_missing=True)


def test_packed_files_of_a_folder_are_found(tmp_path):
    (tmp_path / "rows").mkdir()
    written(tmp_path / "rows" / "a.csv.gz", gzip.compress(b"x\n1\n2\n"))
    written(tmp_path / "rows" / "b.csv", "x\n3\n")
    found = reading.read("table", str(tmp_path / "rows"), TableRules(held_out_share=0.0), 0)
    assert found._table.values.tolist() == [[1], [2], [3]]


def test_a_file_is_looked_at_no_further_than_its_beginning(tmp_path, monkeypatch):
    """A dialect is found from some lines of a file of any length."""
    taken = []

    class Counting(io.BytesIO):
        def read(self, size=-1, /):
            found = super().read(size)
            taken.append(len(found))
            return found

    content = ("x,y\n" + PLAIN * 100_000).encode()
    monkeypatch.setattr(Member, "open", lambda member: Counting(content))
    assert table_files.layout(Member("a.csv", tmp_path)).names == ("x", "y")
    assert sum(taken) < 2**19 < len(content)


@pytest.mark.parametrize(
    "text",
    [
        "a,1\nb,2\na,3\nb,4\nc,5\nd,6\ne,3\n",
        "NA,2\n1,2\n3,4\n5,6\n7,8\n9,10\n1,1\n",
        "2020-01-01,15\n2020-01-02,12\n2020-01-03,19\n2020-01-04,14\n2020-01-05,13\n2020-01-06,17\n",
        "True,False\nTrue,False\nFalse,True\nTrue,True\n",
        "a\nb\na\nb\nb\na\n",
    ],
)
def test_a_first_line_that_looks_like_the_rows_below_is_asked_about(text):
    with pytest.raises(DataError, match="may be the names of the columns or a row") as raised:
        dialect.of("a.csv", text.splitlines(keepends=True), "utf-8-sig", FileRules())
    assert "data.header=false" in raised.value.hint


@pytest.mark.parametrize(
    "text",
    ["name,2019,2020\na,1\nb,2\n", "#x,y\n1,2\n3,4\n5,6\n", "sex,smokes\nf,yes\nm,no\nf,yes\n", "country,2019,2020\n"
     + "".join(f"{name},{1000 * at},{1000 * at + 500}\n" for at, name in enumerate("abcdefg", 1))],
)  # fmt: skip
def test_names_of_years_of_text_and_in_a_comment_stay_names(text):
    found = dialect.of("a.csv", text.splitlines(keepends=True), "utf-8-sig", FileRules())
    assert found.names[0] in ("name", "#x", "sex", "country")


def test_a_comment_of_names_is_no_row_where_the_file_is_said_to_have_names():
    found = dialect.of("a.csv", ["#x,y\n", "1,2\n", "3,4\n"], "utf-8-sig", FileRules(header=True))
    assert found.names == ("#x", "y")  # as it is written
    assert found.first == (("1", "2"), ("3", "4"))


def test_a_missing_first_value_leaves_a_lone_column_one_of_numbers():
    assert sequence_tables._is_numeric(["NA", "1.5", "2.5"], ".", alone=True)
    assert not sequence_tables._is_numeric(["none", "a", "b"], ".", alone=True)


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_name():
    data = "\ufeffx,y\n1,2\n".encode("utf-16-le")
    said = text_encoding.encoding_of("a.csv", data, FileRules(encoding="utf-16-le"))
    assert data.decode(said).startswith("x,y")


def test_whole_numbers_beyond_those_that_are_exact_are_told(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"sequence": [2**60 + 1, 2**60 + 3], "x": [1.0, 2.0]}), path)
    with pytest.raises(DataError, match="'sequence' holds whole numbers beyond 2\\^53"):
        list(records.parts(records.layout(Member("a.parquet", path)), ["sequence", "x"]))
