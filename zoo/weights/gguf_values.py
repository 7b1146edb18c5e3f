"""The tensors of a GGUF file as torch tensors in the Hub's arrangement, dequantised one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.errors import MissingDependencyError, WeightsError
from zoo.weights.gguf_header import GgufHeader, GgufTensor
from zoo.weights.placement import GgufPlacement
from zoo.weights.save import Pending

PLAIN = {0: torch.float32, 1: torch.float16, 28: torch.float64, 30: torch.bfloat16}
"""The ggml types that are not quantised, which are kept as they are."""

DEQUANTISED = torch.float16
"""What quantised tensors become: their scales are stored in it."""


def check_values(path: Path, header: GgufHeader) -> bool:
    """Every tensor is of a known type and lies in the file, none over another. True when some are quantised.

    Raises WeightsError otherwise, MissingDependencyError when the package that knows the quantised types is absent.
    """
    size = path.stat().st_size
    reached, before = 0, ""
    for name, tensor in sorted(header.tensors.items(), key=lambda item: item[1].offset):
        if tensor.offset < reached:
            raise WeightsError(f"{path}: tensors {before} and {name} overlap")
        reached, before = tensor.offset + _stored_bytes(path, name, tensor), name
    if reached > size:
        raise WeightsError(f"{path}: truncated: its tensors need {reached} bytes, but it has {size}")
    return any(tensor.kind not in PLAIN for tensor in header.tensors.values())


def pending_value(
    path: Path, name: str, tensor: GgufTensor, placement: GgufPlacement, dtype: torch.dtype | None
) -> Pending:
    """A tensor to be written as the Hub would have it. dtype: as asked, or None to keep what is stored."""
    heads = placement.rotary_heads
    if heads and (not tensor.shape or tensor.shape[0] % (2 * heads)):
        raise WeightsError(f"{path}: {name} has shape {list(tensor.shape)}, which {heads} heads do not share")
    kind = dtype or PLAIN.get(tensor.kind, DEQUANTISED)
    shape = tensor.shape[::-1] if placement.transpose else tensor.shape

    def make() -> torch.Tensor:
        value = _read(path, name, tensor).to(kind)
        if heads:
            value = _halves_apart(value, heads)
        return value.permute(*reversed(range(value.dim()))) if placement.transpose else value

    return Pending(kind, shape, make)


def _halves_apart(value: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in which each head's pairs are neighbours -> rows in which pair i is rows i and i + half of the head."""
    paired = value.reshape(heads, -1, 2, *value.shape[1:])
    return paired.transpose(1, 2).reshape(value.shape)


def _read(path: Path, name: str, tensor: GgufTensor) -> torch.Tensor:
    """The values, float32 where they were quantised. Shape: the tensor's."""
    stored = _stored_bytes(path, name, tensor)
    raw = np.memmap(path, dtype=np.uint8, mode="c", offset=tensor.offset, shape=(stored,))
    if tensor.kind in PLAIN:
        return torch.from_numpy(raw).view(PLAIN[tensor.kind]).view(tensor.shape)
    dequantise, _, _ = _quantised(path, name, tensor.kind)
    rows = raw.reshape(math.prod(tensor.shape[:-1]), -1)
    return torch.from_numpy(dequantise(rows)).view(tensor.shape)


def _stored_bytes(path: Path, name: str, tensor: GgufTensor) -> int:
    if tensor.kind in PLAIN:
        return math.prod(tensor.shape) * PLAIN[tensor.kind].itemsize
    _, elements, size = _quantised(path, name, tensor.kind)
    if not tensor.shape or tensor.shape[-1] % elements:
        raise WeightsError(
            f"{path}: {name} has shape {list(tensor.shape)}, which blocks of {elements} do not fill"
        )
    return math.prod(tensor.shape) // elements * size


def _quantised(path: Path, name: str, kind: int) -> tuple[Callable[[Any], Any], int, int]:
    """Of a quantised type: the function from rows of bytes to float32, the elements and the bytes of a block."""
    try:
        import gguf
    except ImportError:
        raise MissingDependencyError(
            f"{path}: {name} is quantised, and the package gguf that can read it is not installed",
            hint="pip install 'zoo-core[gguf]'",
        ) from None
    try:
        known = gguf.GGMLQuantizationType(kind)
        elements, size = gguf.GGML_QUANT_SIZES[known]
        gguf.dequantize(np.zeros((1, size), np.uint8), known)
    except (ValueError, KeyError, NotImplementedError):
        raise WeightsError(
            f"{path}: {name} is of the ggml type {kind}, which cannot be dequantised"
        ) from None
    return lambda rows: gguf.dequantize(rows, known), elements, size
