"""Two real processes that share each batch: the losses of one process, and a resumed run of the same bits."""

from __future__ import annotations

import shutil
import sys
import time

import pytest

from training import commands
from zoo.training.outputs import METRICS, WEIGHTS
from zoo_cli.main import main

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.timeout(1800)]

STEPS = ["--steps", "50", "--batch-size", "8", "--set", "plan.accumulation=2"]
STEPS += ["--set", "plan.evaluate_every=0", "--set", "plan.checkpoint_every=20", "--set", "plan.keep=9"]
TWO = ["--processes", "2"]


def agree(one, two):
    """Whether two runs' metrics are the same but for float32's rounding."""
    assert len(one) == len(two) > 0
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys()
        assert [second[name] for name in first] == pytest.approx([first[name] for name in first], rel=1e-5)


def resumed_from(step, run, folder):
    """A copy of a run as it was after a checkpoint."""
    shutil.copytree(run, folder)
    (folder / WEIGHTS).unlink()
    for path in (folder / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)
    return folder


def failure(ran):
    """What a process that failed wrote to standard error, with its exit code; "" of one that did not."""
    code, _, err = ran
    return f"{code}: {err}" if code else ""


def test_two_processes_agree_with_one_and_are_resumed_to_the_same_bits(works, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    exact = [*STEPS, "--set", "config.dropout=0.0"]
    assert main(commands.new(works, one, *exact)) == 0
    code, out, err = commands.done([*commands.new(works, two, *exact), *TWO])
    assert (code, err) == (0, "")
    assert out.startswith(f"{two}: 50 steps, held out bits per byte ")
    assert out.count("\n") == 1
    agree(commands.metrics(one), commands.metrics(two))
    resumed = resumed_from(20, two, tmp_path / "resumed")
    assert commands.done([*commands.again(resumed), *TWO])[0] == 0
    assert commands.sha256(resumed) == commands.sha256(two)
    assert commands.last_checkpoint(resumed) == commands.last_checkpoint(two)
    assert commands.metrics(resumed) == commands.metrics(two)


def test_a_batch_that_processes_cannot_share_is_a_usage_error_said_once(works, tmp_path):
    words = commands.new(works, tmp_path / "run", "--steps", "2", "--batch-size", "7")
    code, out, err = commands.done([*words, *TWO])
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "plan.batch_size is 7, but must be a multiple of 2: 2 processes x plan.accumulation 1" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_with_dropout_two_processes_are_resumed_to_the_same_bits(works, tmp_path):
    two = tmp_path / "two"
    assert failure(commands.done([*commands.new(works, two, *STEPS), *TWO])) == ""
    resumed = resumed_from(20, two, tmp_path / "resumed")
    assert failure(commands.done([*commands.again(resumed), *TWO])) == ""
    assert commands.sha256(resumed) == commands.sha256(two)
    assert commands.metrics(resumed) == commands.metrics(two)


@pytest.mark.slow
def test_two_processes_write_to_a_run_as_one(works, tmp_path):
    run = tmp_path / "run"
    process = commands.start([*commands.new(works, run, "--steps", "2000", "--batch-size", "2"), *TWO])
    while commands.steps_of(run) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    for words in (commands.again(run), [*commands.again(run), *TWO]):
        code, _, err = commands.done(words)
        assert code == 1
        assert err.startswith(f"error: {run} is being written to by process ")
        assert err.count("\n") == 2
    process.terminate()
    process.communicate()
    assert main(commands.again(run, "--steps", str(commands.steps_of(run) + 1))) == 0


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_in_one(works, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    exact = [*STEPS, "--set", "config.dropout=0.0"]
    assert main(commands.new(works, one, *exact)) == 0
    assert commands.done([*commands.new(works, two, *exact), *TWO])[0] == 0
    resumed = resumed_from(20, two, tmp_path / "resumed")
    assert main(commands.again(resumed)) == 0
    agree(commands.metrics(one), commands.metrics(resumed))


@pytest.mark.slow
def test_accelerates_own_launcher_starts_the_command_too(works, tmp_path):
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    assert commands.done([*commands.new(works, ours, *STEPS), *TWO])[0] == 0
    words = commands.new(works, theirs, *STEPS)
    code, out, _ = commands.done([], command=[*launcher, "-m", "zoo_cli", *words])
    assert code == 0
    assert out.startswith(f"{theirs}: 50 steps, ")
    assert (theirs / METRICS).is_file()
    assert commands.sha256(theirs) == commands.sha256(ours)
