"""A run resumed after any step ends with the bits of one that was never stopped."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch

from training import commands
from zoo.training import resuming, run
from zoo.training.learner import Learner
from zoo.training.loop import train
from zoo.training.plan import SCHEDULES, Plan
from zoo_cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")

PLAN = Plan(steps=8, batch_size=6, warmup=2, learning_rate=0.03, average=0.9, evaluate_every=3)
"""Steps of 6 rows: the letters' epoch of 26 ends within step 5."""


def require_same(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_loop_goes_on_from_any_step_to_the_same_bits(pairs, letters, schedule, average, accumulation):
    plan = dataclasses.replace(PLAN, schedule=schedule, average=average, accumulation=accumulation)
    learner = Learner(pairs(0.5), plan)
    kept, losses = [], []
    for step in train(learner, letters, device="cpu"):
        kept.append({name: value.clone() for name, value in learner.tensors().items()})
        losses.append((step.epoch, step.losses, step.learning_rate, step.gradient_norm))
    kinds = {"network", "exp_avg", "exp_avg_sq", *(["average"] if average else [])}
    assert {name.partition(".")[0] for name in kept[0]} == kinds
    for number, tensors in enumerate(kept[:-1], start=1):
        resumed = Learner(pairs(0.5), plan)
        resumed.restore(tensors, number)
        torch.manual_seed(number)  # a process that starts anew is anywhere in torch's own randomness
        steps = list(train(resumed, letters, device="cpu"))
        assert [
            (step.epoch, step.losses, step.learning_rate, step.gradient_norm) for step in steps
        ] == losses[number:]
        require_same(resumed.tensors(), kept[-1])


def test_the_optimizers_own_count_of_steps_goes_on_too(pairs, letters):
    learner = Learner(pairs(), PLAN)
    steps = train(learner, letters, device="cpu")
    next(steps), next(steps)
    resumed = Learner(pairs(), PLAN)
    resumed.restore(learner.tensors(), 2)
    next(train(resumed, letters, device="cpu"))
    counts = {float(state["step"]) for state in resumed.optimizers["main"].state.values()}
    assert counts == {3.0}


@pytest.mark.parametrize(
    ("schedule", "numbers"), [("cosine", (1, 2, 3, 4, 5)), ("linear", (3,)), ("constant", (5,))]
)
def test_the_command_goes_on_from_any_step_to_the_same_files(works, tmp_path, capsys, schedule, numbers):
    words = commands.new(works, tmp_path / "whole", "--steps", "6", "--batch-size", "16")
    for assignment in (
        f"plan.schedule={schedule}",
        "plan.accumulation=2",
        "plan.checkpoint_every=1",
        "plan.evaluate_every=3",
        "data.held_out=birch",
    ):
        words += ["--set", assignment]
    assert main(words) == 0
    wanted = run.recipe.read(tmp_path / "whole" / run.RECIPE)
    begun = run.begin(wanted, tmp_path / "stepped", device="cpu")
    assert 16 < begun.rows.epoch < 5 * 16  # an epoch ends on the way, and not where a step does
    assert begun.rows.epoch % 16
    for step in run.steps(begun):
        shutil.copytree(tmp_path / "stepped", tmp_path / f"after{step.step}")
    for number in numbers:
        folder = tmp_path / f"after{number}"
        assert resuming.resume(folder, device="cpu").learner.step == number
        torch.manual_seed(number)
        assert main(commands.again(folder, "--quiet")) == 0
        assert commands.sha256(folder) == commands.sha256(tmp_path / "whole")
        assert commands.last_checkpoint(folder) == commands.last_checkpoint(tmp_path / "whole")
        assert commands.metrics(folder) == commands.metrics(tmp_path / "whole")


def test_settings_of_torch_that_a_resumed_run_meets_are_the_callers_own(pairs, letters):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    learner = Learner(pairs(0.5), PLAN)
    learner.restore(learner.tensors(), 0)
    list(train(learner, letters, device="cpu"))
    assert torch.equal(torch.rand(2), expected)
