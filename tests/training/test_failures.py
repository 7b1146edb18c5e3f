"""What stops training: it is said what and what to do, and nothing that was saved is spoiled."""

from __future__ import annotations

import math
import re

import pytest
import torch

from training import commands
from zoo.errors import TrainingError
from zoo.training.learner import Learner
from zoo.training.loop import train
from zoo.training.plan import Plan
from zoo_cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")

PLAN = Plan(steps=4, batch_size=4, warmup=0)


def stopped(network, letters, plan=PLAN):
    """The error of a training, and its learner."""
    learner = Learner(network, plan)
    with pytest.raises(TrainingError) as raised:
        list(train(learner, letters, device="cpu"))
    return raised.value, learner


def failing(pairs, step, action):
    """A network whose loss does something else in one step, after it has computed."""

    class Failing(pairs):
        made = 0

        def loss(self, batch, turn, noise):
            value = super().loss(batch, turn, noise)
            self.made += 1
            return action(value) if self.made == step else value

    return Failing(0.5)


def test_a_loss_that_is_not_a_number_leaves_weights_average_and_memory(pairs, letters):
    plan = Plan(steps=4, batch_size=4, warmup=0, average=0.9)
    error, learner = stopped(failing(pairs, 3, lambda value: value * math.nan), letters, plan)
    assert re.match(
        r"step 3: loss nan, gradient norm nan at learning rate 0\.000\d+, on rows 8 to 11; the weights are those "
        r"after step 2",
        str(error),
    )
    assert error.hint == "try a lower rate: --set plan.learning_rate=0.0003"
    expected = Learner(pairs(0.5), plan)
    steps = train(expected, letters, device="cpu")
    next(steps), next(steps)
    found, wanted = learner.tensors(), expected.tensors()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_command_that_met_nan_says_so_and_is_resumed(works, tmp_path, capsys, monkeypatch):
    from zoo_gpt.gpt2 import GPT2

    run, whole = tmp_path / "run", tmp_path / "whole"
    words = ["--steps", "6", "--batch-size", "2", "--set", "plan.checkpoint_every=2"]
    assert main(commands.new(works, whole, *words)) == 0
    real, made = GPT2.loss, []

    def loss(self, batch, turn="main", noise=None):
        made.append(turn)
        return real(self, batch, turn, noise) * (math.nan if len(made) == 5 else 1.0)

    monkeypatch.setattr(GPT2, "loss", loss)
    capsys.readouterr()
    assert main(commands.new(works, run, *words)) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: step 5: loss nan, gradient norm nan at learning rate ")
    assert "on rows 8 to 9" in said.err
    assert "hint: try a lower rate: --set plan.learning_rate=" in said.err
    assert sorted(path.name for path in (run / "checkpoints").iterdir())[-1] == "step-00000004"
    assert main(commands.again(run)) == 0
    assert commands.sha256(run) == commands.sha256(whole)


def test_memory_of_an_accelerator_that_ran_out_is_said_with_what_lowers_it(pairs, letters):
    def run_out(value):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has 8 GiB.")

    error, learner = stopped(failing(pairs, 2, run_out), letters)
    assert str(error).startswith(
        "step 2 ran out of memory: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 8 GiB. "
    )
    assert "grows with the rows at once, 4)" in str(error)
    for setting in ("--set plan.accumulation=2", "--batch-size", "--set plan.precision=bfloat16"):
        assert setting in error.hint
    assert learner.step == 1


def test_memory_of_the_machine_that_ran_out_is_told_by_torchs_own_words(pairs, letters):
    def far_too_much(value):
        return value + torch.empty(2**60, dtype=torch.uint8).sum()

    error, _ = stopped(failing(pairs, 1, far_too_much), letters)
    assert "step 1 ran out of memory: " in str(error)
    assert str(2**60) in str(error)


def test_numpys_memory_is_memory_too(pairs, letters):
    class Huge(type(letters)):
        def rows(self, first, count):
            import numpy as np

            return np.empty(2**60, dtype=np.uint8)

    error, _ = stopped(pairs(), Huge())
    assert "step 1 ran out of memory: Unable to allocate 1.00 EiB" in str(error)


def test_any_other_error_of_a_network_is_its_own(pairs, letters):
    def wrong(value):
        raise RuntimeError("shapes (3,) and (4,) do not match")

    with pytest.raises(RuntimeError, match="do not match"):
        list(train(Learner(failing(pairs, 1, wrong), PLAN), letters, device="cpu"))


@pytest.fixture
def begun(works, tmp_path):
    """A run's folder and what is in it."""
    run = tmp_path / "run"
    assert main(commands.new(works, run, "--steps", "2", "--batch-size", "2")) == 0
    return run, contents(run)


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_folder_that_is_not_empty_is_refused_without_force(works, begun, capsys):
    run, before = begun
    capsys.readouterr()
    assert main(commands.new(works, run, "--steps", "1", "--batch-size", "2")) == 2
    said = capsys.readouterr().err
    assert f"{run} is not an empty folder" in said
    assert "--resume" in said
    assert "--force" in said
    assert contents(run) == before


def test_a_file_in_the_folders_place_is_refused_even_with_force(works, tmp_path, capsys):
    (tmp_path / "run").write_text("mine")
    assert main(commands.new(works, tmp_path / "run", "--steps", "1", "--force")) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert (tmp_path / "run").read_text() == "mine"


def test_with_force_what_was_there_is_given_up(works, begun, tmp_path):
    run, before = begun
    (run / "letters.txt").write_text("mine")
    words = commands.new(works, run, "--steps", "1", "--batch-size", "2", "--seed", "7", "--force", "--yes")
    assert main(words) == 0
    after = contents(run)
    assert (run / "letters.txt").exists() is False
    assert after.keys() != before.keys()
    assert len(commands.metrics(run)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "works"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--set", "config.layer=1"], 2),
        (["--set", "data.held_out=oak"], 2),
        (["--set", "data.window=100000"], 2),
        (["--batch-size", "3", "--set", "plan.accumulation=2"], 2),
        (["--data", "nowhere"], 1),
    ],
)
def test_with_force_a_run_that_cannot_begin_leaves_the_old_one(works, begun, tmp_path, words, code):
    run, before = begun
    assert main(commands.new(works, run, "--steps", "1", *words, "--force")) == code
    assert contents(run) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "works"]


def test_with_force_memory_that_runs_out_before_the_first_step_leaves_the_old_one(
    works, begun, tmp_path, monkeypatch
):
    run, before = begun
    monkeypatch.setattr("zoo.training.start.network", lambda *_, **__: torch.empty(2**60))
    assert main(commands.new(works, run, "--steps", "1", "--force")) == 1
    assert contents(run) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "works"]


def test_damaged_checkpoints_are_said_and_the_one_before_is_gone_on_from(works, tmp_path, capsys):
    whole = tmp_path / "whole"
    words = ["--steps", "7", "--batch-size", "2", "--set", "plan.checkpoint_every=2", "--set", "plan.keep=9"]
    words += ["--set", "plan.evaluate_every=0"]
    assert main(commands.new(works, whole, *words)) == 0
    for damaged in (1, 2, 4):
        folder = tmp_path / f"damaged{damaged}"
        assert main(commands.new(works, folder, *words)) == 0
        (folder / "model.safetensors").unlink()
        newest = sorted((folder / "checkpoints").iterdir(), reverse=True)
        assert [path.name[-1] for path in newest] == ["7", "6", "4", "2"]
        for path in newest[:damaged]:
            weights = bytearray((path / "training.safetensors").read_bytes())
            weights[-1] ^= 1
            (path / "training.safetensors").write_bytes(weights)
        capsys.readouterr()
        assert main(commands.again(folder)) == 0
        warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
        assert [str(path) in line for path, line in zip(newest[:damaged], warnings, strict=True)] == [
            True
        ] * damaged
        assert commands.sha256(folder) == commands.sha256(whole)
        assert commands.last_checkpoint(folder) == commands.last_checkpoint(whole)
        assert commands.metrics(folder) == commands.metrics(whole)


def test_a_run_goes_on_without_a_run_json_that_can_be_read(works, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(commands.new(works, run, "--steps", "2", "--batch-size", "2")) == 0
    (run / "run.json").write_text("{", encoding="utf-8")
    assert main(["train", "--resume", "-o", str(run)]) == 0
    assert "run.json cannot be read" in capsys.readouterr().err
