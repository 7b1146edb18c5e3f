"""A run's folder: one writer, used as it is, and as it was when nothing came of the run."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import io
import json
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest
import torch

from training import commands
from training.test_run import SMALL
from zoo.errors import TrainingError, UsageError, ZooWarning
from zoo.training import folder as folders
from zoo.training import resuming, run
from zoo_cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = ["--steps", "1", "--batch-size", "2"]


def begin(works, folder, **given):
    return run.begin(dataclasses.replace(SMALL, source=str(works)), folder, device="cpu", **given)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


@pytest.fixture
def fails_at_first(monkeypatch):
    """Every GPT-2 fails in its first step."""
    from zoo_gpt.gpt2 import GPT2

    def loss(self, batch, turn="main", noise=None):
        return torch.tensor(torch.nan, requires_grad=True)

    monkeypatch.setattr(GPT2, "loss", loss)


@pytest.fixture
def begun(works, tmp_path):
    assert main(commands.new(works, tmp_path / "run", *STEPS)) == 0
    return tmp_path / "run"


def said_by(capsys, words, code) -> str:
    capsys.readouterr()
    assert main(words) == code
    return capsys.readouterr().err


def test_the_working_folder_is_used_as_it_is(works, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = here.stat().st_ino
    assert main(commands.new(works, Path(), *STEPS)) == 0
    assert (here / "model.safetensors").is_file()
    assert here.stat().st_ino == before
    assert folders.LOCK not in names(here)


@pytest.mark.parametrize("fails", [False, True])
def test_the_folder_that_a_link_leads_to_is_used(works, tmp_path, request, fails):
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir()
    link.symlink_to(target)
    if fails:
        request.getfixturevalue("fails_at_first")
    assert main(commands.new(works, link, *STEPS)) == fails
    assert link.is_symlink()
    assert (target / "recipe.yaml").is_file() is not fails
    assert names(tmp_path) == ["link", "target", "works"]


def test_a_mount_point_is_used_though_the_file_system_keeps_a_folder_there(works, tmp_path):
    (tmp_path / "run" / "lost+found").mkdir(parents=True)
    (tmp_path / "run" / folders.LOCK).write_text("of one that was killed")
    assert main(commands.new(works, tmp_path / "run", *STEPS)) == 0
    assert {"lost+found", "recipe.yaml"} < set(names(tmp_path / "run"))


def test_a_link_that_leads_nowhere_is_told(works, tmp_path, capsys):
    (tmp_path / "run").symlink_to("away")
    said = said_by(capsys, commands.new(works, tmp_path / "run", *STEPS), 2)
    assert f"{tmp_path / 'run'} is a link to away, which is not there" in said


def test_a_run_that_fails_in_its_first_step_leaves_no_folder(works, tmp_path, fails_at_first):
    assert main(commands.new(works, tmp_path / "a" / "b" / "run", *STEPS)) == 1
    assert names(tmp_path) == ["works"]


@pytest.mark.usefixtures("fails_at_first")
def test_with_force_a_run_that_fails_in_its_first_step_leaves_the_old_one(tmp_path, works, capsys):
    run_ = tmp_path / "run"
    (run_ / "checkpoints").mkdir(parents=True)
    (run_ / "recipe.yaml").write_text("mine")
    before = contents(tmp_path)
    said = said_by(capsys, commands.new(works, run_, *STEPS, "--force", "--yes"), 1)
    assert "step 1: loss nan" in said
    assert contents(tmp_path) == before


@pytest.mark.parametrize("yes", [[], ["--yes"]])
@pytest.mark.parametrize("where", ["/", "home", "above", "a link"])
def test_what_is_too_much_to_give_up_is_never_emptied(works, tmp_path, monkeypatch, capsys, where, yes):
    home, inside = tmp_path / "home" / "ada", tmp_path / "above" / "inside"
    home.mkdir(parents=True)
    inside.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(inside)
    (tmp_path / "a link").symlink_to(tmp_path / "above")
    before = contents(tmp_path)
    said = said_by(capsys, commands.new(works, tmp_path / where, *STEPS, "--force", *yes), 2)
    assert ", which --force never empties" in said
    assert contents(tmp_path) == before
    with pytest.raises(UsageError, match="which --force never empties"):
        begin(works, tmp_path / where, force=True)


def test_what_is_not_of_a_run_is_asked_for(works, begun, capsys, monkeypatch):
    (begun / "letters.txt").write_text("mine")
    before = contents(begun)
    words = commands.new(works, begun, *STEPS, "--force")
    said = said_by(capsys, words, 2)
    assert said.startswith(f"error: {begun} holds what is not of a run: letters.txt\nhint: add --yes")
    monkeypatch.setattr("zoo_cli.terminal.is_terminal", lambda stream: stream is sys.stdin)
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert "Delete it all? [y/N]" in said_by(capsys, words, 1)
    assert contents(begun) == before
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(words) == 0
    assert not (begun / "letters.txt").exists()


def test_a_run_is_given_up_without_a_question(works, begun):
    (begun / "tensorboard").mkdir()
    assert folders.strangers(begun) == []
    assert main(commands.new(works, begun, *STEPS, "--seed", "3", "--force")) == 0
    assert not (begun / "tensorboard").exists()


def test_a_folder_with_a_recipe_and_other_things_is_no_run(begun):
    (begun / "run.json").unlink()
    assert folders.strangers(begun) == [path.name for path in folders.content(begun)]
    (begun / "run.json").write_text("{}")
    assert "model.safetensors" in folders.strangers(begun)


def killed_before_the_first_step(works, run_):
    """A run with --force in `run_` that was killed after its recipe was written."""
    begin(works, run_, force=True).held.lock.release()
    (run_ / folders.LOCK).unlink(missing_ok=True)


def test_a_run_that_force_replaces_is_named_and_never_deleted_by_resume(works, begun, capsys):
    before, aside = contents(begun), begun / ".replaced"
    killed_before_the_first_step(works, begun)
    for words, code in ((commands.new(works, begun, *STEPS), 2), (commands.again(begun), 1)):
        assert str(aside) in said_by(capsys, words, code)
    assert contents(aside) == before


def test_half_of_a_run_that_is_being_replaced_is_not_gone_on_with(begun, capsys):
    aside = begun / ".replaced"
    aside.mkdir()
    shutil.move(begun / "checkpoints", aside)
    assert str(aside) in said_by(capsys, commands.again(begun, "--steps", "3"), 1)
    assert (aside / "checkpoints").is_dir()


def test_what_somebody_puts_into_a_run_without_a_step_stays(works, tmp_path):
    run_ = tmp_path / "run"
    begun = begin(works, run_)
    (run_ / "notes.txt").write_text("mine")
    begun.close()
    assert names(run_) == ["notes.txt"]


def test_what_was_there_is_put_back_over_nothing(works, tmp_path):
    run_ = tmp_path / "run"
    run_.mkdir()
    (run_ / "notes.txt").write_text("old")
    begun = begin(works, run_, force=True)
    (run_ / "notes.txt").write_text("new")
    with pytest.warns(ZooWarning, match="keeps notes.txt"):
        begun.close()
    assert (run_ / "notes.txt").read_text() == "new"
    assert (run_ / ".replaced" / "notes.txt").read_text() == "old"


def test_a_folder_of_somebody_elses_with_a_name_like_ours_stays(works, begun):
    (begun / ".replaced-mine").mkdir()
    assert main(commands.again(begun, "--steps", "2")) == 0
    assert (begun / ".replaced-mine").is_dir()


def test_fewer_steps_than_were_made_are_refused_and_not_written_down(works, tmp_path, capsys):
    run_ = tmp_path / "run"
    assert main(commands.new(works, run_, "--steps", "3", "--batch-size", "2")) == 0
    before = (run_ / "recipe.yaml").read_text()
    said = said_by(capsys, commands.again(run_, "--steps", "2"), 2)
    assert "plan.steps is 2, but the run has made 3 steps" in said
    assert (run_ / "recipe.yaml").read_text() == before


@pytest.mark.parametrize("what", ["data", "start"])
def test_what_is_trained_from_is_not_given_up(works, begun, capsys, what):
    inside = begun / "works"
    shutil.copytree(works, inside)
    words = commands.new(inside, begun, *STEPS) if what == "data" else ["train", str(begun), "-d", str(works)]
    words = words if what == "data" else [*words, "-o", str(begun), *STEPS, "--device", "cpu"]
    assert f" is in {begun}, which --force empties" in said_by(capsys, [*words, "--force", "--yes"], 2)
    assert (inside / "ash.txt").is_file()


READS_LONG = """
import sys, time
from zoo.datasets import reading
from zoo_cli.main import main

reading.read = lambda *_, **__: time.sleep(600)
main(sys.argv[1:])
"""


def test_a_kill_at_once_leaves_what_force_gives_up_where_it_was_said(works, begun, capsys):
    before, aside = contents(begun), begun / ".replaced"
    words = commands.new(works, begun, *STEPS, "--force")
    words.remove("--quiet")
    process = commands.start([], command=[sys.executable, "-c", READS_LONG, *words])
    said = process.stderr.readline()
    commands.killed_when(process, lambda: aside.exists() and contents(aside).keys() == before.keys())
    assert said == f"what is in {begun} now is kept in {aside} until the first step is made\n"
    assert contents(aside) == before
    assert str(aside) in said_by(capsys, commands.new(works, begun, *STEPS), 2)
    assert str(aside) in said_by(capsys, commands.again(begun), 1)
    assert contents(aside) == before
    assert main(commands.new(works, begun, *STEPS, "--force")) == 0
    assert not aside.exists()


def test_a_second_writer_is_told_who_the_first_is_and_harms_nothing(works, tmp_path, capsys):
    run_ = tmp_path / "run"
    every = ["--set", "plan.checkpoint_every=20", "--set", "plan.evaluate_every=0"]
    process = commands.start(commands.new(works, run_, "--steps", "100000", *every))
    while commands.steps_of(run_) < 3:
        assert process.poll() is None, process.communicate()
    for words in (commands.again(run_), commands.new(works, run_, *STEPS, "--force")):
        said = said_by(capsys, words, 1)
        who = f"process {process.pid} of {getpass.getuser()} on {socket.gethostname()}, since 2"
        assert f"{run_} is being written to by {who}" in said
        assert f"kill {process.pid}" in said
    process.kill()
    process.communicate()
    assert json.loads((run_ / folders.LOCK).read_text())["pid"] == process.pid
    assert main(commands.again(run_, "--steps", str(commands.steps_of(run_) + 1))) == 0
    assert folders.LOCK not in names(run_)


def test_a_run_in_this_process_is_locked_until_it_is_closed(works, tmp_path):
    first = begin(works, tmp_path / "run")
    with pytest.raises(TrainingError, match=rf"is being written to by process {os.getpid()} of "):
        resuming.resume(tmp_path / "run", device="cpu")
    steps = run.steps(first)
    next(steps)
    with pytest.raises(TrainingError, match="is being written to"):
        begin(works, tmp_path / "run", force=True)
    steps.close()
    with contextlib.closing(resuming.resume(tmp_path / "run", device="cpu")) as again:
        assert list(run.steps(again))


def test_a_run_that_is_closed_before_its_first_step_leaves_nothing(works, tmp_path):
    begin(works, tmp_path / "run").close()
    assert names(tmp_path) == ["works"]


def test_a_folder_that_cannot_be_made_is_told(works, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    said = said_by(capsys, commands.new(works, tmp_path / "file" / "run", *STEPS), 1)
    assert f"{tmp_path / 'file' / 'run'} cannot be written: Not a directory" in said
