"""SIGTERM and Ctrl-C: the step is finished and saved, the way to go on is said, and nothing differs afterwards."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from training import commands
from zoo.datasets import reading
from zoo.datasets.text import TextRows
from zoo_cli.main import main
from zoo_cli.stopping import Stopping

pytestmark = pytest.mark.usefixtures("one_thread")

SIGNALS = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)


@pytest.fixture
def whole(works, tmp_path, capsys):
    """A run of eight steps that nothing stopped; its checkpoints are of step 8 alone."""
    assert main(commands.new(works, tmp_path / "whole", *STEPS)) == 0
    capsys.readouterr()
    return tmp_path / "whole"


STEPS = ["--steps", "8", "--batch-size", "2"]


def during(monkeypatch, step, number):
    """The signal comes while the rows of a step are fetched."""
    real = TextRows.rows

    def rows(self, first, count):
        if first == 2 * (step - 1):
            signal.raise_signal(number)
        return real(self, first, count)

    monkeypatch.setattr(TextRows, "rows", rows)


@SIGNALS
@pytest.mark.parametrize("step", [1, 5])
def test_the_step_is_finished_and_saved_and_the_run_goes_on_to_the_same_weights(
    works, whole, tmp_path, capsys, monkeypatch, step, number, code
):
    run = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        during(patch, step, number)
        assert main(commands.new(works, run, *STEPS)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"stopped and saved after step {step}; go on with: zoo train --resume -o {run}\n"
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"step-{step:08d}"]
    assert main(commands.again(run)) == 0
    assert commands.sha256(run) == commands.sha256(whole)
    assert commands.last_checkpoint(run) == commands.last_checkpoint(whole)
    assert commands.metrics(run) == commands.metrics(whole)


def test_a_run_without_checkpoints_of_its_own_is_saved_when_it_is_stopped(works, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        during(patch, 3, signal.SIGTERM)
        assert main(commands.new(works, run, *STEPS, "--set", "plan.checkpoint_every=0")) == 143
    assert main(commands.again(run)) == 0
    assert [line["step"] for line in commands.metrics(run)] == list(range(1, 9))


def test_a_signal_in_the_last_step_stops_nothing(works, whole, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        during(patch, 8, signal.SIGTERM)
        assert main(commands.new(works, run, *STEPS)) == 0
    assert capsys.readouterr().out.startswith(f"{run}: 8 steps, ")
    assert commands.sha256(run) == commands.sha256(whole)


@SIGNALS
@pytest.mark.parametrize("begun", [False, True])
def test_a_signal_before_training_leaves_the_folder_as_it_was(
    works, tmp_path, monkeypatch, begun, number, code
):
    run = tmp_path / "run"
    if begun:
        assert main(commands.new(works, run, "--steps", "1", "--batch-size", "2")) == 0
    before = contents(tmp_path)
    real = reading.read

    def read(*given, **named):
        signal.raise_signal(number)
        return real(*given, **named)

    monkeypatch.setattr(reading, "read", read)
    assert main(commands.new(works, run, *STEPS, *(["--force"] if begun else []))) == code
    assert contents(tmp_path) == before


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def test_a_second_ctrl_c_stops_at_once():
    with Stopping() as stopping:
        stopping.gently()
        signal.raise_signal(signal.SIGINT)
        assert (stopping.asked, stopping.code) == (True, 130)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_that_a_launcher_repeats_is_still_one_wish(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with Stopping() as stopping:
        stopping.gently()
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        assert (stopping.asked, stopping.code) == (True, 130)


def test_a_second_sigterm_waits_for_the_step_too():
    with Stopping() as stopping:
        stopping.gently()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert (stopping.asked, stopping.code) == (True, 143)


def test_while_nothing_is_at_stake_a_signal_stops_at_once_and_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stopped, Stopping():
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.code == 143
    with pytest.raises(KeyboardInterrupt), Stopping():
        signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def told(process: subprocess.Popen[str], number: int, run, steps: int) -> tuple[int, str]:
    """Exit code and standard error of a process that a signal reaches once it has made so many steps."""
    while commands.steps_of(run) < steps:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.send_signal(number)
    _, err = process.communicate(timeout=600)
    return process.returncode, err


def test_a_process_that_is_terminated_says_how_to_go_on(works, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    steps = ["--steps", "300", "--batch-size", "2"]
    assert main(commands.new(works, whole, *steps)) == 0
    process = commands.start(commands.new(works, run, *steps))
    code, err = told(process, signal.SIGTERM, run, 5)
    assert code == 143
    assert (
        err
        == f"stopped and saved after step {commands.steps_of(run)}; go on with: zoo train --resume -o {run}\n"
    )
    assert main(commands.again(run)) == 0
    assert commands.sha256(run) == commands.sha256(whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@SIGNALS
def test_two_processes_that_are_stopped_save_and_say_it_once(works, tmp_path, number, code):
    whole, run = tmp_path / "whole", tmp_path / "run"
    steps = ["--steps", "300", "--batch-size", "4"]
    assert commands.done([*commands.new(works, whole, *steps), "--processes", "2"])[0] == 0
    process = commands.start([*commands.new(works, run, *steps), "--processes", "2"])
    stopped, err = told(process, number, run, 5)
    assert stopped == code
    assert (
        err
        == f"stopped and saved after step {commands.steps_of(run)}; go on with: zoo train --resume -o {run}\n"
    )
    assert commands.done([*commands.again(run), "--processes", "2"])[0] == 0
    assert commands.sha256(run) == commands.sha256(whole)


@pytest.mark.slow
def test_a_process_killed_after_it_was_told_to_stop_is_resumed_all_the_same(works, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    steps = ["--steps", "300", "--batch-size", "2"]
    assert main(commands.new(works, whole, *steps)) == 0
    process = commands.start(commands.new(works, run, *steps))
    commands.killed_when(
        process, lambda: commands.steps_of(run) >= 5 and process.send_signal(signal.SIGTERM) is None
    )
    assert main(commands.again(run)) == 0
    assert commands.sha256(run) == commands.sha256(whole)
