"""zoo score for tables: a number a row, columns by name, files of every kind, what cannot be scored."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from cli.json_shapes import documented, shape
from table_runs import mixture_run
from zoo.datasets.table_columns import ImageShape
from zoo.datasets.table_files import Table
from zoo.modality.table_files import save

NAMES = ("height, in cm", "weight", "age")
ROWS = np.array([[170.0, 70, 40], [180.5, 90, 12], [1, 2, 3]])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return str(mixture_run(tmp_path_factory.mktemp("table") / "people", NAMES))


@pytest.fixture(scope="module")
def witness():
    """The densities by scipy, in the units of the data."""
    from scipy import stats

    scaled = (ROWS - [170, 70, 40]) / [10, 8, 20]
    covariance = np.eye(3)
    covariance[0, 1] = covariance[1, 0] = 0.8
    parts = [
        weight * stats.multivariate_normal([mean] * 3, covariance).pdf(scaled)
        for weight, mean in ((0.3, -0.5), (0.7, 0.7))
    ]
    return (np.log(sum(parts)) - math.log(10 * 8 * 20)).tolist()


@pytest.fixture
def people(tmp_path):
    path = tmp_path / "people.csv"
    save(Table(NAMES, ROWS), path)
    return path


def numbers(text):
    return [float(line) for line in text.splitlines()]


def test_a_pipe_gets_one_number_a_row_and_the_mean_stands_aside(zoo, run, people, witness):
    ran = zoo("score", run, str(people))
    assert ran.code == 0
    assert numbers(ran.out) == pytest.approx(witness)
    mean, total = np.mean(witness), np.sum(witness)
    free = 1 + 2 * 3 + 2 * 6  # weights, means and symmetric matrices of two components
    bic, aic = -2 * total + free * math.log(3), -2 * total + 2 * free
    assert ran.err == (
        f"3 rows: mean log-likelihood {mean:.6f} nats, {total:.3f} in all, BIC {bic:.3f}, AIC {aic:.3f}\n"
    )
    assert zoo("score", run, str(people), "--quiet").err == ""


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_columns_are_matched_by_name_and_others_passed_over(zoo, run, witness, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save(Table(("age", "extra", *NAMES[:2]), np.column_stack([ROWS[:, 2], ROWS[:, 0], ROWS[:, :2]])), path)
    ran = zoo("score", run, str(path))
    assert numbers(ran.out) == pytest.approx(witness)
    assert ran.err.startswith(f"{path}: columns that the model does not have are passed over: extra\n")


def test_what_zoo_sample_writes_into_a_pipe_can_be_scored(zoo, run):
    drawn = zoo("sample", run, "-n", "3", "--seed", "1").out
    ran = zoo("score", run, "-", stdin=drawn)
    assert (ran.code, len(numbers(ran.out))) == (0, 3)
    assert zoo("score", run, "-", stdin="age\n1\n").err.startswith("error: standard input has no columns")


def test_a_column_that_is_missing_is_named(zoo, run, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("weight,hieght\n1,2\n")
    ran = zoo("score", run, str(path))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: {path} has no columns height, in cm, age; it has weight, hieght")


def test_arrays_are_read_by_the_order_of_their_columns(zoo, run, witness, tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    assert numbers(zoo("score", run, str(tmp_path / "a.npy")).out) == pytest.approx(witness)
    np.save(tmp_path / "b.npy", ROWS[:, :2])
    ran = zoo("score", run, str(tmp_path / "b.npy"))
    assert (ran.code, "has 2 columns, but" in ran.err) == (1, True)


def test_images_are_scored_by_a_model_of_images(zoo, tmp_path):
    image = ImageShape(1, 2, 1)
    run = mixture_run(tmp_path / "run", image.names(), mean=(0, 0), scale=(255, 255), image=image)
    np.savez(tmp_path / "a.npz", images=np.array([[[0, 255]]], np.uint8))
    save(Table(image.names(), np.array([[0.0, 255]])), tmp_path / "a.csv")
    one, other = (zoo("score", str(run), str(tmp_path / f"a.{kind}")) for kind in ("npz", "csv"))
    assert one.out == other.out != ""


def test_json_has_the_rows_and_the_sums(zoo, run, people, witness, tmp_path):
    more = tmp_path / "more.csv"
    save(Table(NAMES, ROWS[1:2]), more)
    ran = zoo("score", run, str(people), str(more), "--json")
    said = json.loads(ran.out)
    assert shape(said) == documented("zoo score MODEL FILE --json, of tables")
    assert [(item["file"], item["row"]) for item in said["items"]] == [
        *((str(people), row) for row in (1, 2, 3)),
        (str(more), 1),
    ]
    expected = [*witness, witness[1]]
    assert [item["log_likelihood"] for item in said["items"]] == pytest.approx(expected)
    assert said["rows"] == 4
    assert said["log_likelihood"] == pytest.approx(sum(expected))
    assert said["mean_log_likelihood"] == pytest.approx(sum(expected) / 4)
    assert said["model"] == run


@pytest.mark.parametrize("batch_size", ["1", "2", "100"])
def test_rows_computed_together_change_speed_alone(zoo, run, people, witness, batch_size):
    ran = zoo("score", run, str(people), "--batch-size", batch_size)
    assert numbers(ran.out) == pytest.approx(witness, rel=1e-12)


def test_a_terminal_shows_the_first_rows_and_counts(zoo, run, tmp_path):
    path = tmp_path / "a.csv"
    save(Table(NAMES, np.tile(ROWS, (10, 1))), path)
    ran = zoo("score", run, str(path), terminal=True)
    assert len(ran.out.splitlines()) == 21
    assert "log-likelihood" in ran.out.splitlines()[0]
    assert "... and 10 more rows; -o FILE.csv saves all" in ran.err
    assert "30 rows: mean log-likelihood -" in ran.err
    assert "\r\x1b[K30 rows" in ran.err
    assert str(path) in zoo("score", run, str(path), str(path), terminal=True).out


def test_scores_are_saved(zoo, run, people, witness, tmp_path):
    ran = zoo("score", run, str(people), "-o", str(tmp_path / "a.csv"))
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith(f"saved 3 scores to {tmp_path / 'a.csv'}\n3 rows: mean")
    with (tmp_path / "a.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["file"], row["row"]) for row in found] == [(str(people), str(n)) for n in (1, 2, 3)]
    assert [float(row["log_likelihood"]) for row in found] == pytest.approx(witness)
    zoo("score", run, str(people), "-o", str(tmp_path / "a.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines == json.loads(zoo("score", run, str(people), "--json").out)["items"]
    assert zoo("score", run, str(people), "-o", str(tmp_path / "a.csv")).code == 2
    assert zoo("score", run, str(people), "-o", str(tmp_path / "a.csv"), "--yes").code == 0
    ran = zoo("score", run, str(people), "-o", str(tmp_path / "a.parquet"))
    assert (ran.code, ".csv, .tsv or .jsonl" in ran.err) == (2, True)


def test_what_python_scores_is_what_the_command_says(zoo, run, people):
    import zoo as library

    said = json.loads(zoo("score", run, str(people), "--json").out)
    found = library.score(run, ROWS, device="cpu")
    assert [item["log_likelihood"] for item in said["items"]] == list(found.items)
    assert said["mean_log_likelihood"] == pytest.approx(found.mean)


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("a.csv", '"height, in cm",weight,age\n1,2,3\n1,,3\n', 1, "row 2, column 'weight' is empty"),
        ("a.csv", '"height, in cm",weight,age\n', 1, "has no rows to score"),
        ("a.txt", "x", 2, "a.txt is not a table by its name"),
        ("missing.csv", None, 1, "missing.csv cannot be read: No such file or directory"),
    ],
)
def test_files_that_cannot_be_scored_are_refused(zoo, run, tmp_path, name, content, code, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    ran = zoo("score", run, str(tmp_path / name))
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_a_row_beyond_all_numbers_is_warned_of(zoo, run, tmp_path):
    save(Table(NAMES, np.array([[170.0, 70, 40], [1e300, 0, 0]])), tmp_path / "a.csv")
    ran = zoo("score", run, str(tmp_path / "a.csv"), "--json")
    said = json.loads(ran.out)
    assert ran.code == 1
    assert said["items"][1]["log_likelihood"] is said["mean_log_likelihood"] is None
    assert "1 of 2 rows is no finite number, the first of" in ran.err


@pytest.fixture
def commas(tmp_path):
    """The rows as a spreadsheet writes them where a comma begins the decimals, one of them without its weight."""
    path = tmp_path / "commas.csv"
    cells = [[repr(value).replace(".", ",") for value in row] for row in ROWS.tolist()]
    cells.insert(1, ["1,0", "", "2,5"])
    path.write_text("\n".join(["height, in cm;weight;age", *map(";".join, cells)]) + "\n", encoding="utf-16")
    return path


def test_a_row_without_a_value_is_left_out_and_keeps_its_line(zoo, run, commas, witness):
    ran = zoo("score", run, str(commas))
    assert (ran.code, ran.out) == (1, "")
    assert "row 2, column 'weight' is empty" in ran.err
    assert ran.err.endswith("leave such rows out: --set data.skip_missing=true\n")
    ran = zoo("score", run, str(commas), "--set", "data.skip_missing=true")
    first, left_out, *others = ran.out.splitlines()
    assert ([float(first), *map(float, others)], left_out) == (pytest.approx(witness), "")
    assert ran.err.startswith("3 rows (1 with a missing value left out): mean log-likelihood")
    said = json.loads(zoo("score", run, str(commas), "--set", "data.skip_missing=true", "--json").out)
    assert [item["row"] for item in said["items"]] == [1, 3, 4]


def test_a_setting_of_files_is_checked(zoo, run, people):
    ran = zoo("score", run, str(people), "--set", "data.delimeter=;")
    assert (ran.code, "did you mean 'delimiter'?" in ran.err) == (2, True)
    ran = zoo("score", run, str(people), "--set", "config.layers=2")
    assert (ran.code, "there is no setting 'config'" in ran.err) == (2, True)
    ran = zoo("score", run, str(people), "--set", "data.delimiter=;")
    assert (ran.code, "has no columns height, in cm" in ran.err) == (1, True)


@pytest.fixture(scope="module")
def labels():
    """The likeliest component of each row and its probability, by scipy."""
    from scipy import stats

    scaled = (ROWS - [170, 70, 40]) / [10, 8, 20]
    covariance = np.eye(3)
    covariance[0, 1] = covariance[1, 0] = 0.8
    parts = [
        weight * stats.multivariate_normal([mean] * 3, covariance).pdf(scaled)
        for weight, mean in ((0.3, -0.5), (0.7, 0.7))
    ]
    shares = np.array(parts) / sum(parts)
    return shares.argmax(axis=0).tolist(), shares.max(axis=0).tolist()


def test_labels_say_the_component_of_each_row_and_how_probable_it_is(
    zoo, run, people, witness, labels, tmp_path
):
    assert set(labels[0]) == {0, 1}
    lines = [line.split("\t") for line in zoo("score", run, str(people), "--labels").out.splitlines()]
    assert [float(line[0]) for line in lines] == pytest.approx(witness)
    assert [line[1] for line in lines] == list(map(str, labels[0]))
    assert [float(line[2]) for line in lines] == pytest.approx(labels[1])
    ran = zoo("score", run, str(people), "--labels", "-o", str(tmp_path / "labelled.csv"))
    assert ran.err.startswith(f"saved 3 scores to {tmp_path / 'labelled.csv'}\n")
    with (tmp_path / "labelled.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["file", "row", "log_likelihood", "component", "responsibility"]
    assert [row["component"] for row in found] == list(map(str, labels[0]))
    said = json.loads(zoo("score", run, str(people), "--labels", "--json").out)
    assert shape(said) == documented("zoo score MODEL FILE --labels --json, of tables")
    assert [item["component"] for item in said["items"]] == labels[0]
    shown = zoo("score", run, str(people), "--labels", terminal=True).out
    assert all(name in shown.splitlines()[0] for name in ("row", "component", "responsibility"))


def test_drawn_rows_can_be_labelled(zoo, run):
    drawn = zoo("sample", run, "-n", "4", "--seed", "1").out
    ran = zoo("score", run, "-", "--labels", stdin=drawn)
    assert [len(line.split("\t")) for line in ran.out.splitlines()] == [3] * 4
