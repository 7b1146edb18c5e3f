"""zoo eval for tables and sequences: measures with N, interval and seed, and what cannot be measured."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import sequence_witness as witness
from cli.json_shapes import documented, shape
from table_runs import mixture_run
from zoo.datasets.table_files import Table
from zoo.modality.table_files import save

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("height, in cm", "weight", "age")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A table model."""
    return str(mixture_run(tmp_path_factory.mktemp("table") / "people", NAMES))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return str(witness.folder(tmp_path_factory.mktemp("text"), witness.of_symbols(), witness.LETTERS))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    return str(witness.folder(tmp_path_factory.mktemp("numbers"), witness.of_numbers(), witness.NUMBERS))


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return str(witness.folder(tmp_path_factory.mktemp("bases"), witness.of_symbols(), witness.BASES))


@pytest.fixture
def rows(tmp_path):
    """Ten rows with weights."""
    drawn = np.random.default_rng(0)
    values = drawn.normal((170, 70, 40), (10, 8, 20), (10, 3))
    save(Table((*NAMES, "w"), np.column_stack([values, drawn.uniform(1, 3, 10)])), tmp_path / "rows.csv")
    return tmp_path / "rows.csv"


def scores(zoo, model, path):
    """What `zoo score` says of each item."""
    said = json.loads(zoo("score", model, str(path), "--json").out)
    return [item["log_likelihood"] for item in said["items"]]


def test_a_table_is_measured_by_row_and_by_column(zoo, people, rows):
    ran = zoo("eval", people, "--data", str(rows))
    assert (ran.code, ran.err) == (0, "")
    nats, bits = (line.split("\t") for line in ran.out.splitlines())
    mean = -np.mean(scores(zoo, people, rows))
    assert (nats[0], bits[0]) == ("nats per row", "bits per column")
    assert float(nats[1]) == pytest.approx(mean)
    assert float(bits[1]) == pytest.approx(mean / 3 / math.log(2))
    assert float(nats[2]) < mean < float(nats[3])
    assert nats[4:] == bits[4:] == ["10", "rows", ""]


def test_json_of_a_table_is_as_documented_and_weights_count(zoo, people, rows):
    said = json.loads(zoo("eval", people, "-d", str(rows), "--weights", "w", "--json").out)
    assert shape(said) == documented("zoo eval MODEL --json, of tables")
    weights = np.loadtxt(rows, delimiter=",", skiprows=1, usecols=3)
    expected = -np.average(scores(zoo, people, rows), weights=weights)
    assert said["metrics"]["nats_per_row"]["value"] == pytest.approx(expected)
    assert (said["model"], said["rows"], said["columns"]) == (people, 10, 3)


def test_a_terminal_gets_a_table_and_what_the_intervals_are_over(zoo, people, rows, numbers, text, tmp_path):
    ran = zoo("eval", people, "--data", str(rows), terminal=True)
    assert f"on {rows}: 10 rows of 3 columns" in ran.out.replace("\n", "")
    assert "95% interval" in ran.out
    assert "intervals over 10 rows" in ran.out
    np.save(tmp_path / "a.npy", np.random.default_rng(1).normal((10, -1), (2, 0.5), (1100, 2)))
    assert (
        "intervals over 8 runs of frames"
        in zoo("eval", numbers, "-d", str(tmp_path / "a.npy"), terminal=True).out
    )
    (tmp_path / "a.txt").write_text("ab ta")
    told = zoo("eval", text, "-d", str(tmp_path / "a.txt"), terminal=True).out
    assert "1 sequence, 5 characters" in told.replace("\n", "")
    assert "intervals none: too few characters" in told


def test_numbers_are_measured_by_frame(zoo, numbers, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y,sequence\n" + "".join(f"{9 + at % 4},-1,{at // 2}\n" for at in range(18)))
    said = json.loads(zoo("eval", numbers, "--data", str(path), "--json").out)
    assert shape(said) == documented("zoo eval MODEL --json, of sequences")
    assert said["metrics"]["nats_per_frame"]["value"] == pytest.approx(-sum(scores(zoo, numbers, path)) / 18)
    assert (said["sequences"], said["frames"], said["blocks"]) == (9, 18, 9)
    ran = zoo("eval", numbers, "--data", str(path))
    assert ran.out.startswith("nats per frame\t")
    assert ran.out.endswith("\t18\tframes\t\n")


def test_symbols_are_measured_in_bits_and_sequences_in_nats(zoo, bases, text, tmp_path):
    (tmp_path / "a.csv").write_text("base\nA\nC\nG\n")
    said = json.loads(zoo("eval", bases, "--data", str(tmp_path / "a.csv"), "--json").out)
    assert shape(said) == documented("zoo eval MODEL --json, of symbols")
    total = witness.log_likelihood(witness.BASES.encode(["A", "C", "G"]))
    assert said["metrics"]["nats_per_sequence"]["value"] == pytest.approx(-total)
    (tmp_path / "a.txt").write_text("ab ta")
    name, value, *rest = zoo("eval", text, "-d", str(tmp_path / "a.txt")).out.splitlines()[0].split("\t")
    assert (name, rest) == ("bits per character", ["", "", "5", "characters", ""])
    expected = -witness.log_likelihood(witness.LETTERS.encode("ab ta")) / 5 / math.log(2)
    assert float(value) == pytest.approx(expected)


def test_shipped_models_are_measured_on_built_in_data(zoo):
    said = json.loads(zoo("eval", "sunspots-hmm", "--data", "sunspots", "--json", "--device", "cpu").out)
    assert (said["data"], said["frames"]) == ("sunspots", 309)
    assert zoo("eval", "sunspots-hmm").code == 2


def test_what_is_impossible_is_told_and_is_null(zoo, tmp_path):
    network = witness.of_symbols()
    network.assign({"transition": torch.eye(2).double(), "start": torch.tensor([1.0, 0.0]).double()})
    never = str(witness.folder(tmp_path / "never", network, witness.LETTERS))
    (tmp_path / "a.txt").write_text("at")
    ran = zoo("eval", never, "--data", str(tmp_path / "a.txt"), "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["metrics"]["bits_per_character"]["value"] is None
    assert "1 of 1 sequence is impossible under the model" in ran.err
    assert "\tinf\t" not in ran.out
    assert zoo("eval", never, "--data", str(tmp_path / "a.txt")).out.startswith(
        "bits per character\tinf\t\t\t2"
    )


def test_weights_that_are_broken_fail(zoo, people, rows, numbers, tmp_path, monkeypatch):
    from zoo import api

    load = api.load

    def rows_of(batch):
        return len(batch["lengths"] if isinstance(batch, dict) else batch)

    def broken(*words, **options):
        model = load(*words, **options)
        model.network.log_prob = lambda batch: torch.full((rows_of(batch),), math.nan)
        return model

    monkeypatch.setattr(api, "load", broken)
    ran = zoo("eval", people, "--data", str(rows))
    assert (ran.code, ran.out.splitlines()[0]) == (1, "nats per row\tnan\t\t\t10\trows\t")
    assert "the log-likelihood of 10 of 10 rows is no finite number" in ran.err
    (tmp_path / "a.csv").write_text("x,y,sequence\n1,2,a\n1,2,b\n")
    ran = zoo("eval", numbers, "--data", str(tmp_path / "a.csv"))
    assert (ran.code, "the log-likelihood of 2 of 2 sequences is no number" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("model", "words", "code", "said"),
    [
        ("people", [], 2, "is no run with held-out data of its own"),
        ("people", ["--data", "/nowhere/at-all"], 1, "/nowhere/at-all"),
        ("people", ["--data", "ROWS", "--window", "4"], 2, "--window"),
        ("people", ["--data", "ROWS", "--weights", "v"], 2, "data.weights names 'v'"),
        ("people", ["--data", "sunspots"], 1, "the built-in data sunspots is sequence"),
        ("numbers", ["--data", "ROWS"], 1, "has no column x, y; it has height"),
        ("text", ["--data", "ROWS", "--per-token"], 2, "--per-token"),
    ],
)
def test_what_cannot_be_measured_says_why(zoo, people, numbers, text, rows, model, words, code, said):
    folder = {"people": people, "numbers": numbers, "text": text}[model]
    ran = zoo("eval", folder, *(str(rows) if word == "ROWS" else word for word in words))
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err.replace("\n", "")
    assert "Traceback" not in ran.err


def test_options_are_those_of_the_modality(zoo, people, text, tiny_gpt2):
    helped = {name: zoo("eval", name, "--help").out for name in (people, text, str(tiny_gpt2))}
    assert "--weights" in helped[people]
    assert "--weights" not in helped[text]
    assert all(("--window" in said) == (name == str(tiny_gpt2)) for name, said in helped.items())


def test_a_run_is_measured_on_what_it_held_out(zoo, tmp_path):
    folder = tmp_path / "run"
    asked = ["--steps", "2", "--seed", "4", "--device", "cpu", "--set", "config.components=2"]
    trained = zoo("train", "gmm", "--data", "digits", "-o", str(folder), *asked, "--json")
    assert trained.code == 0, trained.err
    said = json.loads(zoo("eval", str(folder), "--device", "cpu", "--json").out)
    assert said["data"] == "held out of digits"
    nats = said["metrics"]["nats_per_row"]
    assert (nats["seed"], nats["samples"]) == (4, 90)
    assert nats["value"] == pytest.approx(json.loads(trained.out)["best"])


def test_the_rows_of_a_file_are_measured_as_a_setting_says_they_are_written(zoo, people, rows, tmp_path):
    whole = zoo("eval", people, "--data", str(rows)).out
    table = [
        line.split(",") for line in rows.read_text().replace("height, in cm", "height; in cm").splitlines()
    ]
    table[0] = ["height, in cm", "weight", "age", "w"]
    table.insert(1, ["1", "NA", "2", "1"])
    other = tmp_path / "other.csv"
    other.write_text("\n".join("\t".join(cells) for cells in table) + "\n")
    ran = zoo("eval", people, "--data", str(other))
    assert (ran.code, "row 1, column 'weight' is 'NA'" in ran.err) == (1, True)
    assert zoo("eval", people, "--data", str(other), "--set", "data.skip_missing=true").out == whole
    ran = zoo("eval", people, "--set", "data.skip_missing=true")
    assert (ran.code, "held out is read as its recipe says" in ran.err) == (2, True)
