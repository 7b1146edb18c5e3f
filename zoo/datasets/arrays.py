"""Data in numpy arrays, in memory or mapped from a file: rows by number, gathering, and the held-out loss."""

from __future__ import annotations

import functools
import hashlib
import math
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo import paths, settings
from zoo.errors import DiskSpaceError
from zoo.family import Family
from zoo.noise import Noise
from zoo.os_words import reason

MOST_IN_MEMORY = 2**29
"""Bytes of one array that are gathered in memory; more of them go to a file."""

_HASHED_AT_ONCE = 2**22  # bytes
_VALUES_A_PART = 2**18  # of held-out rows measured at once
_MOST_ROWS_A_PART = 256


@dataclass(frozen=True, eq=False)
class Selection:
    """Some rows of arrays that lie side by side.

    arrays: each (N, ...); row i of the data is what all of them have at i. chosen: (n,) int64, which rows are meant.
    prepare: the chosen rows of each array, (B, ...), to what `network.loss` takes: a tensor, a tuple or a dict.
    """

    arrays: tuple[np.ndarray, ...]
    chosen: np.ndarray
    prepare: Callable[..., Any]

    def __len__(self) -> int:
        return len(self.chosen)

    def batch(self, at: np.ndarray) -> Any:
        """The prepared rows at these places among the chosen, each from 0 to n - 1."""
        wanted = self.chosen[at]
        return self.prepare(*(array[wanted] for array in self.arrays))


@dataclass(frozen=True, eq=False)
class ArrayRows:
    """`zoo.datasets.material.Rows` of a selection: each epoch goes through it once, in an order of the seed's."""

    selection: Selection
    unit: str
    units: int
    seed: int

    @property
    def epoch(self) -> int:
        return len(self.selection)

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of the selected rows of every array, with dtypes and shapes, the same on every machine."""
        digest = hashlib.sha256()
        for array in self.selection.arrays:
            stored = array.dtype.newbyteorder("<")
            digest.update(f"{stored.str} {(self.epoch, *array.shape[1:])}\n".encode())
            rows = max(1, _HASHED_AT_ONCE // max(1, _row_bytes(array)))
            for at in range(0, self.epoch, rows):
                part = array[self.selection.chosen[at : at + rows]]
                digest.update(part.astype(stored, copy=False).tobytes())
        return digest.hexdigest()

    def rows(self, first: int, count: int) -> Any:
        parts, row = [], first
        while row < first + count:
            epoch, at = divmod(row, self.epoch)
            taken = min(self.epoch - at, first + count - row)
            parts.append(_order(self.seed, epoch, self.epoch)[at : at + taken])
            row += taken
        return self.selection.batch(np.concatenate(parts) if parts else np.zeros(0, np.int64))


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, rows: int) -> np.ndarray:
    """The order of an epoch's rows, (rows,) int64."""
    return Noise(seed, epoch).rows(1, "batches").uniform(rows)[0].numpy().argsort(kind="stable")


class Pile:
    """Rows of one shape, gathered part by part into one array: in memory while they are few, else in a file.

    The file has no name and ends with the array; it lies where the zoo keeps its own files.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, *, in_memory: int = MOST_IN_MEMORY) -> None:
        self._shape, self._dtype, self._in_memory = shape, np.dtype(dtype), in_memory
        self._parts: list[np.ndarray] = []
        self._bytes = 0
        self._file: Any = None  # of tempfile.TemporaryFile, once there are too many bytes for the memory
        self.rows = 0

    def add(self, rows: np.ndarray) -> None:
        """Append rows, (n, *shape). Raises DiskSpaceError when the disk has no room for them."""
        rows = np.array(rows, self._dtype, order="C").reshape(
            -1, *self._shape
        )  # a copy: the caller may reuse his
        self.rows += len(rows)
        self._bytes += rows.nbytes
        self._parts.append(rows)
        if self._bytes > self._in_memory:
            self._spill()

    def array(self) -> np.ndarray:
        """All rows, (N, *shape). Nothing may be added afterwards."""
        if self._file is not None:
            mapped = np.memmap(self._file, self._dtype, "r", shape=(self.rows, *self._shape))
            self._file.close()  # the mapping keeps the file
            return mapped
        return np.concatenate([np.empty((0, *self._shape), self._dtype), *self._parts])

    def _spill(self) -> None:
        try:
            if self._file is None:
                paths.home().mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=paths.home())  # noqa: SIM115 - closed below
                weakref.finalize(self, self._file.close)
            for part in self._parts:
                self._file.write(part.data)
            self._file.flush()
        except OSError as error:
            raise DiskSpaceError(
                f"{paths.home()} has no room for {self._bytes:,} bytes of decoded data: {reason(error)}",
                hint="ZOO_HOME names another folder for the zoo's own files",
            ) from None
        self._parts.clear()


def held_out_loss(network: nn.Module, held_out: Selection, seed: int) -> dict[str, float]:
    """The network's mean loss over held-out rows, one number for each of its turns; empty when there are none.

    network: has `loss(batch, turn, noise)`, which gives the mean over a batch, or a mapping with it under "loss".
    The main turn's is named held_out_loss, another's held_out_TURN. Row i draws from Noise(seed, i).
    """
    if not len(held_out):
        return {}
    return {
        "held_out_loss" if turn == "main" else f"held_out_{turn}": _mean_loss(network, turn, held_out, seed)
        for turn in getattr(network, "turns", ("main",))
    }


def _mean_loss(network: Any, turn: str, held_out: Selection, seed: int) -> float:
    values = sum(math.prod(array.shape[1:]) for array in held_out.arrays)
    rows = min(_MOST_ROWS_A_PART, max(1, _VALUES_A_PART // max(1, values)))
    total = 0.0
    # a critic's loss may hold the gradient of its output, as in WGAN-GP, so autograd is on whatever it is outside
    with evaluating(network), torch.inference_mode(mode=False):
        for first in range(0, len(held_out), rows):
            at = np.arange(first, min(first + rows, len(held_out)))
            loss = network.loss(moved(held_out.batch(at), device_of(network)), turn, Noise(seed, first))
            loss = loss["loss"] if isinstance(loss, Mapping) else loss
            total += float(loss.detach()) * len(at)
    return total / len(held_out)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, and afterwards as it was."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def device_of(network: nn.Module) -> torch.device:
    """Where the network's weights are; the CPU for one without any."""
    weight = next(network.parameters(), None)
    return torch.device("cpu") if weight is None else weight.device


def moved(batch: Any, device: torch.device) -> Any:
    """A batch as rows give it, a tensor or a tuple or dict of them, on a device."""
    if isinstance(batch, Mapping):
        return {name: moved(part, device) for name, part in batch.items()}
    if isinstance(batch, tuple):
        return tuple(moved(part, device) for part in batch)
    return batch.to(device)


def config_settings(family: Family, found: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings found in data that the family's config has a field for."""
    known = {field.name for field in settings.fields(family.resolve("config"))}
    return {name: value for name, value in found.items() if name in known}


def _row_bytes(array: np.ndarray) -> int:
    return math.prod(array.shape[1:]) * array.dtype.itemsize
