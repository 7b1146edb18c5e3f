"""A disk that is full: what is left is whole, and it is said how to go on."""

from __future__ import annotations

import contextlib
import json
import resource

import pytest
import torch

from training import commands
from zoo.training import checkpoint, outputs
from zoo_cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")


@contextlib.contextmanager
def no_file_larger_than(size: int):
    """The kernel refuses to write more, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write(run, step, size):
    tensors = {"network.a": torch.zeros(4), "exp_avg.a": torch.zeros(size)}
    return checkpoint.write(
        run, step, tensors, lambda path: path.write_bytes(b"weights"), {"data": "x"}, keep=2
    )


def test_no_part_of_a_checkpoint_stays(tmp_path):
    write(tmp_path, 1, 4)
    with no_file_larger_than(40_000), pytest.raises(OSError, match="File too large"):
        write(tmp_path, 2, 20_000)
    assert [path.name for path in (tmp_path / checkpoint.FOLDER).iterdir()] == ["step-00000001"]


def test_the_run_says_how_to_go_on_and_does_to_the_same_weights(works, tmp_path, capsys):
    run, whole = tmp_path / "run", tmp_path / "whole"
    words = ["--steps", "6", "--batch-size", "2", "--set", "plan.checkpoint_every=3"]
    assert main(commands.new(works, whole, *words)) == 0
    limit = (whole / "checkpoints" / "step-00000006" / "training.safetensors").stat().st_size - 1
    capsys.readouterr()
    with no_file_larger_than(limit):
        assert main(commands.new(works, run, *words)) == 1
    said = capsys.readouterr().err
    assert said == (
        "error: step 3: the disk is full: File too large\n"
        f"hint: make room, then go on with: zoo train --resume -o {run}\n"
    )
    assert list((run / "checkpoints").iterdir()) == []
    assert main(commands.again(run)) == 0
    assert commands.last_checkpoint(run) == commands.last_checkpoint(whole)
    assert commands.metrics(run) == commands.metrics(whole)


def test_a_run_that_finds_no_room_to_begin_leaves_nothing(works, tmp_path, capsys):
    with no_file_larger_than(1_000):  # the tokenizer is larger
        assert main(commands.new(works, tmp_path / "run", "--steps", "1")) == 1
    assert "make room and begin again; nothing was changed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_metrics_that_cannot_be_copied_stay_as_they_were(tmp_path):
    path = tmp_path / outputs.METRICS
    text = "".join(json.dumps({"step": step, "loss": "x" * 1000}) + "\n" for step in range(1, 20))
    path.write_text(text)
    with no_file_larger_than(5_000), pytest.raises(OSError, match="File too large"):
        outputs.continued(path, 15)
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_metrics_are_cut_by_their_steps_and_not_by_their_number(tmp_path):
    path = tmp_path / outputs.METRICS
    kept = [f'{{"step": {step}, "loss": 1.5}}\n'.encode() for step in (1, 2, 5, 6)]  # 3 and 4 were lost
    broken = [b"\x00" * 40 + b"\n", b"\xff\xfe\n", b"[1]\n", b'{"loss": 2}\n', b'{"step": "3"}\n']
    later = [b'{"step": 7, "loss": 1.0}\n', b'{"step": 8, "lo']
    path.write_bytes(b"".join([*kept[:2], *broken, *kept[2:], *later]))
    assert outputs.continued(path, 6) == path
    assert path.read_bytes() == b"".join(kept)
    assert [said["step"] for _, said in outputs.lines(path, 5)] == [1, 2, 5]
    outputs.continued(path, 0)
    assert path.read_bytes() == b""


def test_a_last_line_that_lacks_only_its_end_gets_it(tmp_path):
    path = tmp_path / outputs.METRICS
    path.write_bytes(b'{"step": 1}\n{"step": 2}')
    outputs.continued(path, 2)
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'
