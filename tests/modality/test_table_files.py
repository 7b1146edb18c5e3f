"""Tables in files: names and values come back as they were, whole or not at all, in little memory."""

from __future__ import annotations

import json
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from table_runs import model
from zoo.datasets import reading
from zoo.datasets.passes import ALONE
from zoo.datasets.table import TableRules
from zoo.datasets.table_files import Table, read_table
from zoo.errors import MissingDependencyError, UsageError
from zoo.modality.table_files import save, writing


def _is_number(name):
    try:
        float(name)
    except ValueError:
        return False
    return True


# blanks around a name are no part of it in text, a first line of numbers alone has no names, and "# " is a comment's
NAMES = st.lists(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8).filter(
        lambda name: name == name.strip() and not _is_number(name) and not name.startswith(("\ufeff", "# "))
    ),
    min_size=1,
    max_size=4,
    unique=True,
)


@st.composite
def tables(draw):
    names = draw(NAMES)
    row = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=len(names), max_size=len(names))
    rows = draw(st.lists(row, min_size=1, max_size=5))
    return Table(tuple(names), np.array(rows))


def same(one, other):
    """Equal to the last bit, so that -0.0 is not 0.0."""
    return one.shape == other.shape and one.astype(np.float64).tobytes() == other.astype(np.float64).tobytes()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@given(table=tables())
@settings(max_examples=60, deadline=None)
def test_names_and_values_come_back_as_they_were(suffix, table):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        save(table, path)
        found = read_table(path)
    assert found.names == table.names
    assert same(found.values, table.values)


@given(table=tables())
@settings(max_examples=30, deadline=None)
def test_values_of_an_array_come_back_as_they_were(table):
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "a.npy", table.values)
        material = reading.read("table", f"{folder}/a.npy", TableRules(held_out_share=0), 0)
        assert same(read_table(Path(folder) / "a.npy").values, table.values)
        assert same(material._table.values, table.values)
        del material


def test_names_with_blanks_quotes_and_signs_go_through_a_run(tmp_path):
    from toy_family import family

    names = ("the height", 'a "b"', "c,d", "e\tf", "g=h", "é\u4e2d")
    save(Table(names, np.arange(12.0).reshape(2, 6)), tmp_path / "a.csv")
    material = reading.read("table", str(tmp_path / "a.csv"), TableRules(held_out_share=0), 0)
    material.learn(tmp_path)
    material.bind(family("table"), {"columns.json": tmp_path / "columns.json"})
    assert tuple(json.loads((tmp_path / "columns.json").read_text())["names"]) == names
    drawn = model(names, [0.0] * 6, mean=[0.0] * 6, scale=[1.0] * 6).draw(3)
    for suffix in (".csv", ".tsv", ".parquet"):
        save(drawn, tmp_path / f"b{suffix}")
        assert read_table(tmp_path / f"b{suffix}").names == names
    [batch] = material.passes(model(names, [0.0] * 6).network, 0, ALONE).batches(2)
    assert batch.shape == (2, 6)


def test_json_lines_say_what_draws_each_row_again(tmp_path):
    with writing(tmp_path / "a.jsonl", ("x", "é"), seed=9, start=5) as add:
        add(np.array([[1.5, 2.0]]))
        add(np.array([[3.0, 1e-300]]))
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"index": 5, "seed": 9, "values": {"x": 1.5, "é": 2.0}},
        {"index": 6, "seed": 9, "values": {"x": 3.0, "é": 1e-300}},
    ]


def test_what_is_no_finite_number_is_null_in_json_lines(tmp_path):
    save(Table(("x", "y"), np.array([[np.nan, -np.inf]])), tmp_path / "a.jsonl")
    assert json.loads((tmp_path / "a.jsonl").read_text())["values"] == {"x": None, "y": None}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npy", ".jsonl"])
def test_a_file_is_there_whole_or_not_at_all(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert path.read_text() == "before"


def interrupted(path):
    with writing(path, ("x",)) as add:
        add(np.ones((3, 1)))
        raise KeyboardInterrupt


@pytest.mark.parametrize("counts", [(), (1,), (5, 0, 12_000)])
def test_an_array_is_written_in_parts_and_has_them_all(tmp_path, counts):
    parts = [np.random.default_rng(count).normal(size=(count, 3)) for count in counts]
    with writing(tmp_path / "a.npy", ("x", "y", "z")) as add:
        for part in parts:
            add(part)
    assert np.load(tmp_path / "a.npy").tolist() == np.concatenate([np.empty((0, 3)), *parts]).tolist()


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".jsonl"])
def test_many_rows_are_written_in_the_memory_of_a_block(tmp_path, suffix):
    block = np.linspace(0, 1, 2000).reshape(1000, 2)

    def peak(blocks):
        tracemalloc.start()
        with writing(tmp_path / f"a{suffix}", ("x", "y")) as add:
            for _ in range(blocks):
                add(block)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # imports
    assert peak(20) < 1.5 * peak(2)


def test_other_files_are_refused_and_parquet_says_what_to_install(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"cannot write a table to .*a\.txt") as refused:
        save(Table(("x",), np.ones((1, 1))), tmp_path / "a.txt")
    assert refused.value.hint == "a file ends in .csv, .tsv, .parquet, .npy, .jsonl"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError) as missing:
        save(Table(("x",), np.ones((1, 1))), tmp_path / "a.parquet")
    assert missing.value.hint == "pip install 'zoo-core[parquet]'"
