"""zoo train: what it prints, where, and what it refuses."""

from __future__ import annotations

import json

import pytest

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
    assert found["measure"] == "held_out_bits_per_byte"
    assert found["best"] > 0
    assert found["losses"]["loss"] > 0
    assert found["parameters"] > 257 * 16


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
    ("words", "message"),
    [
        ([], "say what to train: a model, a family such as gpt2, or --recipe FILE"),
        (["gpt2", "--set", "plan.step=3"], "there is no setting 'step'; did you mean 'steps'?"),
        (["gpt2", "--resume"], "it takes no START, --recipe or --force"),
        (["--resume", "--force"], "it takes no START, --recipe or --force"),
        (["gpt2", "--steps", "3", "--epochs", "2"], "--steps and --epochs both say how long to train"),
        (["gpt2", "--epochs", "0"], "error: --epochs is 0, but must be above 0\n"),
        (["gpt2", "--epochs", "nan"], "error: --epochs is nan, but must be above 0\n"),
        (["gpt2", "--batch-size", "3", "--set", "plan.accumulation=2"], "must be a multiple of 2"),
        (["gpt2", "--device", "cuda:7", *TINY[:-2]], "device is 'cuda:7', but must be one of auto, cpu"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error_of_one_line(works, tmp_path, capsys, words, message):
    assert main(["train", *words, "--data", str(works), "-o", str(tmp_path / "run")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert not (tmp_path / "run").exists()


def test_a_run_needs_data_from_the_command_line_or_its_recipe(works, tmp_path, capsys):
    assert main(["train", "gpt2", "-o", str(tmp_path / "run"), *TINY]) == 2
    assert "say what to train on: --data, or data.source in the recipe" in capsys.readouterr().err
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"schema: 1\nstart: gpt2\ndata: {{source: {works}}}\nplan: {{steps: 1}}\n")
    assert main(["train", "--recipe", str(recipe), "-o", str(tmp_path / "run"), *TINY]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'run'}: 1 steps")


def test_epochs_on_the_command_line_are_counted_in_rows_of_the_data(works, tmp_path, capsys):
    words = ["train", "gpt2", "-d", str(works), "-o", str(tmp_path / "run"), "--epochs", "0.5", *TINY]
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    steps = json.loads(said.out)["steps"]
    assert f"; {steps} steps of 2 rows: 0.5 times through the data" in said.err
    assert f"steps: {steps}\nepochs: null" in (tmp_path / "run" / "recipe.yaml").read_text().replace(
        "\n  ", "\n"
    )


def test_steps_on_the_command_line_come_before_epochs_of_a_recipe(works, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"schema: 1\nstart: gpt2\ndata: {{source: {works}}}\nplan: {{epochs: 1.0}}\n")
    words = ["train", "--recipe", str(recipe), "-o", str(tmp_path / "run"), "--steps", "2", *TINY]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'run'}: 2 steps")


def test_data_that_moved_is_found_where_resume_is_told(works, tmp_path, capsys):
    words = ["train", "gpt2", "-d", str(works), "-o", str(tmp_path / "run"), "--steps", "2", *TINY]
    assert main(words) == 0
    works.rename(tmp_path / "moved")
    capsys.readouterr()
    resume = ["train", "-o", str(tmp_path / "run"), "--resume", "--device", "cpu"]
    assert main(resume) == 1
    assert str(works) in capsys.readouterr().err
    assert main([*resume, "--data", str(tmp_path / "moved")]) == 0
