"""The tensors of a .bin, .pt, .pth or .ckpt file, read with torch's weights-only unpickler: none of its code runs."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zoo.errors import WeightsError
from zoo.os_words import reason
from zoo.weights.tensors import MOST_TENSORS, name_problem, shown

_NESTED = ("state_dict", "model_state_dict", "model")
"""Where a training checkpoint keeps its tensors; the first that is there is taken."""

_GLOBAL = re.compile(r"GLOBAL (\S{1,100})")


def read_pickled(path: Path) -> dict[str, torch.Tensor]:
    """The tensors by name, mapped from the file where its format allows. Of tied ones only the first is given.

    Raises WeightsError for whatever is not a mapping of names to plain tensors; it names what the pickle asked for.
    """
    content = _unpickled(path)
    if isinstance(content, Mapping):
        content = next((content[key] for key in _NESTED if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or len(content) > MOST_TENSORS:
        raise WeightsError(
            f"{path}: it holds a {type(content).__name__}, not a mapping of names to at most {MOST_TENSORS} tensors"
        )
    tensors: dict[str, torch.Tensor] = {}
    seen = set()
    for name, tensor in content.items():
        _check(path, name, tensor)
        identity = (
            tensor.untyped_storage().data_ptr(),
            tensor.storage_offset(),
            tensor.shape,
            tensor.stride(),
        )
        if tensor.numel() and identity in seen:
            continue
        seen.add(identity)
        tensors[name] = tensor.detach()
    _refuse_inflation(path, tensors)
    return tensors


def _unpickled(path: Path) -> Any:
    try:
        archived = zipfile.is_zipfile(path)
        if archived:
            _refuse_compression(path)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about pickle protocols and old storages: no concern of the reader
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archived)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {reason(error)}") from None
    except Exception as error:  # the unpickler raises whatever a broken or hostile file leads it to
        if wanted := _GLOBAL.search(str(error)):
            raise WeightsError(
                f"{path}: refused: its pickle asks to run {ascii(wanted[1])[1:-1]}, and only plain tensors are read",
                hint="save its state_dict() alone, where you trust the file",
            ) from None
        raise WeightsError(f"{path}: it is damaged, or not a checkpoint of plain tensors") from None


def _refuse_compression(path: Path) -> None:
    """torch stores its records as they are; a compressed one could unpack to a thousand times the file."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise WeightsError(f"{path}: refused: the archive is compressed, which torch never does")


def _check(path: Path, name: Any, tensor: Any) -> None:
    if not isinstance(name, str) or name_problem(name):
        raise WeightsError(f"{path}: {shown(name)} is not a name for a tensor")
    if not isinstance(tensor, torch.Tensor):
        raise WeightsError(f"{path}: {name} is {type(tensor).__name__}, not a tensor")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise WeightsError(f"{path}: {name} is sparse, quantised or without values, not a plain tensor")


def _refuse_inflation(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Views that repeat a few bytes, or share them, could fill the disk."""
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if needed > path.stat().st_size:
        raise WeightsError(f"{path}: refused: its tensors need {needed} bytes, more than the file has")
