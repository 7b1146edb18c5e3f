"""Tables from CSV, TSV and Parquet: names, parts, what is no number, scaling, and previews in the data's units."""

from __future__ import annotations

import json
import sys
import zipfile

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from toy_family import Constant, family
from zoo.datasets import records, table
from zoo.datasets.source import Source
from zoo.datasets.table import TableRules, chunks, read_table
from zoo.errors import DataError, MissingDependencyError, UsageError

CSV = "height,weight\n1.5,50\n-2e3,0\n1e-300,7\n"
VALUES = [[1.5, 50.0], [-2000.0, 0.0], [1e-300, 7.0]]
ALL = TableRules(held_out_share=0.0)


def written(path, content):
    path.write_text(content, encoding="utf-8", newline="")
    return path


def arrow(path, **columns):
    parquet.write_table(pyarrow.table(columns), path)
    return path


def material(path, rules=ALL, seed=0):
    return table.read(Source(str(path), path=path), rules, seed)


def bound(path, tmp_path, rules=ALL, seed=0):
    found = material(path, rules, seed)
    found.learn(tmp_path)
    found.bind(family("table"), {"columns.json": tmp_path / "columns.json"})
    return found


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV),
        ("a.tsv", CSV.replace(",", "\t")),
        ("a.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
        ("a.CSV", '"height", weight\n"1.5", 50 \n\n-2000,0\n1e-300,7'),
    ],
)
def test_text_is_read_with_the_names_of_its_columns(tmp_path, name, content):
    found = read_table(written(tmp_path / name, content))
    assert found.names == ("height", "weight")
    assert found.values.dtype == np.float64
    assert found.values.tolist() == VALUES


def test_parquet_is_read_as_the_text_is(tmp_path):
    path = arrow(tmp_path / "a.parquet", height=[1.5, -2000.0, 1e-300], weight=[50, 0, 7])
    found = read_table(path)
    assert (found.names, found.values.tolist()) == (("height", "weight"), VALUES)


def test_columns_are_chosen_by_name_in_the_order_that_is_asked_for(tmp_path):
    text = written(tmp_path / "a.csv", "name,a,b\nx,1,2\ny,3,4\n")
    stored = arrow(tmp_path / "a.parquet", name=["x", "y"], a=[1, 3], b=[2.0, 4.0])
    for path in (text, stored):
        found = read_table(path, ["b", "a"])
        assert (found.names, found.values.tolist()) == (("b", "a"), [[2.0, 1.0], [4.0, 3.0]])
        with pytest.raises(UsageError, match=r"data\.columns names 'c', but .* has name, a, b"):
            read_table(path, ["c"])


@pytest.mark.parametrize("rows", [1, 3, 7, 8])
def test_parts_have_the_rows_that_are_asked_for_and_join_to_the_whole(tmp_path, rows):
    values = np.random.default_rng(0).normal(size=(7, 2))
    text = written(tmp_path / "a.csv", "a,b\n" + "".join(f"{a!r},{b!r}\n" for a, b in values.tolist()))
    stored = arrow(tmp_path / "a.parquet", a=values[:, 0], b=values[:, 1])
    for path in (text, stored):
        parts = list(chunks(path, rows))
        assert all(len(part) == rows for part in parts[:-1])
        assert (np.concatenate(parts) == values).all()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("NaN", "is 'NaN'"),
        ("-inf", "is '-inf'"),
        ("1,5", "is '1,5'"),
        ("1_0", "is '1_0'"),
    ],
)
def test_a_cell_that_is_no_finite_number_is_named_by_row_and_column(tmp_path, cell, said):
    path = written(tmp_path / "a.csv", f'a,b\n1,2\n3,4\n5,"{cell}"\n')
    with pytest.raises(DataError) as refused:
        read_table(path)
    assert str(refused.value) == f"{path}: row 3, column 'b' {said}, not a finite number"
    assert read_table(path, ["a"]).values.tolist() == [[1.0], [3.0], [5.0]]


@pytest.mark.parametrize(
    ("value", "said"), [(None, "is empty"), (float("nan"), "is nan"), (float("inf"), "is inf")]
)
def test_so_is_one_of_parquet(tmp_path, value, said):
    path = arrow(tmp_path / "a.parquet", a=[1.0] * 6, b=[1.0, 2, 3, 4, value, 6])
    with pytest.raises(DataError, match=f"row 5, column 'b' {said}, not a finite number"):
        list(chunks(path, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; its first line must name the columns"),
        ("1,2\n3,4\n", "its first line, 1, 2, may be the names of the columns or a row"),
        ("a,b\n1,2,3\n", "row 1 has 3 cells, but there are 2 columns"),
        ("a,a\n1,2\n", "has 2 columns 'a'"),
        ("a,\n1,2\n", "has a column without a name"),
        ('a\n"' + "1" * 140_000, "line 2: field larger than field limit"),
        ("a\n" + "1" * 2000, "has a line of more than 1,000 characters"),
    ],
)
def test_text_that_is_no_table_is_refused(tmp_path, monkeypatch, content, message):
    if message.endswith("characters"):
        monkeypatch.setattr(records, "_MOST_CHARACTERS", 1000)
    with pytest.raises(DataError, match=message):
        read_table(written(tmp_path / "a.csv", content))


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a\n1\n\xff\n")
    with pytest.raises(DataError, match=r"a\.csv: after line \d it is not UTF-8 text"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no more than its name")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        read_table(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'a' holds string, not numbers"):
        read_table(arrow(tmp_path / "b.parquet", a=["1"]))
    with pytest.raises(DataError, match="column 'a' has whole numbers too large"):
        read_table(arrow(tmp_path / "c.parquet", a=[2**53 + 1]))
    whole = arrow(tmp_path / "d.parquet", a=np.arange(5000)).read_bytes()
    (tmp_path / "d.parquet").write_bytes(whole[:8] + b"\xff" * 64 + whole[72:])
    with pytest.raises(DataError, match=r"d\.parquet cannot be read as Parquet"):
        read_table(tmp_path / "d.parquet")


def test_without_pyarrow_parquet_says_what_to_install(tmp_path, monkeypatch):
    path = arrow(tmp_path / "a.parquet", a=[1.0])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError) as refused:
        read_table(path)
    assert refused.value.hint == "pip install 'zoo-core[parquet]'"


def test_files_of_a_folder_or_archive_are_one_table_in_order_of_name(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    written(source / "2.csv", "a\n3\n")
    written(source / "1.csv", "a\n1\n2\n")
    arrow(source / "3.parquet", a=[4])
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, path.name)
    for path in (source, tmp_path / "all.zip"):
        assert material(path)._table.values.tolist() == [[1], [2], [3], [4]]
    written(source / "4.csv", "b\n1\n")
    with pytest.raises(DataError, match=r"4\.csv has the columns b, but .*1\.csv has a"):
        material(source)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_rows_have_the_precision_of_the_network(tmp_path, kind):
    found = bound(written(tmp_path / "a.csv", CSV), tmp_path)
    rows = found.rows(Constant(torch.zeros(2, dtype=kind)), 0)
    batch = rows.rows(0, 3)
    assert (batch.dtype, rows.unit, rows.epoch) == (kind, "rows", 3)
    assert sorted(batch.tolist()) == sorted(torch.tensor(VALUES, dtype=kind).tolist())
    assert found.summary == "3 rows of 2 columns, 0 held out"


def test_standardised_columns_have_mean_zero_and_variance_one_where_they_are_trained_on(tmp_path):
    draws = np.random.default_rng(1).normal(size=(50, 3)) * [1e-3, 1.0, 1e6] + [1e3, 0, -5]
    draws[:, 1] = 0.1  # never changes
    path = written(
        tmp_path / "a.csv", "a,b,c\n" + "\n".join(",".join(map(repr, row)) for row in draws.tolist())
    )
    found = bound(path, tmp_path, TableRules(standardise=True, held_out_share=0.3), seed=1)
    trained = found.rows(Constant(torch.zeros(3, dtype=torch.float64)), 0).rows(0, 35).numpy()
    assert np.abs(trained.mean(axis=0)).max() < 1e-9
    assert trained.std(axis=0) == pytest.approx([1, 0, 1], abs=1e-9)
    said = json.loads((tmp_path / "columns.json").read_text())
    assert said["names"] == ["a", "b", "c"]
    assert said["scale"][1] == 1.0


def test_a_network_keeps_its_own_columns_and_scales(tmp_path):
    first = bound(
        written(tmp_path / "a.csv", "x,y\n0,5\n2,5\n"),
        tmp_path,
        TableRules(standardise=True, held_out_share=0),
    )
    assert first.bind(family("table"), {"columns.json": tmp_path / "columns.json"}) == {"columns": 2}
    other = material(written(tmp_path / "b.csv", "x,y\n3,5\n"))
    other.bind(family("table"), {"columns.json": tmp_path / "columns.json"})
    assert other.rows(Constant(torch.zeros(2)), 0).rows(0, 1).tolist() == [[2.0, 0.0]]
    wrong = material(written(tmp_path / "b.csv", "y,x\n3,5\n"))
    with pytest.raises(DataError, match="the data has the columns y, x, but the network has x, y"):
        wrong.bind(family("table"), {"columns.json": tmp_path / "columns.json"})


@pytest.mark.parametrize(
    "said",
    [
        "{",
        {"schema": 1},
        {"schema": 1, "names": ["a"], "mean": [0, 0], "scale": [1]},
        {"schema": 1, "names": ["a"], "mean": [0], "scale": [0]},
    ],
)
def test_a_file_that_says_no_columns_is_refused(tmp_path, said):
    file = tmp_path / "columns.json"
    file.write_text(said if isinstance(said, str) else json.dumps(said))
    found = material(written(tmp_path / "a.csv", "a\n1\n"))
    with pytest.raises(DataError, match=r"columns\.json does not say names, mean and scale"):
        found.bind(family("table"), {"columns.json": file})


def test_before_it_is_bound_a_table_gives_no_rows(tmp_path):
    found = material(written(tmp_path / "a.csv", CSV))
    with pytest.raises(DataError, match="bind it to the files"):
        found.rows(Constant(torch.zeros(2)), 0)
    with pytest.raises(DataError, match=r"there is no columns\.json"):
        found.bind(family("table"), {})


def test_held_out_rows_are_measured(tmp_path):
    path = written(tmp_path / "a.csv", "a\n" + "\n".join(map(str, range(1, 11))))
    found = bound(path, tmp_path, TableRules(held_out_share=0.4), seed=3)
    network = Constant(torch.zeros(1))
    trained = set(found.rows(network, 0).rows(0, 6).flatten().tolist())
    witness = np.mean(list(set(range(1, 11)) - trained))
    assert found.evaluate(network) == {"held_out_loss": pytest.approx(witness)}


def test_a_preview_is_a_csv_in_the_units_of_the_data(tmp_path):
    path = written(tmp_path / "a.csv", '"size, in m",y\n0,5\n4,7\n')
    found = bound(path, tmp_path, TableRules(standardise=True, held_out_share=0.0))
    [drawn] = found.preview(Constant(torch.tensor([0.5, -1.0])), 2, seed=0, stem=tmp_path / "step-1")
    assert drawn.read_text() == '"size, in m",y\n3.0,5.0\n3.0,5.0\n'
    assert read_table(drawn).names == ("size, in m", "y")


def test_values_whose_variance_is_beyond_all_numbers_are_refused_by_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,1e300\n2,-1e300\n", encoding="utf-8")
    material = table.read(Source(str(path), path=path), TableRules(standardise=True, held_out_share=0.0), 0)
    with pytest.raises(DataError, match="column 'b' has values too large"):
        material.learn(tmp_path)
