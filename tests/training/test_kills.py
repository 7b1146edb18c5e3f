"""Runs killed outright, again and again, in the middle of a checkpoint too: nothing is lost and nothing differs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from training import commands
from zoo_cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")

KEPT = ["--batch-size", "4", "--set", "plan.checkpoint_every=5", "--set", "plan.evaluate_every=100"]


def being_written(run: Path) -> bool:
    """Whether there is a checkpoint newer than all that are finished, under the name it has while it is written."""
    names = [path.name for path in (run / "checkpoints").glob("*step-*")]
    done = max((int(name[5:13]) for name in names if name.startswith("step-")), default=0)
    return any(name.startswith(".step-") and int(name[6:14]) > done for name in names)


def require_that_kills_change_nothing(works: Path, folder: Path, kills: int, seed: int) -> None:
    steps = ("--steps", str(100 * kills))
    whole, killed = folder / "whole", folder / "killed"
    assert main(commands.new(works, whole, *steps, *KEPT)) == 0
    chance = random.Random(seed)
    while_writing = 0
    for kill in range(kills):
        process = commands.start(
            commands.again(killed) if kill else commands.new(works, killed, *steps, *KEPT)
        )
        known = commands.steps_of(killed)
        target = known + chance.randrange(1, 40)
        if kill % 3 == 1:
            commands.killed_when(process, lambda: being_written(killed))
            while_writing += being_written(killed)
        else:
            commands.killed_when(process, lambda target=target: commands.steps_of(killed) >= target)
    assert while_writing >= 1
    assert main(commands.again(killed)) == 0
    assert commands.sha256(killed) == commands.sha256(whole)
    assert commands.last_checkpoint(killed) == commands.last_checkpoint(whole)
    assert commands.metrics(killed) == commands.metrics(whole)
    assert [line["step"] for line in commands.metrics(killed)] == list(range(1, 100 * kills + 1))
    assert not list((killed / "checkpoints").glob(".*"))


def test_a_run_killed_three_times_ends_with_the_weights_of_one_never_killed(works, tmp_path):
    require_that_kills_change_nothing(works, tmp_path, 3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_killed_twenty_times_ends_with_the_weights_of_one_never_killed(works, tmp_path):
    require_that_kills_change_nothing(works, tmp_path, 20, seed=2)
