"""Samples of a network that is in training, drawn as its family's controls stand, and files written whole."""

from __future__ import annotations

import collections
import os
import secrets
from pathlib import Path
from typing import Any

import torch

from zoo import settings
from zoo.datasets.arrays import evaluating
from zoo.errors import TrainingError
from zoo.family import Family
from zoo.noise import Noise


def last_sample(network: Any, family: Family, count: int, seed: int) -> Any:
    """The last value that `network.sample` yields for `count` samples, with the family's controls as they are unset.

    Raises TrainingError when nothing is yielded.
    """
    controls = settings.make(family.resolve("controls"), {}, what=f"controls of {family.name}")
    with evaluating(network), torch.no_grad():
        last = collections.deque(network.sample(count, Noise(seed), controls), maxlen=1)
    if not last:
        raise TrainingError(f"{family.name}: sampling yielded nothing to preview")
    return last[0]


def write(path: Path, content: bytes) -> Path:
    """Write a file aside, flush it and give it its name, so that it is never seen half-written."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return path
