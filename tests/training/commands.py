"""The smallest training from the command line, in this process and in processes of its own that can be killed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TINY = [
    *("--device", "cpu", "--quiet"),
    *("--set", "config.context=16", "--set", "config.layers=1", "--set", "config.width=16"),
    *("--set", "config.heads=2", "--set", "config.dropout=0.1", "--set", "data.vocabulary=300"),
    *("--set", "plan.warmup=2", "--set", "plan.average=0.9", "--set", "plan.learning_rate=0.01"),
]


def new(works: Path, run: Path, *more: str) -> list[str]:
    """Words that begin a run."""
    return ["train", "gpt2", "--data", str(works), "-o", str(run), *TINY, *more]


def again(run: Path, *more: str) -> list[str]:
    """Words that go on with it."""
    return ["train", "-o", str(run), "--resume", "--device", "cpu", *more]


def start(words: list[str], **given) -> subprocess.Popen[str]:
    """`python -m zoo_cli WORDS`, whose output is kept."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE")}
    return subprocess.Popen(
        given.pop("command", [sys.executable, "-m", "zoo_cli", *words]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
        **given,
    )


def done(words: list[str], **given) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    process = start(words, **given)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def killed_when(process: subprocess.Popen[str], due: Callable[[], bool]) -> None:
    """Kill a process, which cannot do anything about it, as soon as something is so."""
    while not due():
        if process.poll() is not None:
            raise AssertionError(f"it ended before it was killed: {process.communicate()}")
        time.sleep(0.0002)
    process.kill()
    process.communicate()
    assert process.returncode == -9


def steps_of(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def sha256(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def last_checkpoint(run: Path) -> dict[str, bytes]:
    """The tensors' files of the newest checkpoint."""
    newest = max((run / "checkpoints").glob("step-*"))
    return {path.name: path.read_bytes() for path in newest.glob("*.safetensors")}


def metrics(run: Path) -> list[dict[str, float]]:
    """What does not depend on the clock of each line of metrics.jsonl."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {
            name: value
            for name, value in line.items()
            if name != "seconds" and not name.endswith("_per_second")
        }
        for line in lines
    ]
