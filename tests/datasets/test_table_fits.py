"""Tables that a family is fitted to: weights of rows, likelihoods held out, arrays and images as tables."""

from __future__ import annotations

import json
import math
import zipfile

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet
from scipy import stats

from table_runs import NORMAL, Normal
from toy_family import Constant, family
from zoo.datasets import arrays, reading, table, table_arrays, table_files
from zoo.datasets.passes import ALONE, Team
from zoo.datasets.source import Source
from zoo.datasets.table import TableRules, chunks, read_table
from zoo.errors import DataError, UsageError

ALL = TableRules(held_out_share=0.0)
WEIGHTED = "x,w,y\n1,0,10\n2,1.5,20\n3,2,30\n"
HOLES = "a\tb\n1\t2\n3\t\n"


def written(path, content):
    path.write_text(content, encoding="utf-8", newline="")
    return path


def bound(source, folder, rules=ALL, seed=0):
    found = reading.read("table", str(source), rules, seed)
    found.learn(folder)
    config = found.bind(NORMAL, {"columns.json": folder / "columns.json"})
    assert config == {"columns": len(json.loads((folder / "columns.json").read_text())["names"])}
    return found


def test_a_column_of_weights_goes_with_the_rows_and_is_not_learned_from(tmp_path):
    found = bound(written(tmp_path / "a.csv", WEIGHTED), tmp_path, TableRules(weights="w", held_out_share=0))
    [(rows, weights)] = found.passes(Normal([0.0, 0.0]), 0, ALONE).batches(5)
    assert rows.tolist() == [[1, 10], [2, 20], [3, 30]]
    assert weights.tolist() == [0, 1.5, 2]
    assert found.summary == "3 rows of 2 columns, weighted by 'w', 0 held out"
    assert json.loads((tmp_path / "columns.json").read_text())["names"] == ["x", "y"]


def test_weights_weigh_in_means_scales_and_what_is_held_out(tmp_path):
    rng = np.random.default_rng(0)
    values, weights = rng.normal(3, 2, size=40), rng.uniform(size=40)
    path = written(
        tmp_path / "a.csv",
        "x,w\n" + "".join(f"{x!r},{w!r}\n" for x, w in zip(values.tolist(), weights.tolist(), strict=True)),
    )
    rules = TableRules(weights="w", standardise=True, held_out_share=0.5)
    found = bound(path, tmp_path, rules, seed=1)
    trained, held = found._train, found._held_out
    mean = np.average(values[trained], weights=weights[trained])
    deviation = np.sqrt(np.average((values[trained] - mean) ** 2, weights=weights[trained]))
    said = json.loads((tmp_path / "columns.json").read_text())
    assert (said["mean"][0], said["scale"][0]) == pytest.approx((mean, deviation))
    each = stats.norm(mean + 0.5 * deviation, deviation).logpdf(values[held])  # in the data's units
    witness = -np.average(each, weights=weights[held])
    assert found.evaluate(Normal([0.5])) == {
        "held_out_nats_per_row": pytest.approx(witness),
        "held_out_rows": 20,
    }


def test_rows_that_train_by_gradients_take_no_weights(tmp_path):
    found = bound(written(tmp_path / "a.csv", WEIGHTED), tmp_path, TableRules(weights="w", held_out_share=0))
    with pytest.raises(UsageError, match=r"data\.weights is 'w', but only families that are fitted"):
        found.rows(Constant(torch.zeros(2)), 0)


@pytest.mark.parametrize(
    ("rules", "content", "error", "said"),
    [
        ({"weights": "v"}, WEIGHTED, UsageError, r"data\.weights names 'v', but .*a\.csv has x, w, y"),
        ({"weights": "w", "columns": ("x", "w")}, WEIGHTED, UsageError, r"'w', which is among data\.columns"),
        ({"columns": ("x", "x")}, WEIGHTED, UsageError, r"data\.columns names 'x' twice"),
        ({"weights": "w"}, "w\n1\n", UsageError, "no column but the weights 'w'"),
        (
            {"weights": "w"},
            "x,w\n1,1\n2,-0.5\n",
            DataError,
            r"row 2, column 'w' is -0\.5, but a weight is at",
        ),
        ({"weights": "w"}, "x,w\n1,1\n2,nan\n", DataError, "row 2, column 'w' is 'nan', not a finite number"),
        ({}, "x,y\n", DataError, "the table has no rows"),
    ],
)
def test_weights_and_columns_that_cannot_be_are_refused(tmp_path, rules, content, error, said):
    with pytest.raises(error, match=said):
        reading.read("table", str(written(tmp_path / "a.csv", content)), TableRules(**rules), 0)


def test_weights_that_are_all_zero_give_no_scale(tmp_path):
    path = written(tmp_path / "a.csv", "x,w\n1,0\n2,0\n")
    found = reading.read("table", str(path), TableRules(weights="w", standardise=True, held_out_share=0), 0)
    with pytest.raises(DataError, match="all rows to train on have the weight 0"):
        found.learn(tmp_path)


def test_without_held_out_rows_there_is_no_list_of_row_numbers_and_nothing_to_measure(tmp_path):
    found = bound(written(tmp_path / "a.csv", "x\n1\n2\n"), tmp_path)
    assert found._train is None
    assert found.evaluate(Normal([0.0])) == {}
    held = bound(written(tmp_path / "b.csv", "x\n1\n2\n"), tmp_path, TableRules(held_out_share=0.5))
    assert len(held._train) == 1
    assert held.passes(Normal([0.0]), 0, ALONE).rows == 1


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_passes_have_the_precision_of_the_network_and_the_share_of_the_process(tmp_path, kind):
    found = bound(written(tmp_path / "a.csv", "x\n1\n2\n3\n4\n"), tmp_path)
    [batch] = found.passes(Normal([0.0], kind), 0, Team(index=1, count=2)).batches(4)
    assert (batch.dtype, batch.tolist()) == (kind, [[3], [4]])


def test_held_out_rows_are_measured_whatever_the_parts(tmp_path, monkeypatch):
    path = written(tmp_path / "a.csv", "x\n" + "\n".join(map(str, range(10))))
    found = bound(path, tmp_path, TableRules(held_out_share=0.4))
    whole = found.evaluate(Normal([3.0]))
    monkeypatch.setattr(table, "_VALUES_MEASURED", 3)
    assert found.evaluate(Normal([3.0])) == pytest.approx(whole)
    assert whole["held_out_nats_per_row"] == pytest.approx(
        -stats.norm(3).logpdf(found._table.values[found._held_out, 0]).mean()
    )


class TestMissing:
    """What is missing is refused with row and column, whatever the file."""

    def test_in_text(self, tmp_path):
        for name, content in (("a.tsv", HOLES), ("a.csv", HOLES.replace("\t", ","))):
            with pytest.raises(DataError, match=r"row 2, column 'b' is empty, not a finite number"):
                reading.read("table", str(written(tmp_path / name, content)), ALL, 0)

    def test_in_parquet(self, tmp_path):
        for missing, said in ((None, "is empty"), (math.nan, "is nan")):
            parquet.write_table(pyarrow.table({"a": [1.0, 3.0], "b": [2.0, missing]}), tmp_path / "a.parquet")
            with pytest.raises(DataError, match=f"row 2, column 'b' {said}"):
                reading.read("table", str(tmp_path / "a.parquet"), ALL, 0)

    @pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f8"])
    def test_in_arrays(self, tmp_path, monkeypatch, kind):
        monkeypatch.setattr(table_arrays, "_ROWS_AT_ONCE", 3)
        values = np.zeros((10, 2), kind)
        values[7, 1] = np.nan
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(DataError, match=r"a\.npy: row 8, column 'c1' is nan, not a finite number"):
            reading.read("table", str(tmp_path / "a.npy"), ALL, 0)
        with pytest.raises(DataError, match="row 8, column 'c1' is nan"):
            list(chunks(tmp_path / "a.npy", 4, ["c1"]))


@pytest.mark.parametrize("together", [1, 2, 3, 1024])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1,2\n3,4\n5\nx,6\n", "row 3 has 1 cells, but there are 2 columns"),
        ("1,2\n3,4\nx,6\n5\n", "row 3, column 'a' is 'x'"),
        ("1,2\n3,4\n5,6,7,8\n", "row 3 has 4 cells"),
        ("1,2\n3,4\n5,6_0\n", "row 3, column 'b' is '6_0'"),
        ("1,2\n3\n4,5,6\n", "row 2 has 1 cells"),  # as many cells as there should be, but not in each row
    ],
)
def test_the_first_odd_row_is_named_however_many_are_read_together(
    tmp_path, monkeypatch, together, content, said
):
    monkeypatch.setattr(table_files, "_RECORDS_AT_ONCE", together)
    path = written(tmp_path / "a.csv", "a,b\n" + content)
    for columns in ((), ("b", "a")):
        with pytest.raises(DataError, match=said):
            list(chunks(path, 3, columns))


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int16, np.uint64, np.bool_, ">i4"])
def test_an_array_is_a_table_whose_columns_are_numbered(tmp_path, kind):
    values = np.array([[1, 0, 1], [0, 1, 1]], kind)
    np.save(tmp_path / "a.npy", values)
    assert read_table(tmp_path / "a.npy").names == ("c0", "c1", "c2")
    assert read_table(tmp_path / "a.npy", ["c2", "c0"]).values.tolist() == [[1, 1], [1, 0]]
    found = bound(tmp_path / "a.npy", tmp_path)
    assert isinstance(found._table.values, np.memmap)  # never read as a whole
    [batch] = found.passes(Normal([0.0] * 3), 0, ALONE).batches(9)
    assert batch.tolist() == values.astype(float).tolist()
    assert sorted(found.rows(Constant(torch.zeros(3)), 0).rows(0, 2).tolist()) == sorted(values.tolist())


def test_columns_of_an_array_are_chosen_and_one_of_them_may_be_weights(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, 2, 3], [4, 5, 6]]))
    rules = TableRules(columns=("c2",), weights="c0", held_out_share=0)
    [(rows, weights)] = bound(tmp_path / "a.npy", tmp_path, rules).passes(Normal([0.0]), 0, ALONE).batches(9)
    assert (rows.tolist(), weights.tolist()) == ([[3], [6]], [1, 4])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros(3), r"float64 \(3,\), but a table is numbers \(N, D\)"),
        (np.zeros((2, 0)), r"float64 \(2, 0\)"),
        (np.zeros((2, 2, 2)), r"float64 \(2, 2, 2\)"),
        (np.zeros((2, 2), complex), "complex128"),
        (np.array([["a"]]), "<U1"),
        (np.array([[2**53 + 1]]), "is 9007199254740993, not a finite number that 64-bit floats have"),
        (np.array([[-(2**60)]]), "is -1152921504606846976"),
        (np.array([[{}]], object), "cannot be read: Array can't be memory-mapped: Python objects"),
    ],
)
def test_arrays_of_anything_else_are_refused(tmp_path, values, said):
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(DataError, match=said):
        reading.read("table", str(tmp_path / "a.npy"), ALL, 0)


def test_damaged_and_archived_arrays_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((100, 2)))
    whole = (tmp_path / "a.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.npy", "a.npy")
    with pytest.raises(DataError, match=r"a\.zip:a\.npy is an array inside an archive"):
        reading.read("table", str(tmp_path / "a.zip"), ALL, 0)
    for content in (whole[:500], b"no array", b""):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npy cannot be read"):
            reading.read("table", str(tmp_path / "a.npy"), ALL, 0)


def test_arrays_of_a_folder_are_one_table(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    np.save(folder / "1.npy", np.array([[1.0]]))
    np.save(folder / "2.npy", np.array([[2]]))
    assert bound(folder, tmp_path)._table.values.tolist() == [[1], [2]]


def test_more_than_memory_should_hold_lies_in_a_file(tmp_path, monkeypatch):
    rows = "".join(f"{row},{row * row},1\n" for row in range(200))
    path = written(tmp_path / "a.csv", "x,y,w\n" + rows)
    rules = TableRules(weights="w", standardise=True, held_out_share=0.1)
    whole = bound(path, tmp_path, rules)
    monkeypatch.setattr(arrays.Pile.__init__, "__kwdefaults__", {"in_memory": 1000})
    monkeypatch.setattr("zoo.datasets.table_gathering._ROWS_AT_ONCE", 16)
    spilled = bound(path, tmp_path, rules)
    assert isinstance(spilled._table.values, np.memmap)
    network = Normal([0.0, 0.0])
    one, other = (found.passes(network, 0, ALONE) for found in (whole, spilled))
    assert one.fingerprint == other.fingerprint
    for left, right in zip(one.batches(33), other.batches(33), strict=True):
        assert torch.equal(left[0], right[0])
        assert torch.equal(left[1], right[1])
    assert spilled.evaluate(network) == whole.evaluate(network)


def test_built_in_images_are_tables_of_pixels(tmp_path):
    found = bound("digits", tmp_path)
    said = json.loads((tmp_path / "columns.json").read_text())
    assert said["image"] == {"height": 8, "width": 8, "channels": 1}
    assert said["names"][:2] == ["r0c0", "r0c1"]
    assert said["names"][-1] == "r7c7"
    values = found._table.values
    assert (values.shape, values.min(), values.max()) == ((1797, 64), 0, 255)
    [batch] = found.passes(Normal([0.0] * 64), 0, ALONE).batches(2000)
    assert batch.dtype == torch.float64
    assert batch.tolist() == values.tolist()


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_images_of_an_array_file_are_tables_too(tmp_path, suffix):
    pixels = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, images=pixels)
    else:
        np.save(path, pixels)
    found = bound(path, tmp_path)
    said = json.loads((tmp_path / "columns.json").read_text())
    assert said["image"] == {"height": 2, "width": 3, "channels": 3}
    assert said["names"][:4] == ["r0c0k0", "r0c0k1", "r0c0k2", "r0c1k0"]
    assert found._table.values.tolist() == pixels.reshape(2, -1).tolist()
    assert read_table(path, ["r1c2k0"]).values.tolist() == pixels[:, 1, 2, :1].tolist()
    some = bound(path, tmp_path, TableRules(columns=("r0c0k0",), held_out_share=0))
    assert "image" not in json.loads((tmp_path / "columns.json").read_text())
    assert some._table.values.tolist() == [[0], [18]]


def test_a_preview_of_images_is_a_grid(tmp_path):
    from PIL import Image

    np.savez(tmp_path / "a.npz", images=np.zeros((3, 2, 2), np.uint8))
    found = reading.read("table", str(tmp_path / "a.npz"), ALL, 0)
    found.learn(tmp_path)
    found.bind(family("table"), {"columns.json": tmp_path / "columns.json"})
    network = Constant(torch.tensor([-5.0, 0, 100, 300]))
    [drawn] = found.preview(network, 1, seed=0, stem=tmp_path / "step-1")
    assert drawn.name == "step-1.png"
    assert np.asarray(Image.open(drawn))[2:4, 2:4].tolist() == [[0, 0], [100, 255]]


@pytest.mark.parametrize(
    "image", [{"height": 2, "width": 2, "channels": 1}, {"height": 1, "width": 1}, [], {"height": "1"}]
)
def test_a_columns_file_whose_image_is_not_its_columns_is_refused(tmp_path, image):
    said = {"schema": 1, "names": ["a"], "mean": [0], "scale": [1], "image": image}
    (tmp_path / "columns.json").write_text(json.dumps(said))
    found = table.read(Source("a", path=written(tmp_path / "a.csv", "a\n1\n")), ALL, 0)
    with pytest.raises(DataError, match=r"columns\.json does not say names, mean and scale"):
        found.bind(NORMAL, {"columns.json": tmp_path / "columns.json"})
