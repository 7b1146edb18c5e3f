"""zoo sample: what is asked, what is shown, and that a model decides on its own options."""

import json
import os
import re
import socket
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from cli.json_shapes import documented, shape
from zoo import targets
from zoo.modality.text import TextControls
from zoo.settings import setting
from zoo_cli import prompts

CONTROLS = (
    "--max-tokens",
    "--temperature",
    "--top-k",
    "--top-p",
    "--min-p",
    "--repetition-penalty",
    "--frequency-penalty",
    "--presence-penalty",
    "--logprobs",
    "--stop",
)


def test_the_prompt_and_its_continuation_go_to_standard_output(zoo, scripted):
    scripted("But soft!")
    ran = zoo("sample", "gpt2", "--prompt", "ROMEO: ", "--seed", "1")
    assert ran == type(ran)(0, "ROMEO: But soft!\n", "")


def test_samples_are_divided_by_a_line(zoo, scripted):
    scripted(lambda index: f"text {index}")
    ran = zoo("sample", "gpt2", "-n", "2", "--start", "5", "--seed", "1")
    assert ran.out == "--- sample 5 ---\ntext 5\n--- sample 6 ---\ntext 6\n"


def test_json_has_one_object_a_sample(zoo, scripted):
    scripted(lambda index: f"t{index}")
    ran = zoo("sample", "gpt2", "-p", "x", "-n", "2", "--seed", "7", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert shape(lines[0]) == documented("zoo sample MODEL --json")
    assert lines == [
        {"index": i, "seed": 7, "prompt": "x", "text": f"t{i}", "tokens": [116, 48 + i], "finish": "end"}
        for i in range(2)
    ]


def test_without_a_seed_each_run_draws_another_and_says_which(zoo, scripted):
    scripted("a")
    seeds = {json.loads(zoo("sample", "gpt2", "--json").out)["seed"] for _ in range(3)}
    assert len(seeds) == 3
    assert "seed " in zoo("sample", "gpt2", terminal=True).err
    assert re.fullmatch(r"seed \d+\n", zoo("sample", "gpt2").err)
    assert zoo("sample", "gpt2", "--quiet").err == ""
    assert zoo("sample", "gpt2", "--seed", "1").err == ""


@pytest.mark.parametrize("words", [["--greedy"], ["--temperature", "0"]])
def test_no_seed_is_said_where_nothing_is_drawn(zoo, scripted, words):
    scripted("a")
    assert zoo("sample", "gpt2", *words).err == ""


def test_no_seed_is_said_before_an_error(zoo, scripted):
    scripted("a", context=4)
    ran = zoo("sample", "gpt2", "--prompt", "far too long")
    assert ran.code == 2
    assert ran.err.startswith("error: the prompt is 12 tokens long")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-"],
        ["two\nlines \u00e9"],
        ["--prompt", "-"],
        ["--prompt-file", "FILE"],
        ["--prompt", "two\nlines \u00e9"],
    ],
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_prompt_may_be_a_word_or_come_from_a_pipe_or_a_file(zoo, scripted, tmp_path, words, end):
    network = scripted("!")
    (tmp_path / "prompt.txt").write_text("two\nlines \u00e9", encoding="utf-8")
    words = [word.replace("FILE", str(tmp_path / "prompt.txt")) for word in words]
    ran = zoo("sample", "gpt2", *words, "--seed", "1", stdin=f"two\nlines \u00e9{end}")
    assert ran.out == "two\nlines \u00e9!\n"
    assert network.prompts == ["two\nlines \u00e9"]


@pytest.mark.parametrize(("kind", "prompt"), [("pipe", "abc"), ("file", "abc"), ("socket", "")])
def test_a_pipe_or_a_file_at_standard_input_is_the_prompt_and_nothing_else(
    monkeypatch, tmp_path, kind, prompt
):
    (tmp_path / "prompt").write_text("abc\n", encoding="utf-8")
    if kind == "file":
        place = os.open(tmp_path / "prompt", os.O_RDONLY)
    else:
        place, end = os.pipe() if kind == "pipe" else (half.detach() for half in socket.socketpair())
        os.write(end, b"abc\n")
        os.close(end)
    with os.fdopen(place, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert prompts.given(None, None, None, file_option="--prompt-file") == prompt


def test_nothing_is_read_from_a_terminal(zoo, scripted):
    network = scripted("!")
    zoo("sample", "gpt2", "--seed", "1", stdin="typed later", terminal=True)
    assert network.prompts == [""]


def test_what_was_drawn_can_be_had_without_its_prompt(zoo, scripted, tmp_path):
    scripted(" text")
    ran = zoo("sample", "gpt2", "PROMPT", "--no-prompt", "--seed", "1")
    assert ran.out == " text\n"
    zoo("sample", "gpt2", "PROMPT", "--no-prompt", "-o", str(tmp_path / "out"))
    assert (tmp_path / "out" / "sample-000000.txt").read_text() == " text"
    zoo("sample", "gpt2", "PROMPT", "-o", str(tmp_path / "both"))
    assert (tmp_path / "both" / "sample-000000.txt").read_text() == "PROMPT text"


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (["--prompt", "a", "--prompt-file", "b"], b"", "one of PROMPT, --prompt and --prompt-file"),
        (["word", "--prompt", "a"], b"", "the prompt is given twice"),
        (["--prompt-file", "/nowhere/x"], b"", "cannot read the prompt"),
        (["--prompt", "-"], b"\xff\xfe", "not UTF-8"),
        ([], b"\xff\xfe", "not UTF-8"),
        (["--prompt", "\udcff"], b"", "not UTF-8"),
        (["--temperature", "-1"], b"", "--temperature is -1.0, but must be at least 0"),
        (["--top-p", "2"], b"", "--top-p is 2.0"),
        (["--truncate", "right"], b"", "one of never, left"),
        (["--max-tokens", "many"], b"", "--max-tokens"),
        (["--count", "0"], b"", "--count"),
        (["--seed", "-1"], b"", "--seed"),
        (["--tempreature", "1"], b"", "--temperature"),
        (["-o", "out.txt"], b"", "cannot write samples to out.txt"),
        (["-o", f"{__file__}/out.jsonl"], b"", f"cannot write to {__file__}/out.jsonl: Not a directory"),
        (["-o", f"{__file__}/new/out"], b"", f"cannot write to {__file__}/new/out: Not a directory"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_loaded(zoo, words, stdin, said, monkeypatch):
    monkeypatch.setattr("zoo.api.load", lambda *_, **__: pytest.fail("loaded"))
    ran = zoo("sample", "gpt2", *words, stdin=stdin)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err.splitlines()[0]
    assert ran.err.startswith("error: ")


def test_escape_sequences_of_prompt_and_model_never_reach_the_output_raw(zoo, scripted):
    scripted("\x1b]0;owned\x07\x1b[2J\u202eend\r")
    for terminal in (False, True):
        ran = zoo(
            "sample", "gpt2", "--prompt", "\x1b[31mred[/red] [link=x]", "--seed", "1", terminal=terminal
        )
        own = ran.err.replace("\r\x1b[K", "")  # clears what was said of loading
        assert not set("\x07\x9b\u202e\r") & set(ran.out + own)
        assert "[31mred[/red] [link=x]" in ran.out
        assert "]0;owned[2Jend" in ran.out
        assert "\x1b[31m" not in ran.out
        assert "\x1b]" not in ran.out
    assert json.loads(zoo("sample", "gpt2", "--json").out)["text"] == "\x1b]0;owned\x07\x1b[2J\u202eend\r"


def test_a_saved_sample_is_not_written_out_as_well(zoo, scripted, tmp_path):
    scripted("exact\x1b")
    path = tmp_path / "out.jsonl"
    ran = zoo("sample", "gpt2", "--seed", "1", "-o", str(path))
    assert ran == type(ran)(0, "", f"saved 1 sample to {path}\n")
    assert json.loads(path.read_text())["text"] == "exact\x1b"
    assert zoo("sample", "gpt2", "-o", str(path)).code == 2
    assert zoo("sample", "gpt2", "-o", str(path), "--yes", "--json").out.startswith('{"index": 0')


def test_samples_are_saved_in_the_folder_one_is_in(zoo, scripted, tmp_path, monkeypatch):
    scripted("text")
    monkeypatch.chdir(tmp_path)
    ran = zoo("sample", "gpt2", "--seed", "1", "-o", ".")
    assert (ran.code, ran.err) == (0, "saved 1 sample to .\n")
    assert {path.name for path in tmp_path.iterdir()} == {"sample-000000.txt", "samples.jsonl"}
    assert zoo("sample", "gpt2", "-o", ".").code == 2
    assert zoo("sample", "gpt2", "-n", "2", "-o", ".", "--yes").code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"sample-000000.txt", "sample-000001.txt", "samples.jsonl"}


def test_a_terminal_counts_the_samples_being_saved(zoo, scripted, tmp_path):
    scripted("a")
    words = ["sample", "gpt2", "-n", "2", "--seed", "1"]
    ran = zoo(*words, "-o", str(tmp_path / "a.jsonl"), terminal=True)
    assert "\r\x1b[K1 of 2 samples\r\x1b[K2 of 2 samples\r\x1b[K" in ran.err
    assert ran.out == ""
    assert zoo(*words, "-o", str(tmp_path / "b.jsonl"), "--quiet", terminal=True).err == ""


def test_ctrl_c_keeps_whole_samples_and_exits_with_130(zoo, scripted, tmp_path):
    network = scripted("short")

    def interrupted(prompts, noise, controls, done):
        if noise.start == 2:
            raise KeyboardInterrupt
        yield from type(network).sample(network, prompts, noise, controls, done)

    network.sample = interrupted
    ran = zoo("sample", "gpt2", "-n", "3", "--batch-size", "1", "-o", str(tmp_path / "out.jsonl"))
    assert ran.code == 130
    assert "Traceback" not in ran.err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2


def test_the_help_of_a_model_shows_its_own_controls(zoo):
    ran = zoo("sample", "gpt2", "--help")
    assert ran.code == 0
    assert all(option in ran.out for option in (*CONTROLS, "--device", "--seed", "--output", "--offline"))


def test_the_help_without_a_model_says_how_to_see_them(zoo):
    for words in (("sample", "--help"), ("sample", "--help", "--offline")):
        ran = zoo(*words)
        assert ran.code == 0
        assert "zoo sample MODEL --help" in ran.out


def test_the_help_on_a_terminal_has_a_panel_of_the_models_controls(zoo):
    ran = zoo("sample", "gpt2", "--help", terminal=True)
    assert "Controls of gpt2-small" in ran.out
    assert "Common options" in ran.out


@dataclass(frozen=True)
class RhymingControls(TextControls):
    rhyme: str = setting("none", help="scheme of the verse", choices=("none", "abab"))


def test_another_familys_controls_become_its_flags(zoo, monkeypatch, scripted):
    network, find = scripted("a"), targets.find
    monkeypatch.setitem(sys.modules, "rhyming", SimpleNamespace(Controls=RhymingControls))

    def find_rhyming(*words, **options):
        found = find(*words, **options)
        return replace(found, family=replace(found.family, controls="rhyming:Controls"))

    monkeypatch.setattr(targets, "find", find_rhyming)
    assert zoo("sample", "gpt2", "--rhyme", "abab").code == 0
    assert network.controls == RhymingControls(rhyme="abab")
    assert "Scheme of the verse (default none)." in " ".join(zoo("sample", "gpt2", "--help").out.split())


@pytest.mark.parametrize("command", ["sample", "chat"])
def test_a_model_of_another_modality_is_not_taken_for_text(zoo, monkeypatch, command):
    found = targets.find("gpt2")
    found = replace(found, family=replace(found.family, modality="image"))
    monkeypatch.setattr(targets, "find", lambda *_, **__: found)
    ran = zoo(command, "gpt2")
    assert (ran.code, "gpt2-small makes image" in ran.err) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ["gpt2", "--prompt", "x"],
        ["--prompt", "x", "gpt2"],
        ["--prompt=x", "gpt2"],
        ["--seed", "3", "--json", "gpt2", "--prompt", "x"],
        ["-q", "-p", "x", "gpt2"],
        ["-p", "-", "gpt2"],
    ],
)
def test_the_model_is_found_among_options(zoo, scripted, words):
    scripted("a")
    assert zoo("sample", *words, stdin="x").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "MODEL"),
        (["--prompt", "x"], "MODEL"),
        (["--colour", "red", "gpt2"], "--colour"),
        (["-qy", "gpt2"], "MODEL comes first"),
        (["gpt2", "prompt", "gpt1"], "gpt1"),
    ],
)
def test_without_a_model_in_its_place_usage_is_explained(zoo, words, said):
    ran = zoo("sample", *words)
    assert ran.code == 2
    assert said in ran.err


def test_an_unknown_model_names_the_nearest(zoo):
    ran = zoo("sample", "gpt2-smal", "--prompt", "x")
    assert ran.code == 1
    assert ran.err.startswith("error: there is no model 'gpt2-smal'; did you mean gpt2-small")


def test_an_architecture_without_weights_says_how_to_build_it(zoo):
    ran = zoo("sample", "gpt3-175b")
    assert ran.code == 1
    assert "without published weights" in ran.err
    assert "zoo.build('gpt3-175b')" in ran.err


def test_offline_without_the_files_says_to_pull(zoo):
    ran = zoo("sample", "gpt2", "--offline")
    assert ran.code == 1
    assert "zoo pull" in ran.err
    assert "Traceback" not in ran.err


class TestTinyModel:
    """The whole way, with a real model in a local folder."""

    def texts(self, ran):
        assert ran.code == 0, ran.err
        return [json.loads(line) for line in ran.out.splitlines()]

    def test_samples_do_not_depend_on_count_start_and_batch(self, zoo, tiny_gpt2):
        words = ["sample", str(tiny_gpt2), "-p", "ROMEO:", "--seed", "3", "--max-tokens", "12", "--json"]
        eight = self.texts(zoo(*words, "-n", "8"))
        assert [sample["index"] for sample in eight] == list(range(8))
        assert self.texts(zoo(*words, "-n", "3", "--start", "2")) == eight[2:5]
        assert self.texts(zoo(*words, "-n", "8", "--batch-size", "3")) == eight
        assert len({sample["text"] for sample in eight}) > 4

    def test_log_probabilities_of_tokens_are_told_and_are_the_same_in_every_batch(self, zoo, tiny_gpt2):
        words = ["sample", str(tiny_gpt2), "-p", "é", "--seed", "3", "--max-tokens", "12", "--json"]
        told = self.texts(zoo(*words, "-n", "4", "--logprobs", "2"))
        assert shape(told[0]) == documented("zoo sample MODEL --json --logprobs K")
        for sample in told:
            places = sample["per_token"]
            assert [place["token"] for place in places] == sample["tokens"]
            assert "".join(place["text"] for place in places) == sample["text"]
            assert all(len(place["top"]) == 2 for place in places)
            assert all(place["top"][0]["log_prob"] >= place["log_prob"] for place in places)
        assert self.texts(zoo(*words, "-n", "4", "--logprobs", "2", "--batch-size", "1")) == told
        filtered = self.texts(zoo(*words, "--logprobs", "0", "--temperature", "0.1", "--top-k", "1"))
        assert all(place["log_prob"] < -0.001 and place["top"] == [] for place in filtered[0]["per_token"])
        without = [{name: sample[name] for name in sample if name != "per_token"} for sample in told]
        assert self.texts(zoo(*words, "-n", "4")) == without

    def test_log_probabilities_are_saved_too(self, zoo, tiny_gpt2, tmp_path):
        words = ["sample", str(tiny_gpt2), "--seed", "3", "--max-tokens", "3", "--logprobs", "1"]
        assert zoo(*words, "-o", str(tmp_path / "out.jsonl"), "--quiet").code == 0
        assert len(json.loads((tmp_path / "out.jsonl").read_text())["per_token"]) == 3
        ran = zoo(*words)
        assert (ran.code, ran.out) == (2, "")
        assert "--logprobs is told in JSON only" in ran.err
        assert "add --json, or save with -o" in ran.err

    def test_a_prompt_longer_than_the_context_is_refused_with_both_lengths(self, zoo, tiny_gpt2):
        ran = zoo("sample", str(tiny_gpt2), "--prompt", "x" * 70)
        assert ran.code == 2
        assert "70 tokens" in ran.err
        assert "64 tokens" in ran.err
        assert "--truncate left" in ran.err

    def test_its_end_is_kept_where_asked(self, zoo, tiny_gpt2):
        words = ["sample", str(tiny_gpt2), "--prompt", "x" * 70, "--truncate", "left", "--json", "--greedy"]
        assert len(self.texts(zoo(*words))[0]["tokens"]) > 0

    def test_greedy_samples_are_alike(self, zoo, tiny_gpt2):
        found = self.texts(
            zoo("sample", str(tiny_gpt2), "-p", "A", "-n", "2", "--greedy", "--max-tokens", "5", "--json")
        )
        assert found[0]["text"] == found[1]["text"]

    def test_a_stop_text_ends_the_sample_before_it(self, zoo, tiny_gpt2):
        words = ["sample", str(tiny_gpt2), "-p", "A", "--greedy", "--max-tokens", "6", "--json"]
        letter = self.texts(zoo(*words))[0]["text"][2]
        stopped = self.texts(zoo(*words, "--stop", letter))[0]
        assert stopped["finish"] == "stop"
        assert letter not in stopped["text"]

    def test_a_device_that_is_not_here_is_a_usage_error(self, zoo, tiny_gpt2):
        ran = zoo("sample", str(tiny_gpt2), "--device", "cuda:77")
        assert (ran.code, "cuda:77" in ran.err) == (2, True)

    def test_a_bad_dtype_names_the_allowed_ones(self, zoo, tiny_gpt2):
        ran = zoo("sample", str(tiny_gpt2), "--dtype", "int8")
        assert ran.code == 2
        assert "float32, float16, bfloat16" in ran.err


def test_compile_without_a_compiler_says_so_and_samples_all_the_same(zoo, tiny_gpt2, monkeypatch):
    monkeypatch.setenv("CC", "")
    monkeypatch.setenv("PATH", "")
    ran = zoo("sample", str(tiny_gpt2), "--prompt", "a", "--seed", "1", "--max-tokens", "3", "--compile")
    assert ran.code == 0
    assert ran.out.startswith("a")
    assert ran.err.startswith("warning: compiled decoding is off: there is no C compiler")
