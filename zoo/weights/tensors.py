"""The header of a safetensors file, read and checked before any library sees the file. Imports no torch.

The format is 8 bytes of little-endian length, that many bytes of JSON, then the tensors' bytes without gaps. The
safetensors library accepts duplicate keys (the last wins), names with escape bytes, and headers of a million tensors
(seconds and hundreds of megabytes); here all three are refused.
What cannot be seen from the bytes is a dtype of the same size and kind that lies, such as BF16 stored as F16: only
the sha256 pin guards against that.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import TensorsError
from zoo.os_words import reason

MOST_HEADER_BYTES = 25_000_000
MOST_TENSORS = 100_000
MOST_NAME_CHARACTERS = 500
MOST_DIMENSIONS = 64  # torch's own limit

BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""The size of one element of each dtype the format knows."""

_KEY = "zoo"
_SCHEMA = 1
_ZIP, _GGUF, _GIT_LFS = b"PK\x03\x04", b"GGUF", b"version "
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_MOST_COMMAS = 10 * MOST_TENSORS  # an ordinary tensor has 4 to 7


@dataclass(frozen=True)
class TensorInfo:
    """One stored tensor. dtype: a key of `BITS`. bytes: its size in the file."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself. tensors: by name, in the order of the header."""

    metadata: dict[str, str]
    tensors: dict[str, TensorInfo]


@dataclass(frozen=True)
class ZooMetadata:
    """What the zoo writes into its own files: the family, the distribution that brings it, and the config."""

    family: str
    plugin: str = ""
    config: dict[str, Any] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """The checked header: every byte of the file belongs to exactly one tensor of a known dtype and a plain name.

    Raises TensorsError, one line that starts with the file; a pickle, a GGUF file and a Git LFS pointer are named.
    """
    if not path.is_file():
        raise TensorsError(f"{path}: there is no such file")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(size - 8, MOST_HEADER_BYTES):
                raise _not_a_header(path, start, length, size)
            raw = file.read(length)
    except OSError as error:
        raise TensorsError(f"{path}: cannot be read: {reason(error)}") from None
    if raw[:1] != b"{":
        raise TensorsError(f"{path}: not a safetensors file: its header does not start with {{")
    _check_counts(path, raw)
    try:
        content = strict_json(raw)
    except ValueError as error:
        raise TensorsError(f"{path}: its header is not sound JSON: {error}") from None
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TensorsError(f"{path}: __metadata__ must be an object of strings")
    if len(content) > MOST_TENSORS:
        raise _too_many(path)
    spans = []
    tensors = {}
    for name, said in content.items():
        if problem := name_problem(name):
            raise TensorsError(f"{path}: a tensor's name {problem}: {name[:80]!a}")
        try:
            info, span = _tensor(said)
        except ValueError as error:
            raise TensorsError(f"{path}: tensor {name}: {error}") from None
        tensors[name] = info
        spans.append((*span, name))
    _check_spans(path, spans, size - 8 - length)
    return Header(metadata, tensors)


def zoo_metadata(path: Path) -> ZooMetadata | None:
    """What the zoo wrote into this file's header, or None for a file of other origin.

    Raises TensorsError when the file or what it says is malformed, or written by a newer zoo.
    """
    text = read_header(path).metadata.get(_KEY)
    if text is None:
        return None
    try:
        said = strict_json(text.encode())
    except ValueError as error:
        raise TensorsError(f"{path}: its zoo metadata is not sound JSON: {error}") from None
    return checked_metadata(said, name=str(path))


def checked_metadata(said: Any, *, name: str) -> ZooMetadata:
    """What the zoo wrote, from its JSON, of a header or of a config.json's "zoo". name: of the file, for errors.

    Raises TensorsError when it is malformed, or written by a newer zoo.
    """
    if not isinstance(said, dict):
        raise TensorsError(f"{name}: its zoo metadata must be an object")
    schema = said.get("schema")
    if schema != _SCHEMA:
        raise TensorsError(
            f"{name}: its zoo metadata has schema {shown(schema)}, but this zoo reads schema {_SCHEMA}",
            hint="pip install --upgrade zoo-core",
        )
    family, plugin, config = said.get("family"), said.get("plugin", ""), said.get("config")
    if not isinstance(family, str) or not isinstance(plugin, str) or not isinstance(config, dict):
        raise TensorsError(f"{name}: its zoo metadata must have a family, a plugin and a config")
    return ZooMetadata(family, plugin, config)


def zoo_metadata_text(said: ZooMetadata) -> dict[str, str]:
    """The header entry that `zoo_metadata` reads."""
    content = {"schema": _SCHEMA, "family": said.family, "plugin": said.plugin, "config": said.config}
    return {_KEY: json.dumps(content, sort_keys=True)}


def strict_json(raw: bytes) -> dict[str, Any]:
    """A JSON object in which no key stands twice. Raises ValueError, also for what is nested too deep."""
    try:
        content = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - one kind of error for all that is malformed
    return content


def name_problem(name: str) -> str:
    """Why a tensor may not have this name, or "": it must be short and printable, as it reaches terminals."""
    if len(name) > MOST_NAME_CHARACTERS:
        return f"has {len(name)} characters, but at most {MOST_NAME_CHARACTERS} are allowed"
    if not name or not name.isprintable():
        return "is empty or has characters that cannot be printed"
    return ""


def shown(value: Any) -> str:
    """A value out of an untrusted header, for an error's line."""
    try:
        return ascii(value)[:80]
    except RecursionError:
        return f"a deep {type(value).__name__}"


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:80]!a} stands twice")
    return content


def _not_a_header(path: Path, start: bytes, length: int, size: int) -> TensorsError:
    """Why the first 8 bytes cannot be the length of a header."""
    if start.startswith((_ZIP, *_PICKLES)):
        return TensorsError(
            f"{path}: this is a pickle, not a safetensors file; pickles can run code and are never loaded",
            hint="turn it into safetensors: zoo convert FILE -o FOLDER",
        )
    if start.startswith(_GGUF):
        return TensorsError(
            f"{path}: this is a GGUF file, not a safetensors file",
            hint="turn it into safetensors: zoo convert FILE -o FOLDER",
        )
    if start == _GIT_LFS:
        return TensorsError(
            f"{path}: this is a Git LFS pointer, not the weights themselves", hint="run `git lfs pull` there"
        )
    if len(start) == 8 and length <= MOST_HEADER_BYTES:
        return TensorsError(
            f"{path}: truncated: its header needs {8 + length} bytes, but the file has {size}"
        )
    if len(start) < 8:
        return TensorsError(
            f"{path}: truncated: a safetensors file has at least 10 bytes, but this has {size}"
        )
    return TensorsError(
        f"{path}: not a safetensors file: its header would have {length} bytes, "
        f"but at most {MOST_HEADER_BYTES} are allowed"
    )


def _check_counts(path: Path, raw: bytes) -> None:
    """Bound the memory that parsing takes, before it: each bracket becomes an object, each comma a value."""
    if raw.count(b"{") > MOST_TENSORS + 2:
        raise _too_many(path)
    if raw.count(b"[") > 2 * (MOST_TENSORS + 2) or raw.count(b",") > _MOST_COMMAS:
        raise TensorsError(f"{path}: its header holds more lists and values than {MOST_TENSORS} tensors have")


def _too_many(path: Path) -> TensorsError:
    return TensorsError(f"{path}: its header has more than the {MOST_TENSORS} tensors that are allowed")


def _tensor(said: Any) -> tuple[TensorInfo, tuple[int, int]]:
    """One tensor's entry -> what it is and the span of its bytes. Raises ValueError."""
    if not isinstance(said, dict) or said.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError("it must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, span = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"its dtype is {shown(dtype)}, but must be one of {', '.join(BITS)}")
    if not _are_sizes(shape) or len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"its shape is {shown(shape)}, but must be at most {MOST_DIMENSIONS} sizes")
    if not _are_sizes(span) or len(span) != 2 or span[0] > span[1]:
        raise ValueError(f"its data_offsets are {shown(span)}, but must be a start and an end")
    if math.prod(shape) * BITS[dtype] != 8 * (span[1] - span[0]):
        raise ValueError(
            f"a {dtype} of shape {shown(shape)} does not take the {span[1] - span[0]} bytes it has"
        )
    return TensorInfo(dtype, tuple(shape), span[1] - span[0]), (span[0], span[1])


def _are_sizes(value: Any) -> bool:
    """A list of whole numbers of 0 to 2**63 - 1."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)


def _check_spans(path: Path, spans: list[tuple[int, int, str]], present: int) -> None:
    """Every byte after the header belongs to exactly one tensor."""
    reached, before = 0, ""
    for start, end, name in sorted(spans):
        if start < reached:
            raise TensorsError(f"{path}: tensors {before} and {name} overlap at byte {start}")
        if start > reached:
            raise TensorsError(f"{path}: bytes {reached} to {start} belong to no tensor (before {name})")
        reached, before = end, name
    if present < reached:
        raise TensorsError(f"{path}: truncated: its tensors need {reached} bytes, but {present} are there")
    if present > reached:
        raise TensorsError(f"{path}: {present - reached} bytes after the last tensor belong to no tensor")
