"""A run folder to push, and a loopback Hub to push it to with a token."""

from __future__ import annotations

import json
import shutil
import time
import types
from pathlib import Path

import pytest

from hub.fixtures import hub, waits
from hub.loopback import LoopbackHub

__all__ = ["hub", "waits"]

TOKEN = "hf_writing"
LICENCES = {"weights": "MIT", "data": "CC0-1.0", "code": "Apache-2.0"}

RECIPE = """\
schema: 1
start: gpt2
config: {layers: 2, width: 16}
data:
  source: /home/ada/secret project/works
  held_out_share: 0.1
plan:
  steps: 40
  seed: 1616
"""


def make_run(model: Path, folder: Path) -> Path:
    """A folder as `zoo train` leaves it, with the weights and the tokenizer of `model`."""
    shutil.copytree(model, folder)
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    steps = [{"step": step, "loss": 5 / step, "seconds": step / 10} for step in range(1, 41)]
    for step, bits in ((20, 2.5), (40, 2.25)):
        steps[step - 1] |= {"held_out_bits_per_byte": bits, "held_out_bytes": 1234}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    (folder / "checkpoint.safetensors").write_bytes(b"not to be pushed")
    (folder / "run.json").write_text('{"host": "adas-laptop"}')
    return folder


@pytest.fixture
def run(tiny_gpt2: Path, tmp_path: Path) -> Path:
    return make_run(tiny_gpt2, tmp_path / "verse")


@pytest.fixture
def writable(hub: LoopbackHub, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> LoopbackHub:
    """The Hub, with a token to write with; nobody waits."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    clock = types.SimpleNamespace(**{**vars(time), "sleep": lambda _: None})
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
    return hub
