"""Samples of a network that is in training, drawn as its family's controls stand, and files written whole."""

from __future__ import annotations

import collections
import os
import secrets
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo import settings
from zoo.datasets.arrays import evaluating
from zoo.errors import TrainingError
from zoo.family import Family
from zoo.noise import Noise
from zoo.os_words import naming


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
        with naming(path), aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return path


def png(pixels: np.ndarray) -> bytes:
    """Pixels (H, W, C) uint8, C = 1 for gray or 3 for RGB, as a PNG file; no package is needed for it."""
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    lines = pixels.reshape(height, width * channels)
    unfiltered = np.concatenate(
        [np.zeros((height, 1), np.uint8), lines], axis=1
    )  # each line begins with its filter
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(unfiltered.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
