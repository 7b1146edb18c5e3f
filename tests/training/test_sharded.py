"""Weights in shards (FSDP version 2): the same losses, whole checkpoints, exact resume, with two real processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("sharded_command.py")
TWO = ("--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no")
TWO_ALONE = (*TWO, "--dynamo_backend", "no", "--main_process_port", "0")
SMALL = ("config.layers=2", "config.width=16", "config.heads=2", "config.context=16", "data.vocabulary=260")
PLAN = ("plan.average=0.9", "plan.checkpoint_every=5", "plan.evaluate_every=10", "plan.warmup=2")


def zoo(*words: str, launched: bool) -> None:
    launcher = (
        ["-m", "accelerate.commands.launch", *TWO_ALONE, str(SCRIPT)] if launched else ["-m", "zoo_cli"]
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, *words, "--device", "cpu"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


def begin(works: Path, run: Path, *, launched: bool) -> None:
    changes = [word for change in (*SMALL, *PLAN) for word in ("--set", change)]
    start = ("train", "gpt2", "--data", str(works), "-o", str(run), "--steps", "20", "--batch-size", "4")
    zoo(*start, *changes, launched=launched)


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_shards_make_the_losses_of_one_process_and_resume_to_the_same_bits(works: Path, tmp_path: Path):
    alone, shared, resumed, gathered = (
        tmp_path / name for name in ("alone", "shared", "resumed", "gathered")
    )
    begin(works, alone, launched=False)
    begin(works, shared, launched=True)
    for copy, launched in ((resumed, True), (gathered, False)):
        shutil.copytree(shared, copy)
        shutil.rmtree(copy / "checkpoints" / "step-00000020")
        (copy / "model.safetensors").unlink()
        zoo("train", "--resume", "-o", str(copy), launched=launched)

    assert losses(shared) == pytest.approx(losses(alone), rel=1e-5)
    assert (resumed / "model.safetensors").read_bytes() == (shared / "model.safetensors").read_bytes()
    expected = load_file(alone / "model.safetensors")
    for name, value in load_file(gathered / "model.safetensors").items():  # shards, then one process
        assert value.sub(expected[name]).abs().max() < 1e-5
