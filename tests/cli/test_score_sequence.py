"""zoo score for sequence models: one line a sequence, hidden states, and what cannot be scored."""

from __future__ import annotations

import csv
import json
import math
import shutil

import numpy as np
import pytest
import torch

import sequence_witness as witness
from cli.json_shapes import documented, shape
from zoo import api

pytestmark = pytest.mark.usefixtures("one_thread")

FRAMES = np.array([[10.0, -1.0], [12.0, 0.0], [14.5, -1.5], [9.0, -0.5]])
TABLE = "year,sequence,y,x\n1,a,-1,10\n2,a,0,12\n3,b,-1.5,14.5\n"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return str(witness.folder(tmp_path_factory.mktemp("text"), witness.of_symbols(), witness.LETTERS))


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return str(witness.folder(tmp_path_factory.mktemp("bases"), witness.of_symbols(), witness.BASES))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    return str(witness.folder(tmp_path_factory.mktemp("numbers"), witness.of_numbers(), witness.NUMBERS))


@pytest.fixture(scope="module")
def never(tmp_path_factory):
    """A model of text that never writes the letter t."""
    network = witness.of_symbols()
    network.assign({"transition": torch.eye(2).double(), "start": torch.tensor([1.0, 0.0]).double()})
    return str(witness.folder(tmp_path_factory.mktemp("never"), network, witness.LETTERS))


def written(path, content):
    path.write_text(content, encoding="utf-8", newline="")
    return str(path)


def of_text(*texts):
    return [witness.log_likelihood(witness.LETTERS.encode(one)) for one in texts]


def of_numbers(*sequences):
    log_scale = witness.NUMBERS.columns.log_scale
    return [witness.log_likelihood(witness.NUMBERS.encode(one)) - len(one) * log_scale for one in sequences]


def numbers_of(out):
    return [[float(cell) for cell in line.split("\t")] for line in out.splitlines()]


def test_each_line_of_text_is_scored_against_every_path_of_states(zoo, text, tmp_path):
    path = written(tmp_path / "lines.txt", "ab\n\n tat\r\n")
    ran = zoo("score", text, path)
    expected = of_text("ab", " tat")
    assert numbers_of(ran.out) == [
        pytest.approx([value, -value / count, count], abs=1e-5)
        for value, count in zip(expected, (2, 4), strict=True)
    ]
    assert ran.err.startswith("2 sequences, 6 frames: -")
    assert zoo("score", text, path, "--quiet").err == ""
    assert zoo("score", text, "-", stdin="ab\n\n tat\r\n").out == ran.out


def test_a_whole_file_may_be_one_sequence(zoo, text, tmp_path):
    said = json.loads(zoo("score", text, written(tmp_path / "a.txt", "ab ta"), "--whole", "--json").out)
    assert [(item["sequence"], item["frames"]) for item in said["items"]] == [(None, 5)]
    assert said["log_likelihood"] == pytest.approx(of_text("ab ta")[0])


def test_a_table_is_scored_by_the_models_columns_in_their_own_units(zoo, numbers, tmp_path):
    path = written(tmp_path / "a.csv", TABLE)
    said = json.loads(zoo("score", numbers, path, "--json").out)
    assert shape(said) == documented("zoo score MODEL FILE --json, of sequences")
    expected = of_numbers(FRAMES[:2], FRAMES[2:3])
    assert [(item["file"], item["sequence"], item["frames"]) for item in said["items"]] == [
        (path, "a", 2),
        (path, "b", 1),
    ]
    assert [item["log_likelihood"] for item in said["items"]] == pytest.approx(expected)
    assert [item["nats_per_frame"] for item in said["items"]] == pytest.approx(
        [-expected[0] / 2, -expected[1]]
    )
    assert (said["model"], said["sequences"], said["frames"]) == (numbers, 2, 3)
    assert said["log_likelihood"] == pytest.approx(sum(expected))
    assert said["mean_log_likelihood"] == pytest.approx(sum(expected) / 2)
    assert said["nats_per_frame"] == pytest.approx(-sum(expected) / 3)


def test_another_column_may_say_the_sequence(zoo, numbers, tmp_path):
    path = written(tmp_path / "a.csv", TABLE)
    said = json.loads(zoo("score", numbers, path, "--sequence", "year", "--json").out)
    assert [(item["sequence"], item["frames"]) for item in said["items"]] == [("1", 1), ("2", 1), ("3", 1)]
    ran = zoo("score", numbers, path, "--sequence", "day")
    assert (ran.code, "data.sequence is 'day'" in ran.err) == (2, True)


def test_arrays_and_several_files_are_scored_in_order(zoo, numbers, tmp_path):
    np.save(tmp_path / "a.npy", np.stack([FRAMES, FRAMES + 1]))
    path = written(tmp_path / "b.csv", "x,y\n10,-1\n")
    said = json.loads(zoo("score", numbers, str(tmp_path / "a.npy"), path, "--json").out)
    assert [item["sequence"] for item in said["items"]] == ["0", "1", None]
    expected = of_numbers(FRAMES, FRAMES + 1, FRAMES[:1])
    assert [item["log_likelihood"] for item in said["items"]] == pytest.approx(expected)


def test_symbols_and_letters_are_scored_from_tables_too(zoo, bases, text, tmp_path):
    path = written(tmp_path / "a.csv", "sequence,letter\n1,C\n1,G\n2,T\n")
    expected = of_text("ab", "t")
    assert [row[0] for row in numbers_of(zoo("score", bases, path).out)] == pytest.approx(expected, abs=1e-5)
    beside = written(tmp_path / "b.csv", "base,state\nC,0\nG,1\n")
    assert numbers_of(zoo("score", bases, beside).out)[0][0] == pytest.approx(expected[0], abs=1e-5)
    letters = written(tmp_path / "c.csv", 'symbol\na\nb\n" "\n')
    assert numbers_of(zoo("score", text, letters).out)[0][0] == pytest.approx(of_text("ab ")[0], abs=1e-5)


def test_what_zoo_sample_writes_into_a_pipe_can_be_scored(zoo, numbers, bases):
    for model in (numbers, bases):
        drawn = api.load(model, device="cpu")
        expected = drawn.log_prob([sample.drawn for sample in drawn.samples(count=2, seed=3, length=5)])
        piped = zoo("sample", model, "-n", "2", "--seed", "3", "--length", "5").out
        said = json.loads(zoo("score", model, "-", "--json", stdin=piped).out)
        assert [(item["file"], item["sequence"]) for item in said["items"]] == [("-", "0"), ("-", "1")]
        assert [item["log_likelihood"] for item in said["items"]] == pytest.approx(expected)
    ran = zoo("score", numbers, "-", stdin="x,y\n1,\n")
    assert "standard input: row 1, column 'y' is empty" in ran.err


def test_the_batch_size_changes_nothing_that_is_shown(zoo, text, tmp_path):
    path = written(tmp_path / "a.txt", "\n".join("ab t"[: 1 + n % 4] * (1 + n % 7) for n in range(30)))
    ran = [zoo("score", text, path, "--batch-size", size).out for size in ("1", "7", "100")]
    assert ran[0] == ran[1] == ran[2]


# Hidden states


def test_states_are_the_likeliest_path_of_each_sequence(zoo, numbers, tmp_path):
    path = written(tmp_path / "a.csv", TABLE)
    expected = []
    for name, frames in (("a", FRAMES[:2]), ("b", FRAMES[2:3])):
        found = witness.paths(witness.NUMBERS.encode(frames))
        best = max(found, key=found.__getitem__)
        expected += [[path, name, str(frame), str(state)] for frame, state in enumerate(best)]
    ran = zoo("score", numbers, path, "--states")
    assert list(csv.reader(ran.out.splitlines())) == [["file", "sequence", "frame", "state"], *expected]
    said = json.loads(zoo("score", numbers, path, "--states", "--json").out)
    assert [item["states"] for item in said["items"]] == [
        [int(row[3]) for row in expected if row[1] == name] for name in "ab"
    ]


@pytest.mark.parametrize(("name", "divider"), [("out.csv", ","), ("out.tsv", "\t")])
def test_states_are_saved_beside_the_scores(zoo, text, tmp_path, name, divider):
    path, out = written(tmp_path / "a.txt", "ab\nt"), tmp_path / "new" / name
    words = ["score", text, path, "--states", "-o", str(out)]
    ran = zoo(*words)
    assert ran.out == zoo("score", text, path).out
    assert ran.err.endswith(f"saved the states of 3 frames to {out}\n")
    head, *found = csv.reader(out.read_text().splitlines(), delimiter=divider)
    assert (head, [row[1:3] for row in found]) == (
        ["file", "sequence", "frame", "state"],
        [["1", "0"], ["1", "1"], ["2", "0"]],
    )
    assert (zoo(*words).code, zoo(*words, "--yes").code) == (2, 0)


# What is no score


def test_an_impossible_sequence_is_told_and_is_null_in_json(zoo, never, tmp_path):
    path = written(tmp_path / "a.txt", "ab\nat\nt\n")
    ran = zoo("score", never, path)
    assert (ran.code, [line.split("\t")[0] for line in ran.out.splitlines()][1:]) == (0, ["-inf", "-inf"])
    assert f"warning: 2 of 3 sequences, the first {path}:2, are impossible under the model" in ran.err
    ran = zoo("score", never, path, "--json")
    said = json.loads(ran.out, parse_constant=lambda word: pytest.fail(word))
    assert ran.code == 0
    assert [item["log_likelihood"] for item in said["items"]][1:] == [None, None]
    assert said["items"][0]["log_likelihood"] == pytest.approx(math.log(0.3 * 0.1))
    assert (said["log_likelihood"], said["nats_per_frame"]) == (None, None)


def test_an_impossible_sequence_has_no_states_and_is_named(zoo, never, tmp_path):
    path = written(tmp_path / "a.txt", "ab\nat\nt\n")
    ran = zoo("score", never, path, "--states")
    assert (ran.code, ran.out) == (1, "")
    assert (
        f"2 of 3 sequences, the first {path}:2, are impossible under the model: no hidden states" in ran.err
    )
    path = written(tmp_path / "b.txt", "t\n")
    assert (
        f"{path}:1 is impossible under the model: no hidden states lead to it"
        in zoo("score", never, path, "--states").err
    )


def test_the_information_criteria_are_those_of_all_frames(zoo, text, tmp_path):
    path = written(tmp_path / "a.txt", "ab\nb t\n")
    said = json.loads(zoo("score", text, path, "--json").out)
    total, free = sum(of_text("ab", "b t")), 1 + 2 + 2 * 3
    assert said["bic"] == pytest.approx(-2 * total + free * math.log(5))
    assert said["aic"] == pytest.approx(-2 * total + 2 * free)
    assert f", BIC {said['bic']:.3f}, AIC {said['aic']:.3f}" in zoo("score", text, path).err


def test_what_is_not_a_number_is_told_and_fails(zoo, text, tmp_path, monkeypatch):
    path, load = written(tmp_path / "a.txt", "ab\n"), api.load

    def spoiled(*words, **options):
        model = load(*words, **options)
        monkeypatch.setattr(
            type(model.network),
            "log_prob",
            lambda self, batch: torch.full((len(batch["lengths"]),), math.nan),
        )
        return model

    monkeypatch.setattr(api, "load", spoiled)
    ran = zoo("score", text, path)
    assert (ran.code, f"warning: the log-likelihood of {path}:1 is no number" in ran.err) == (1, True)


def test_lines_that_fold_to_nothing_are_left_out_and_said(zoo, tmp_path):
    from zoo.datasets.table_columns import unscaled
    from zoo.modality.sequence_format import Format

    form = Format((" ", "a", "b", "t"), unscaled(("symbol",)), text=True, letters=True)
    model = str(witness.folder(tmp_path / "letters", witness.of_symbols(), form))
    ran = zoo("score", model, written(tmp_path / "a.txt", "A, B!\n123\n"))
    assert len(ran.out.splitlines()) == 1
    assert "warning: left out 1 sequence without frames" in ran.err
    assert numbers_of(ran.out)[0][0] == pytest.approx(of_text("a b")[0], abs=1e-5)
    ran = zoo("score", model, written(tmp_path / "b.txt", "123\n"))
    assert (ran.code, "no sequence has frames" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("a.txt", "", 1, "a.txt has no sequence: it is empty or blank"),
        ("a.txt", "abx", 1, "a.txt:1 has characters that the model does not know: 'x'"),
        ("a.csv", "symbol\na\nx\n", 1, "a.csv has characters that the model does not know: 'x'"),
        ("a.csv", "symbol,other\n,1\n", 1, "row 1, column 'symbol' is empty"),
        ("none.txt", None, 1, "none.txt cannot be read: No such file"),
        ("none.csv", None, 1, "none.csv cannot be read: No such file"),
    ],
)
def test_what_cannot_be_read_is_told(zoo, text, tmp_path, name, content, code, said):
    path = tmp_path / name
    if content is not None:
        written(path, content)
    ran = zoo("score", text, str(path))
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err.splitlines()[0]


def test_numbers_where_the_model_has_them(zoo, numbers, tmp_path):
    for name, content, code, said in (
        ("a.txt", "text", 1, "is read as text, but the frames of"),
        ("a.csv", "x,y\n1,\n", 1, "row 1, column 'y' is empty, not a finite number"),
        ("b.csv", "x,z\n1,2\n", 1, "b.csv has no column y; it has x, z"),
        ("c.csv", "x,y\na,b\n", 1, "column 'x' is text"),
    ):
        ran = zoo("score", numbers, written(tmp_path / name, content))
        assert (ran.code, ran.out) == (code, "")
        assert said in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "a.csv"], "add --states"),
        (["--states", "-o", "a.txt"], "cannot write states to a.txt"),
        (["--states", "-o", f"{__file__}/a.csv"], "Not a directory"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_loaded(
    zoo, text, tmp_path, monkeypatch, words, said
):
    monkeypatch.setattr(api, "load", lambda *_, **__: pytest.fail("loaded"))
    ran = zoo("score", text, written(tmp_path / "a.txt", "ab"), *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_terminal_gets_a_table_with_safe_names(zoo, bases, tmp_path):
    path = written(tmp_path / "a.csv", "sequence,base\n\x1b[2J[red],A\n")
    ran = zoo("score", bases, path, terminal=True)
    assert "log-likelihood" in ran.out.splitlines()[0]
    assert "[2J[red]" in ran.out
    assert "\x1b[2J" not in ran.out


def test_the_column_of_sequences_is_that_of_the_run(zoo, numbers, tmp_path):
    """Rows of several patients are not scored as one sequence; what the zoo drew has its own column."""
    run = tmp_path / "run"
    shutil.copytree(numbers, run)
    (run / "recipe.yaml").write_text(
        "schema: 1\nstart: hmm\ndata: {source: a.csv, sequence: patient}\n", encoding="utf-8"
    )
    names = ",".join(witness.NUMBERS.names)
    frames = [
        ",".join(["1.5"] * len(witness.NUMBERS.names)),
        ",".join(["2"] * len(witness.NUMBERS.names)),
    ] * 2
    for column in ("patient", "sequence"):
        rows = [f"{name},{frame}" for name, frame in zip("aabb", frames, strict=True)]
        path = written(tmp_path / f"{column}.csv", "\n".join([f"{column},{names}", *rows]) + "\n")
        assert len(zoo("score", str(run), str(path)).out.splitlines()) == 2
