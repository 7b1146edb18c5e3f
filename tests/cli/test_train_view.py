"""What `zoo train` shows: plain lines where nobody watches, a bar where somebody does, events for TensorBoard."""

from __future__ import annotations

import importlib.util
import os
import re
import select
import subprocess
import sys

import pytest

from training import commands
from training_fixtures import works
from zoo_cli import terminal
from zoo_cli.training_view import course

__all__ = ["works"]

pytestmark = pytest.mark.usefixtures("one_thread")


def words(works, run, *more):
    """A run of forty steps, measured twice, that is not quiet."""
    said = commands.new(works, run, "--steps", "40", "--batch-size", "2", "--set", "plan.evaluate_every=20")
    said.remove("--quiet")
    return [*said, *more]


def test_where_nobody_watches_there_are_some_twenty_plain_lines(zoo, works, tmp_path):
    ran = zoo(*words(works, tmp_path / "run"))
    assert ran.code == 0
    first, *steps, last = ran.err.splitlines()
    assert re.fullmatch(
        r"\d+(\.\d+)?K parameters, [\d,]+ tokens of 4 documents, 1 held out; 40 steps of 2 rows: [\d.]+ times "
        r"through the data",
        first,
    ), first
    assert [int(re.match(r"step (\d+): loss \d\.\d{3}, [\d,]+ tokens/s", line)[1]) for line in steps] == list(
        range(2, 41, 2)
    )
    measured = [line for line in steps if re.search(r", held out bits per byte \d\.\d{4}$", line)]
    assert [line.split(":")[0] for line in measured] == ["step 20", "step 40"]
    assert last == f"try it: zoo sample {tmp_path / 'run'}"
    assert not set(ran.err) & set("\x1b\r")
    assert ran.out.count("\n") == 1


def test_quiet_says_nothing_but_the_result(zoo, works, tmp_path):
    ran = zoo(*words(works, tmp_path / "run", "--quiet"))
    assert ran.err == ""
    assert ran.out.startswith(f"{tmp_path / 'run'}: 40 steps, held out bits per byte ")


def test_on_a_terminal_a_bar_shows_the_step_the_loss_and_its_course(works, tmp_path):
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo_cli", *words(works, tmp_path / "run")],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=kept | {"TERM": "xterm", "COLUMNS": "140", "OMP_NUM_THREADS": "1"},
    )
    os.close(slave)
    screen = b""
    while select.select([master], [], [], 100)[0]:
        try:
            read = os.read(master, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not read:
            break
        screen += read
    os.close(master)
    assert process.wait(timeout=20) == 0
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.decode())
    assert re.search(r"━+ +40/40 .*loss \d\.\d{3}, [\d,]+ tokens/s +[▁-█]{5,}", text)
    assert re.search(r"step 20: loss .* held out bits per byte", text)
    assert "step 2: " not in text  # the bar stands for them
    assert f"{tmp_path / 'run'}: 40 steps, held out bits per byte " in text


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([], 5, ""),
        ([2.0], 5, "▁"),
        ([3.0, 3.0, 3.0], 5, "▁▁▁"),
        ([float(value) for value in range(8)], 8, "▁▂▃▄▅▆▇█"),
        ([float(value) for value in range(8, 0, -1)], 4, "█▆▃▁"),
        ([0.0, 2.0, 0.0, 0.0, 7.0, 7.0, 3.0], 3, "▂▁█"),
    ],
)
def test_the_course_of_a_loss_is_drawn_in_blocks(values, width, drawn):
    assert course(values, width) == drawn


def events(run):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    read.Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_tensorboard_reads_what_was_written(zoo, works, tmp_path):
    run = tmp_path / "run"
    assert zoo(*words(works, run, "--tensorboard")).code == 0
    found = events(run)
    assert set(found) == {
        "loss/loss",
        "held out/held_out_bits_per_byte",
        "training/learning rate",
        "training/gradient norm",
        "training/tokens a second",
    }
    lines = commands.metrics(run)
    assert found["loss/loss"] == [(line["step"], pytest.approx(line["loss"])) for line in lines]
    assert [step for step, _ in found["held out/held_out_bits_per_byte"]] == [20, 40]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_tensorboard_has_each_step_once_after_a_run_was_killed_and_resumed(works, tmp_path):
    run = tmp_path / "run"
    said = commands.new(works, run, "--steps", "400", "--batch-size", "2", "--tensorboard")
    process = commands.start([*said, "--set", "plan.checkpoint_every=10"])
    while len(list((run / "checkpoints").glob("step-*"))) < 2:
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    code, _, err = commands.done(commands.again(run, "--tensorboard", "--quiet"))
    assert (code, err) == (0, "")
    assert [step for step, _ in events(run)["loss/loss"]] == list(range(1, 401))


@pytest.mark.parametrize("begun", [False, True])
def test_without_the_package_nothing_is_written(zoo, works, tmp_path, monkeypatch, begun):
    run = tmp_path / "run"
    if begun:
        run.mkdir()
        (run / "mine.txt").write_text("mine")
    before = sorted(path.name for path in run.iterdir()) if begun else None
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "tensorboard" else real(name, *more)
    )
    ran = zoo(*words(works, run, "--tensorboard", "--force"))
    assert ran.code == 1
    assert ran.err == (
        "error: --tensorboard needs the package tensorboard\nhint: pip install 'zoo-core[tensorboard]'\n"
    )
    assert run.exists() == begun
    if begun:
        assert sorted(path.name for path in run.iterdir()) == before


def test_the_data_that_names_itself_cannot_drive_the_terminal(zoo, works, tmp_path):
    (works / "ash.txt").rename(works / "a\x1b[2Jsh.txt")
    ran = zoo(*words(works, tmp_path / "run"))
    assert "\x1b" not in ran.err + ran.out
    assert terminal.one_line("a\x1b[2Jsh") == "a[2Jsh"
