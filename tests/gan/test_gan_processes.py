"""Two real processes over gloo take the steps of one, with several objectives and a gradient of a gradient."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gan.in_processes import losses

pytestmark = pytest.mark.usefixtures("one_thread")

TESTS = Path(__file__).parents[1]


def test_two_processes_have_the_losses_of_one(tmp_path):
    file = tmp_path / "losses.json"
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "gan.in_processes", str(file)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(TESTS),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    shared = json.loads(file.read_text())
    alone = losses()
    for name, steps in alone.items():
        for step, other in zip(steps, shared[name], strict=True):
            assert other == pytest.approx(step, rel=1e-5, abs=1e-6)
