"""zoo sample for sequence models: text, symbols and numbers, for a person, a pipe and files."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

import sequence_witness as witness
from cli.json_shapes import documented, shape
from zoo import api
from zoo.datasets.sequence_files import SUFFIXES, Wanted
from zoo.datasets.sequence_files import read as read_files
from zoo.datasets.source import Source

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return str(witness.folder(tmp_path_factory.mktemp("text"), witness.of_symbols(), witness.LETTERS))


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return str(witness.folder(tmp_path_factory.mktemp("bases"), witness.of_symbols(), witness.BASES))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    return str(witness.folder(tmp_path_factory.mktemp("numbers"), witness.of_numbers(), witness.NUMBERS))


def samples(model, **how):
    return list(api.load(model, device="cpu").samples(**how))


def rows(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


# Text


def test_text_goes_on_from_its_prompt(zoo, text):
    [expected] = samples(text, prompt="ta", seed=3, length=30)
    ran = zoo("sample", text, "--prompt", "ta", "--seed", "3", "--length", "30")
    assert ran == type(ran)(0, f"ta{expected.drawn}\n", "")
    assert zoo("sample", text, "-p", "-", "-s", "3", "--length", "30", stdin="ta").out == ran.out


def test_text_as_json_is_what_text_models_write(zoo, text):
    ran = zoo("sample", text, "-p", "ta", "-n", "2", "--seed", "3", "--length", "9", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert shape(lines[0]) == documented("zoo sample MODEL --json")
    assert [line["text"] for line in lines] == [
        sample.drawn for sample in samples(text, prompt="ta", seed=3, length=9, count=2)
    ]
    assert lines[0] | {"text": "", "tokens": []} == {
        "index": 0,
        "seed": 3,
        "prompt": "ta",
        "text": "",
        "tokens": [],
        "finish": "length",
    }
    with_states = [
        json.loads(line)
        for line in zoo(
            "sample", text, "-p", "ta", "-n", "2", "--seed", "3", "--length", "9", "--json", "--states"
        ).out.splitlines()
    ]
    assert [line.pop("states") for line in with_states] == [
        sample.states.tolist() for sample in samples(text, prompt="ta", seed=3, length=9, count=2)
    ]
    assert with_states == lines


def test_several_texts_are_divided_by_a_line_and_agree_in_every_batch(zoo, text):
    words = ["sample", text, "--seed", "1", "--length", "20"]
    eight = zoo(*words, "-n", "8").out
    assert eight.startswith("--- sample 0 ---\n")
    assert zoo(*words, "-n", "8", "--batch-size", "3").out == eight
    start = eight.index("--- sample 2 ---")
    assert zoo(*words, "-n", "3", "--start", "2").out == eight[start : eight.index("--- sample 5 ---")]


def test_without_a_seed_the_run_says_which(zoo, text):
    ran = zoo("sample", text, "--length", "2")
    assert ran.err.startswith("seed ")
    assert zoo("sample", text, "--length", "2", "--quiet").err == ""


@pytest.mark.parametrize("name", ["out.txt", "out.jsonl", "folder"])
def test_text_is_saved_whole(zoo, text, tmp_path, name):
    path = tmp_path / name
    words = ["sample", text, "-p", "ta", "-n", "2", "--seed", "3", "--length", "9", "-o", str(path)]
    ran = zoo(*words)
    assert ran == type(ran)(0, "", f"saved 2 samples to {path}\n")
    whole = [sample.whole for sample in samples(text, prompt="ta", seed=3, length=9, count=2)]
    if name == "folder":
        assert [(path / f"sample-00000{number}.txt").read_text() for number in range(2)] == whole
    elif name == "out.txt":
        assert path.read_text() == f"{whole[0]}\n\n{whole[1]}\n"
    else:
        found = [json.loads(line) for line in path.read_text().splitlines()]
        assert ["ta" + line["text"] for line in found] == whole
    assert zoo(*words).code == 2
    assert zoo(*words, "--yes").code == 0


def test_text_can_be_had_without_its_prompt(zoo, text, tmp_path):
    words = ["sample", text, "ta", "-n", "2", "--seed", "3", "--length", "9", "--no-prompt"]
    first, second = (sample.drawn for sample in samples(text, prompt="ta", seed=3, length=9, count=2))
    assert zoo(*words).out == f"--- sample 0 ---\n{first}\n--- sample 1 ---\n{second}\n"
    for name in ("out.txt", "OUT.TXT"):
        zoo(*words, "-o", str(tmp_path / name))
        assert (tmp_path / name).read_text() == f"{first}\n\n{second}\n"
    zoo(*words, "-o", str(tmp_path / "folder"))
    assert (tmp_path / "folder" / "sample-000001.txt").read_text() == second


def test_the_states_stand_beneath_the_letters_for_a_person(zoo, text):
    [expected] = samples(text, seed=3, length=150)
    ran = zoo("sample", text, "--seed", "3", "--length", "150", "--states", terminal=True)
    head, *lines = [line.removeprefix("\x1b[2m").removesuffix("\x1b[0m") for line in ran.out.splitlines()]
    assert head == "--- sample 0: 150 frames ---"
    assert "".join(lines[::2]) == expected.drawn
    assert "".join(lines[1::2]) == "".join(map(str, expected.states))
    piped = zoo("sample", text, "--seed", "3", "--length", "150", "--states").out
    assert rows(piped) == [
        ["sequence", "symbol", "state"],
        *(["0", letter, str(state)] for letter, state in zip(expected.drawn, expected.states, strict=True)),
    ]


# Symbols and numbers


def test_numbers_go_to_a_pipe_as_csv_with_the_names_of_their_columns(zoo, numbers):
    ran = zoo("sample", numbers, "-n", "2", "--seed", "3", "--length", "4")
    head, *found = rows(ran.out)
    assert head == ["sequence", "x", "y"]
    drawn = samples(numbers, count=2, seed=3, length=4)
    assert [[float(cell) for cell in row] for row in found] == [
        [sample.index, *frame] for sample in drawn for frame in sample.drawn.tolist()
    ]
    assert zoo("sample", numbers, "--start", "1", "--seed", "3", "--length", "4").out == (
        "sequence,x,y\n" + "".join(line + "\n" for line in ran.out.splitlines() if line.startswith("1,"))
    )


def test_json_has_the_frames_and_what_they_go_on_from(zoo, numbers, bases, tmp_path):
    path = tmp_path / "given.csv"
    path.write_text("y,x\n-1,10\n0,12\n")
    words = ["--seed", "3", "--length", "4", "--json", "--states"]
    said = json.loads(zoo("sample", numbers, "--prefix", str(path), *words).out)
    assert shape(said) == documented("zoo sample MODEL --json, of sequences")
    [expected] = samples(numbers, prompt=[[10.0, -1.0], [12.0, 0.0]], seed=3, length=4)
    assert (said["columns"], said["prompt"]) == (["x", "y"], [[10.0, -1.0], [12.0, 0.0]])
    assert (said["frames"], said["states"]) == (expected.drawn.tolist(), expected.states.tolist())
    said = json.loads(zoo("sample", bases, "-p", "G C", *words).out)
    assert shape(said) == documented("zoo sample MODEL --json, of symbols")
    [expected] = samples(bases, prompt=["G", "C"], seed=3, length=4)
    assert (said["prompt"], said["symbols"]) == (["G", "C"], expected.drawn)


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.npy"])
def test_what_is_saved_is_read_back_as_it_was_drawn(zoo, numbers, bases, tmp_path, name):
    for model in (numbers, bases):
        path = tmp_path / model.rpartition("/")[2] / name
        ran = zoo("sample", model, "-n", "3", "--seed", "3", "--length", "5", "-o", str(path))
        assert ran == type(ran)(0, "", f"saved 3 samples to {path}\n")
        found = read_files(Source(str(path), path=path).files(SUFFIXES), Wanted())
        assert found.lengths.tolist() == [5, 5, 5]
        for values, sample in zip(found.split(), samples(model, count=3, seed=3, length=5), strict=True):
            decoded = found.format.decode(values)
            assert decoded == sample.drawn if model is bases else np.array_equal(decoded, sample.drawn)


def test_states_are_saved_where_that_is_asked(zoo, numbers, tmp_path):
    path = tmp_path / "out.csv"
    zoo("sample", numbers, "--seed", "3", "--length", "5", "--states", "-o", str(path))
    head, *found = rows(path.read_text())
    [expected] = samples(numbers, seed=3, length=5)
    assert head == ["sequence", "x", "y", "state"]
    assert [int(row[-1]) for row in found] == expected.states.tolist()


def test_a_plot_is_drawn(zoo, numbers, text, tmp_path):
    for model in (numbers, text):
        path = tmp_path / "new" / f"{model.rpartition('/')[2]}.png"
        ran = zoo("sample", model, "--seed", "3", "--length", "20", "-n", "2", "-o", str(path))
        assert ran == type(ran)(0, "", f"saved 2 samples to {path}\n")
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_person_sees_the_course_of_each_column(zoo, numbers):
    ran = zoo("sample", numbers, "--seed", "3", "--length", "500", "-n", "2", "--states", terminal=True)
    lines = ran.out.splitlines()
    assert "--- sample 0: 500 frames ---" in lines[0]
    assert [line.split()[0] for line in lines[1:3]] == ["x", "y"]
    [expected] = samples(numbers, seed=3, length=500)
    low, high = expected.drawn[:, 0].min(), expected.drawn[:, 0].max()
    assert lines[1].endswith(f"{low:.4g} to {high:.4g}")
    assert set(lines[1].split()[1]) <= set("▁▂▃▄▅▆▇█")
    assert all(len(line) <= 100 for line in lines)
    assert "--- sample 1" in lines[4]


def test_a_course_goes_from_its_lowest_to_its_highest_bar():
    from zoo_cli.sequence_output import sparkline

    assert sparkline(np.arange(8.0), 20) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.array([0, 0, 4, 4, 8, 8]), 3) == "▁▅█"
    assert sparkline(np.array([5.0, 5.0]), 9) == "▁▁"


def test_a_person_sees_symbols_in_lines(zoo, bases):
    [expected] = samples(bases, seed=3, length=120)
    ran = zoo("sample", bases, "--seed", "3", "--length", "120", terminal=True)
    _, *lines = ran.out.splitlines()
    assert " ".join(line.strip() for line in lines).split() == expected.drawn
    assert all(len(line) <= 100 for line in lines)


def test_symbols_that_could_harm_a_terminal_never_reach_it_raw(zoo, tmp_path):
    from dataclasses import replace

    form = replace(witness.BASES, symbols=("\x1b[2J", "\u202e", "[red]", "\x07"))
    model = str(witness.folder(tmp_path / "odd", witness.of_symbols(), form))
    for words in ([], ["--states"]):
        for terminal in (False, True):
            ran = zoo("sample", model, "--seed", "1", "--length", "50", *words, terminal=terminal)
            assert ran.code == 0
            assert not {"\x07", "\u202e"} & set(ran.out)
            assert "\x1b[2J" not in ran.out
    assert json.loads(zoo("sample", model, "--seed", "1", "--length", "50", "--json").out)["symbols"].count(
        "\x07"
    )


# What cannot be asked


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--length", "0"], "length is 0, but must be at least 1"),
        (["--prompt", "a", "--prefix", "b.csv"], "one of PROMPT, --prompt and --prefix"),
        (["-o", "out.mp3"], "cannot write samples to out.mp3"),
        (["-o", f"{__file__}/out.csv"], "Not a directory"),
        (["--max-tokens", "3"], "--max-tokens"),
        (["--count", "0"], "--count"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_loaded(zoo, text, monkeypatch, words, said):
    monkeypatch.setattr("zoo.api.load", lambda *_, **__: pytest.fail("loaded"))
    ran = zoo("sample", text, *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err.splitlines()[0]


def test_what_the_model_cannot_take_is_told(zoo, text, bases, numbers, tmp_path):
    two = tmp_path / "two.csv"
    two.write_text("sequence,x,y\na,1,2\nb,3,4\n")
    letters = tmp_path / "letters.csv"
    letters.write_text("x\nA\nU\n")
    for model, words, code, said in (
        (text, ["-p", "abc"], 1, "the prompt has characters that the model does not know: 'c'"),
        (bases, ["-p", "A U"], 1, "the prompt has symbols that the model does not know: 'U'"),
        (numbers, ["-p", "1 2"], 2, "prompt is text, but the frames of"),
        (numbers, ["--prefix", str(two)], 2, "two.csv has 2 sequences, but samples go on from one"),
        (numbers, ["--prefix", str(tmp_path / "none.csv")], 1, "cannot be read: No such file"),
        (numbers, ["--prefix", str(tmp_path / "none.txt")], 1, "is read as text, but the frames of"),
        (bases, ["--prefix", str(letters)], 1, "has symbols that the model does not know: 'U'"),
        (numbers, ["-o", str(tmp_path / "out.txt")], 2, "the model's frames are no characters"),
        (numbers, ["-o", str(tmp_path / "folder")], 2, "only text is saved into a folder"),
    ):
        ran = zoo("sample", model, *words, "--seed", "1")
        assert (ran.code, ran.out) == (code, "")
        assert said in ran.err
        assert "Traceback" not in ran.err
    assert not (tmp_path / "folder").exists()


def test_a_plot_without_matplotlib_is_refused_before_anything_is_loaded(zoo, text, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    monkeypatch.setattr("zoo.api.load", lambda *_, **__: pytest.fail("loaded"))
    ran = zoo("sample", text, "-o", str(tmp_path / "out.png"))
    assert ran.code == 1
    assert "pip install 'zoo-core[plots]'" in ran.err


def test_the_model_comes_first_or_after_options_that_are_known(zoo, text):
    assert zoo("sample", "--states", "--length", "3", text, "--seed", "1").code == 0
    assert zoo("sample", "--seed", "1", text, "--length", "3").code == 0


def test_the_help_shows_the_controls_of_sequences(zoo, text):
    ran = zoo("sample", text, "--help")
    assert all(option in ran.out for option in ("--prompt", "--length", "--prefix", "--states", "--output"))
    assert "--temperature" not in ran.out


def test_text_goes_on_from_a_file(zoo, text, tmp_path):
    path = tmp_path / "given.txt"
    path.write_text("ab t")
    ran = zoo("sample", text, "--prefix", str(path), "--seed", "3", "--length", "5")
    [expected] = samples(text, prompt="ab t", seed=3, length=5)
    assert ran.out == f"{expected.whole}\n"
