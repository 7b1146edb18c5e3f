"""Write safetensors files: atomically, the same bytes for the same tensors, one tensor in memory at a time.

A file appears under its name only when all of it is on the disk. Wider dtypes come first, so that every tensor is
aligned to its elements; within a dtype the order is that of the names.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from zoo import settings
from zoo.errors import DiskSpaceError, TensorsError
from zoo.weights.load import DTYPES
from zoo.weights.tensors import ZooMetadata, name_problem, zoo_metadata_text

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Pending:
    """A tensor to be written: its dtype and shape are known before `make` computes it."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], torch.Tensor]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def save(
    network: nn.Module,
    path: Path,
    *,
    family: str,
    config: Any,
    plugin: str = "",
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """A module's tensors with its family and config in the header, so that the zoo can load the file alone.

    config: a settings dataclass or plain data. plugin: the distribution that brings the family.
    dtype: of the stored floating tensors, such as torch.float16; None keeps each as it is.
    A parameter with two names is stored once, under the first. Raises DiskSpaceError before anything is written.
    """
    plain = settings.plain(config) if is_dataclass(config) else dict(config)
    header = {**(metadata or {}), **zoo_metadata_text(ZooMetadata(family, plugin, plain))}
    tensors: dict[str, Pending] = {}
    seen: set[int] = set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = pending(tensor.detach(), dtype)
    write(path, tensors, header)


def pending(tensor: torch.Tensor, dtype: torch.dtype | None = None) -> Pending:
    """A tensor as it is, or a floating one as another floating dtype."""
    kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    return Pending(kind, tuple(tensor.shape), lambda: tensor.to(device="cpu", dtype=kind))


def write(path: Path, tensors: Mapping[str, Pending], metadata: Mapping[str, str]) -> None:
    """A safetensors file of these tensors. Raises TensorsError for a name or dtype the zoo would not read again."""
    for name, tensor in tensors.items():
        if problem := name_problem(name):
            raise TensorsError(f"{path}: a tensor's name {problem}: {name[:80]!a}")
        if tensor.dtype not in _NAMES:
            raise TensorsError(f"{path}: tensor {name} is {tensor.dtype}, which is not stored as safetensors")
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header = _header(order, tensors, metadata)
    _require_space(path, len(header) + sum(tensor.bytes for tensor in tensors.values()))
    with _replacing(path) as file:
        file.write(header)
        for name in order:
            values = tensors[name].make().contiguous()
            file.write(values.flatten().view(torch.uint8).numpy().data)


def _header(order: list[str], tensors: Mapping[str, Pending], metadata: Mapping[str, str]) -> bytes:
    """The file's first bytes: the length, and the JSON padded with spaces to a multiple of 8."""
    said: dict[str, Any] = {"__metadata__": dict(sorted({"format": "pt", **metadata}.items()))}
    at = 0
    for name in order:
        tensor = tensors[name]
        said[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.bytes],
        }
        at += tensor.bytes
    raw = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw


def _require_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise DiskSpaceError(f"{path} will have {needed} bytes, but the disk has {free} free")


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path` that takes its name once written and flushed, and is removed if that fails."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with aside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # a folder cannot be flushed everywhere
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
