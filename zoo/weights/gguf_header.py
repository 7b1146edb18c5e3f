"""The head of a GGUF file: its metadata and where each tensor lies, read with bounds. Imports no torch.

The `gguf` package's own reader trusts the counts in the file: an array said to have 2**60 elements in a file of 100
bytes keeps it busy for ever. Here every count is held against a limit and against the bytes that are there.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zoo.errors import WeightsError
from zoo.os_words import reason
from zoo.weights.tensors import MOST_TENSORS, name_problem

MOST_HEAD_BYTES = 256_000_000
MOST_PAIRS = 10_000
MOST_ELEMENTS = 2_000_000
"""Of one array; the largest vocabularies have a quarter of a million tokens, and as many or twice as many merges."""

_VERSIONS = (2, 3)
_MOST_DIMENSIONS = 4
_MOST_IN_A_DIMENSION = 1 << 32
_MOST_ALIGNMENT = 1 << 20
_STRING, _ARRAY, _BOOL, _FLOAT32 = 8, 9, 7, 6
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True)
class GgufTensor:
    """kind: the number of its ggml type. shape: rows first, as torch counts. offset: from the start of the file."""

    kind: int
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class GgufHeader:
    """metadata: by key, such as "general.architecture"; arrays are lists. tensors: by name, in the file's order."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_gguf(path: Path) -> GgufHeader:
    """The head of a GGUF file. Raises WeightsError, one line that starts with the file, for a malformed one."""
    try:
        with path.open("rb") as file:
            return _read(_Bytes(file))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {reason(error)}") from None
    except ValueError as error:
        raise WeightsError(f"{path}: not a sound GGUF file: {error}") from None


class _Bytes:
    """The file's bytes in order. Raises ValueError at its end and at the limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.at = 0

    def take(self, count: int) -> bytes:
        if count > MOST_HEAD_BYTES - self.at:
            raise ValueError(f"its head is larger than {MOST_HEAD_BYTES} bytes")
        taken = self._file.read(count)
        self.at += len(taken)
        if len(taken) < count:
            raise ValueError(f"truncated: {count} bytes expected at its end, {len(taken)} are there")
        return taken

    def numbers(self, code: str, count: int) -> tuple[Any, ...]:
        form = struct.Struct(f"<{count}{code}")
        return form.unpack(self.take(form.size))

    def number(self, code: str) -> Any:
        return self.numbers(code, 1)[0]

    def text(self) -> str:
        try:
            return self.take(self.number("Q")).decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("it has text that is not UTF-8") from None


def _read(source: _Bytes) -> GgufHeader:
    if source.take(4) != b"GGUF":
        raise ValueError("it does not start with GGUF")
    version = source.number("I")
    if version not in _VERSIONS:
        raise ValueError(f"it has version {version}, but only {' and '.join(map(str, _VERSIONS))} are read")
    tensors_said, pairs_said = source.number("Q"), source.number("Q")
    if tensors_said > MOST_TENSORS or pairs_said > MOST_PAIRS:
        raise ValueError(
            f"it says {tensors_said} tensors and {pairs_said} settings, "
            f"but at most {MOST_TENSORS} and {MOST_PAIRS} are allowed"
        )
    metadata: dict[str, Any] = {}
    for _ in range(pairs_said):
        key = _name(source, metadata)
        metadata[key] = _value(source, source.number("I"))
    found: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(tensors_said):
        name = _name(source, found)
        dimensions = source.number("I")
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(
                f"{name} has {dimensions} dimensions, but at most {_MOST_DIMENSIONS} are allowed"
            )
        shape = source.numbers("Q", dimensions)[::-1]
        if not all(0 < size <= _MOST_IN_A_DIMENSION for size in shape):
            raise ValueError(
                f"{name} has shape {list(shape)}, but each size must be 1 to {_MOST_IN_A_DIMENSION}"
            )
        found[name] = (shape, *source.numbers("I", 1), *source.numbers("Q", 1))
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= _MOST_ALIGNMENT:
        raise ValueError(f"its alignment is {str(alignment)[:40]}, but must be 1 to {_MOST_ALIGNMENT}")
    data = source.at + -source.at % alignment
    tensors = {name: GgufTensor(kind, shape, data + offset) for name, (shape, kind, offset) in found.items()}
    return GgufHeader(metadata, tensors)


def _name(source: _Bytes, taken: dict[str, Any]) -> str:
    name = source.text()
    if problem := name_problem(name):
        raise ValueError(f"a name {problem}: {name[:80]!a}")
    if name in taken:
        raise ValueError(f"the name {name} stands twice")
    return name


def _value(source: _Bytes, kind: int) -> Any:
    if kind == _STRING:
        return source.text()
    if kind != _ARRAY:
        [value] = _scalars(source, kind, 1)
        return value
    kind, count = source.number("I"), source.number("Q")
    if count > MOST_ELEMENTS:
        raise ValueError(f"it has an array of {count} elements, but at most {MOST_ELEMENTS} are allowed")
    return [source.text() for _ in range(count)] if kind == _STRING else _scalars(source, kind, count)


def _scalars(source: _Bytes, kind: int, count: int) -> list[Any]:
    if kind not in _SCALARS:
        raise ValueError(f"it has a value of type {kind}, which is not known or an array in an array")
    values = source.numbers(_SCALARS[kind], count)
    if kind == _BOOL:
        return [bool(value) for value in values]
    if kind == _FLOAT32:  # the shortest decimal that is this float32: 1e-05, not 9.999999747378752e-06
        return [float(str(value)) for value in np.array(values, dtype=np.float32)]
    return list(values)
