"""zoo train: what it prints, where, and what it refuses."""

from __future__ import annotations

import itertools
import json

import pytest

from zoo.training import run
from zoo_cli.main import main

TINY = [
    "--batch-size",
    "2",
    "--set",
    "config.context=16",
    "--set",
    "config.layers=1",
    "--set",
    "config.width=16",
]
TINY += ["--set", "config.heads=2", "--set", "data.vocabulary=300", "--device", "cpu"]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_is_said_on_standard_output_and_its_course_on_standard_error(works, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["train", "gpt2", "--data", str(works), "-o", str(run), "--steps", "3", *TINY]
    assert main([*words, "--set", "plan.evaluate_every=2"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{run}: 3 steps, held out ")
    assert said.out.count("\n") == 1
    assert "step 2: loss" in said.err
    assert f"try it: zoo sample {run}" in said.err
    assert main(["sample", str(run), "--prompt", "ASH:", "--max-tokens", "2", "--seed", "1", "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("ASH:")


def test_json_and_quiet_leave_one_object(works, tmp_path, capsys):
    words = ["train", "gpt2", "-d", str(works), "-o", str(tmp_path / "run"), "--steps", "2", *TINY]
    assert main([*words, "--json", "--quiet", "--set", "plan.average=0.5"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    found = json.loads(said.out)
    assert (found["steps"], found["family"], found["run"]) == (2, "gpt2", str(tmp_path / "run"))
    assert found["held_out_bits_per_byte"] > 0


def test_options_come_before_the_recipe_file_and_a_runs_recipe_is_one(works, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    assert (
        main(["train", "gpt2", "-d", str(works), "-o", str(first), "--steps", "2", "--seed", "5", *TINY]) == 0
    )
    words = [
        "train",
        "-d",
        str(works),
        "-o",
        str(second),
        "--recipe",
        str(first / "recipe.yaml"),
        "--steps",
        "1",
    ]
    assert main([*words, "--device", "cpu"]) == 0
    one, two = ((run / "recipe.yaml").read_text() for run in (first, second))
    assert two == one.replace("steps: 2\n", "steps: 1\n")


def test_a_finished_run_is_resumed_to_no_further_step(works, tmp_path, capsys):
    words = ["train", "gpt2", "-d", str(works), "-o", str(tmp_path / "run"), "--steps", "2", *TINY]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert main(["train", "-d", str(works), "-o", str(tmp_path / "run"), "--resume"]) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("steps", "every", "said"),
    [
        (1, 2, "stopped before the first checkpoint; --resume begins again"),
        (2, 2, "stopped; --resume goes on from the last checkpoint"),
        (2, 0, "stopped; a run whose plan.checkpoint_every is 0 cannot be resumed"),
    ],
)
def test_ctrl_c_says_what_can_be_done(works, tmp_path, capsys, monkeypatch, steps, every, said):
    real = run.steps

    def interrupted(*given, **named):
        yield from itertools.islice(real(*given, **named), steps)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "steps", interrupted)
    words = ["train", "gpt2", "-d", str(works), "-o", str(tmp_path / "run"), "--steps", "4", *TINY]
    assert main([*words, "--set", f"plan.checkpoint_every={every}"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == said
    monkeypatch.setattr(run, "steps", real)
    resumed = main(["train", "-d", str(works), "-o", str(tmp_path / "run"), "--resume"])
    assert resumed == (0 if every else 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to train: a model, a family such as gpt2, or --recipe FILE"),
        (["gpt2", "--set", "plan.step=3"], "there is no setting 'step'; did you mean 'steps'?"),
        (["gpt2", "--resume"], "it takes no START, --recipe or settings"),
        (["--resume", "--steps", "3"], "it takes no START, --recipe or settings"),
        (["gpt2", "--device", "cuda:7", *TINY[:-2]], "device is 'cuda:7', but must be one of auto, cpu"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error_of_one_line(works, tmp_path, capsys, words, message):
    assert main(["train", *words, "--data", str(works), "-o", str(tmp_path / "run")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
