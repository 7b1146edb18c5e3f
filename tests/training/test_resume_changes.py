"""Going on with a run when something is not as it was: what it started from is gone, or its recipe was edited."""

from __future__ import annotations

import shutil

import pytest
import yaml

from training import commands
from zoo.evaluation import held_out
from zoo.training import recipe, run, start
from zoo_cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = ["--steps", "6", "--batch-size", "2", "--set", "plan.checkpoint_every=2"]


@pytest.fixture
def many(tmp_path):
    """Twelve documents, so that two seeds seldom hold out the same one."""
    folder = tmp_path / "works"
    folder.mkdir()
    for number in range(12):
        lines = (f"The tree {number} counts {ring} rings tonight.\n" for ring in range(30))
        (folder / f"tree{number}.txt").write_text("".join(lines))
    return folder


def stopped(folder, words, after):
    """A run that made some steps and went no further."""
    wanted = recipe.read(words)
    begun = run.begin(wanted, folder, device="cpu")
    steps = run.steps(begun)
    for _ in range(after):
        next(steps)
    steps.close()
    return folder


def edited(folder, **sections):
    path = folder / "recipe.yaml"
    said = yaml.safe_load(path.read_text())
    for section, changes in sections.items():
        said[section] |= changes
    path.write_text(yaml.safe_dump(said))


def said_by(capsys, words, code):
    capsys.readouterr()
    assert main(words) == code
    return capsys.readouterr().err


@pytest.mark.parametrize("copied", [False, True])
def test_a_fine_tune_goes_on_to_the_same_bits_without_what_it_started_from(
    works, tmp_path, tiny_gpt2, monkeypatch, copied
):
    model, whole = tmp_path / "model", tmp_path / "whole"
    shutil.copytree(tiny_gpt2, model)
    words = ["train", str(model), "-d", str(works), "-o", str(whole), *STEPS, "--device", "cpu", "--quiet"]
    assert main(words) == 0
    tuned = stopped(tmp_path / "tuned", whole / "recipe.yaml", 5)
    if copied:  # to another machine, where a name of the registry or the Hub may mean nothing
        tuned = tuned.rename(tmp_path / "elsewhere")
    shutil.rmtree(model)
    monkeypatch.setattr(start, "find", lambda *_, **__: pytest.fail("it looks for what it started from"))
    assert main(commands.again(tuned, "--offline")) == 0
    assert commands.sha256(tuned) == commands.sha256(whole)
    assert commands.last_checkpoint(tuned) == commands.last_checkpoint(whole)
    assert commands.metrics(tuned) == commands.metrics(whole)


def test_without_a_checkpoint_the_start_is_needed_and_named(works, tmp_path, tiny_gpt2, capsys):
    model = tmp_path / "model"
    shutil.copytree(tiny_gpt2, model)
    words = ["train", str(model), "-d", str(works), "-o", str(tmp_path / "run"), *STEPS, "--device", "cpu"]
    assert main(words) == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    shutil.rmtree(model)
    said = said_by(capsys, commands.again(tmp_path / "run"), 1)
    assert f"{tmp_path / 'run'} has no checkpoint yet, so it needs what it starts from: " in said
    assert str(model) in said


def test_an_edited_recipe_is_told_by_field_and_refused_until_set_says_so(many, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(commands.new(many, folder, *STEPS)) == 0
    edited(folder, plan={"seed": 7, "learning_rate": 0.5, "batch_size": 3, "steps": 8})
    said = said_by(capsys, commands.again(folder), 1)
    for told in (
        f"{folder / 'recipe.yaml'} was changed since the run began: ",
        "plan.seed was 0 and is 7",
        "plan.learning_rate was 0.01 and is 0.5",
        "plan.batch_size was 2 and is 3",
        "plan.steps was 6 and is 8",
        "--set plan.learning_rate=0.5",
    ):
        assert told in said
    assert commands.steps_of(folder) == 6
    said = said_by(capsys, commands.again(folder, "--set", "plan.seed=7", "--steps", "8"), 1)
    assert "plan.seed" not in said
    allowed = [f"plan.{setting}" for setting in ("seed=7", "learning_rate=0.5", "batch_size=3")]
    words = [word for setting in allowed for word in ("--set", setting)]
    assert main(commands.again(folder, *words, "--steps", "8")) == 0
    assert commands.steps_of(folder) == 8
    assert main(commands.again(folder)) == 0  # what was said once is how the run goes from then on


def test_a_recipe_is_compared_before_the_first_checkpoint_too(many, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(commands.new(many, folder, *STEPS)) == 0
    shutil.rmtree(folder / "checkpoints")
    edited(folder, config={"dropout": 0.3})
    assert "config.dropout was 0.1 and is 0.3" in said_by(capsys, commands.again(folder), 1)


def test_a_recipe_is_compared_without_run_json(many, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(commands.new(many, folder, *STEPS)) == 0
    (folder / "run.json").unlink()
    edited(folder, plan={"seed": 7})
    assert "plan.seed was 0 and is 7" in said_by(capsys, commands.again(folder), 1)


def test_another_seed_leaves_what_is_held_out_where_it_was(many, tmp_path):
    folder = tmp_path / "run"
    assert main(commands.new(many, folder, *STEPS)) == 0
    before = held_out.of_run(folder, "run")
    for seed in range(1, 4):
        assert main(commands.again(folder, "--seed", str(seed), "--steps", str(6 + seed))) == 0
        assert recipe.read(folder / "recipe.yaml").plan["seed"] == seed
        assert held_out.of_run(folder, "run") == before
    edited(folder, plan={"seed": 9})
    assert held_out.of_run(folder, "run") == before
    words = ["train", "--recipe", str(folder / "recipe.yaml"), "--seed", "5", "-o", str(tmp_path / "again")]
    assert main([*words, "--device", "cpu"]) == 0
    assert held_out.of_run(tmp_path / "again", "again").documents == before.documents


def test_a_seed_alone_divides_the_data_of_a_new_run(many, tmp_path):
    drawn = set()
    for seed in range(3):
        folder = tmp_path / str(seed)
        assert main(commands.new(many, folder, *STEPS, "--seed", str(seed))) == 0
        assert recipe.read(folder / "recipe.yaml").data["split_seed"] == seed
        drawn.add(held_out.of_run(folder, "run").documents[0].name)
    assert len(drawn) > 1


def test_a_fine_tune_on_the_same_data_holds_out_what_its_start_did(many, tmp_path):
    run_, tuned, other = (tmp_path / name for name in ("run", "tuned", "other"))
    assert main(commands.new(many, run_, *STEPS, "--seed", "3")) == 0
    words = ["train", str(run_), *STEPS, "--seed", "8", "--device", "cpu", "--quiet"]
    assert main([*words, "-d", str(many), "-o", str(tuned)]) == 0
    assert held_out.of_run(tuned, "tuned").documents == held_out.of_run(run_, "run").documents
    assert recipe.read(tuned / "recipe.yaml").plan["seed"] == 8
    elsewhere = many.rename(tmp_path / "elsewhere")
    assert main([*words, "-d", str(elsewhere), "-o", str(other)]) == 0
    assert recipe.read(other / "recipe.yaml").data["split_seed"] == 8


def test_the_split_cannot_be_moved_under_a_run(many, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(commands.new(many, folder, *STEPS)) == 0
    said = said_by(capsys, commands.again(folder, "--set", "data.split_seed=1"), 1)
    assert f"is not the data that {folder} was trained on" in said
