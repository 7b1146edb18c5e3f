"""Checkpoints: whole or not there, the newest that holds is found, the newest few and the best are kept."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

import zoo.training
from zoo.errors import TrainingError, ZooWarning
from zoo.training import checkpoint
from zoo.training.learner import Learner
from zoo.training.loop import train
from zoo.training.plan import Plan

pytestmark = pytest.mark.usefixtures("one_thread")

PLAN = Plan(steps=3, batch_size=2, average=0.5, warmup=0)


def write(run, step, measure=None, *, keep=2, value=0.0):
    """A checkpoint of one weight, with a measure in its notes."""
    weight = torch.full((2,), value)
    return checkpoint.write(
        run,
        step,
        {"network.a": weight, "exp_avg.a": weight + 1},
        lambda path: safetensors.torch.save_file({"a": weight}, path),
        {"measure": measure, "said": "so"},
        keep=keep,
    )


def present(run):
    return sorted(path.name for path in (run / checkpoint.FOLDER).iterdir())


def test_what_was_written_is_read_again_bit_for_bit(tmp_path, pairs, letters):
    learner = Learner(pairs(0.5), PLAN)
    list(train(learner, letters, device="cpu"))
    tensors = {name: value.clone() for name, value in learner.tensors().items()}
    with learner.result() as network:
        averages = {name: value.detach().clone() for name, value in network.named_parameters()}
    path = checkpoint.write(
        tmp_path,
        3,
        tensors,
        lambda path: safetensors.torch.save_file(averages, path),
        {"data": "x"},
        keep=1,
    )
    found = checkpoint.newest(tmp_path)
    assert (found.path, found.step, found.notes) == (path, 3, {"data": "x"})
    again = checkpoint.read(found)
    assert (
        again.keys()
        == tensors.keys()
        == {
            f"{kind}.{name}"
            for kind in ("network", "average", "exp_avg", "exp_avg_sq")
            for name in ("table", "shift")
        }
    )
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    assert sorted(path.name for path in path.iterdir()) == [
        "manifest.json",
        "model.safetensors",
        "training.safetensors",
    ]


def test_the_newest_few_are_kept_and_the_best_of_all(tmp_path):
    for step, measure in enumerate([3.0, 1.0, 2.0, None, 1.5, 1.6], start=1):
        write(tmp_path, step, measure, keep=2)
    assert present(tmp_path) == ["step-00000002", "step-00000005", "step-00000006"]


def test_without_measures_only_the_newest_are_kept(tmp_path):
    for step in range(1, 5):
        write(tmp_path, step, keep=1)
    assert present(tmp_path) == ["step-00000004"]


def test_a_measure_that_is_not_a_number_is_never_the_best(tmp_path):
    for step, measure in enumerate([math.nan, 2.0, math.nan, 3.0], start=1):
        write(tmp_path, step, measure, keep=1)
    assert present(tmp_path) == ["step-00000002", "step-00000004"]


def test_steps_are_ordered_as_numbers_however_many_digits_they_have(tmp_path):
    for step in (99_999_999, 100_000_000):
        write(tmp_path, step, keep=5)
    assert checkpoint.newest(tmp_path).step == 100_000_000


def test_what_a_killed_run_left_half_written_goes_with_the_next_checkpoint(tmp_path):
    write(tmp_path, 1)
    left = tmp_path / checkpoint.FOLDER / ".step-00000002.0123abcd.partial"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert checkpoint.newest(tmp_path).step == 1
    write(tmp_path, 2)
    assert present(tmp_path) == ["step-00000001", "step-00000002"]


def test_a_checkpoint_that_cannot_be_written_leaves_those_before(tmp_path):
    write(tmp_path, 1)

    def fail(path):
        path.write_bytes(b"half")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        checkpoint.write(tmp_path, 2, {"network.a": torch.zeros(1)}, fail, {}, keep=2)
    assert checkpoint.newest(tmp_path).step == 1


def test_there_is_none_in_a_folder_without_any(tmp_path):
    assert checkpoint.newest(tmp_path) is None
    (tmp_path / checkpoint.FOLDER).mkdir()
    assert checkpoint.newest(tmp_path) is None


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def said(**changes):
    def change(path: Path) -> None:
        manifest = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps({**manifest, **changes}))

    return change


def emptied(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def a_file_in_its_place(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("not a folder")


DAMAGE = {
    "a bit of the weights flipped": lambda path: flipped(path / "model.safetensors"),
    "a bit of the memory flipped": lambda path: flipped(path / "training.safetensors"),
    "weights cut short": lambda path: cut(path / "model.safetensors"),
    "memory cut short": lambda path: cut(path / "training.safetensors"),
    "weights missing": lambda path: (path / "model.safetensors").unlink(),
    "manifest missing": lambda path: (path / "manifest.json").unlink(),
    "manifest cut short": lambda path: cut(path / "manifest.json") or cut(path / "manifest.json"),
    "manifest not JSON": lambda path: (path / "manifest.json").write_text("step: 3"),
    "manifest not text": lambda path: (path / "manifest.json").write_bytes(b"\xff\xfe"),
    "manifest a list": lambda path: (path / "manifest.json").write_text("[1]"),
    "another schema": said(schema=2),
    "no files in the manifest": said(files={}),
    "another step in the manifest": said(step=7),
    "a note of the manifest changed": said(notes={"measure": 0.1, "said": "so"}),
    "notes of another kind": said(notes=3),
    "an empty folder": emptied,
    "a file": a_file_in_its_place,
}

damaged = pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)


@damaged
def test_a_damaged_one_is_skipped_with_a_warning_that_names_it(tmp_path, damage):
    write(tmp_path, 1, value=1.0)
    damage(write(tmp_path, 2, value=2.0))
    with pytest.warns(ZooWarning, match=r"step-00000002 is damaged and skipped: ") as caught:
        found = checkpoint.newest(tmp_path)
    assert len(caught) == 1
    assert found.step == 1
    assert checkpoint.read(found)["network.a"].tolist() == [1.0, 1.0]


@damaged
def test_a_damaged_one_is_written_anew_when_its_step_is_made_again(tmp_path, damage):
    write(tmp_path, 1, value=1.0)
    damage(write(tmp_path, 2, value=2.0))
    write(tmp_path, 2, value=3.0)
    found = checkpoint.newest(tmp_path)
    assert found.step == 2
    assert checkpoint.read(found)["network.a"].tolist() == [3.0, 3.0]


def test_what_somebody_else_put_beside_checkpoints_stays(tmp_path):
    for step in (1, 2):
        write(tmp_path, step, keep=1)
        (tmp_path / checkpoint.FOLDER / "step-of-mine").mkdir(exist_ok=True)
    assert checkpoint.newest(tmp_path).step == 2
    assert present(tmp_path) == ["step-00000002", "step-of-mine"]


def test_damaged_ones_of_later_steps_give_way_to_one_that_holds(tmp_path):
    for step in (2, 4, 6):
        write(tmp_path, step, keep=3)
    for step in (4, 6):
        cut(tmp_path / checkpoint.FOLDER / f"step-{step:08d}" / "model.safetensors")
    write(tmp_path, 3, keep=1)
    assert present(tmp_path) == ["step-00000003"]
    assert checkpoint.newest(tmp_path).step == 3


def test_one_that_holds_is_not_given_up_to_write_it_again(tmp_path, monkeypatch):
    path = write(tmp_path, 1)

    def never(path):
        raise AssertionError(f"{path} was given up")

    monkeypatch.setattr(checkpoint, "_discard", never)
    assert write(tmp_path, 1) == path
    assert checkpoint.newest(tmp_path).path == path


def test_with_all_damaged_there_is_none(tmp_path):
    for step in (1, 2):
        cut(write(tmp_path, step) / "model.safetensors")
    with pytest.warns(ZooWarning, match="is damaged and skipped") as caught:
        assert checkpoint.newest(tmp_path) is None
    assert [re.search(r"step-\d+", str(warning.message))[0] for warning in caught] == [
        "step-00000002",
        "step-00000001",
    ]


def test_memory_of_another_network_or_plan_is_refused_before_anything_changes(pairs, letters):
    learner = Learner(pairs(), PLAN)
    list(train(learner, letters, device="cpu"))
    stored = learner.tensors()
    without_average = Learner(pairs(), Plan())
    with pytest.raises(TrainingError, match=r"of another network or plan: average\.\w+ does not fit"):
        without_average.restore(stored, 3)
    other = Learner(pairs(), PLAN)
    before = {name: value.clone() for name, value in other.tensors().items()}
    with pytest.raises(TrainingError, match=r"of another network or plan: network\.shift does not fit"):
        other.restore({**stored, "network.shift": torch.zeros(3)}, 3)
    with pytest.raises(TrainingError, match=r"of another network or plan: network\.table does not fit"):
        other.restore({name: value for name, value in stored.items() if name != "network.table"}, 3)
    assert other.step == 0
    assert all(torch.equal(value, before[name]) for name, value in other.tensors().items())


def test_nothing_in_training_can_unpickle():
    """A pickle runs whatever code it likes, so none is read: checkpoints are safetensors and JSON."""
    sources = sorted(Path(zoo.training.__file__).parent.glob("*.py"))
    assert len(sources) > 5
    found = [
        f"{path.name}: {line.strip()}"
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"torch\.load\b|pickle|joblib|\bshelve\b|\bmarshal\b|load_state\(|np\.load\b", line)
    ]
    assert found == []
