"""Checkpoints: each a folder that appears whole or not at all, with the hashes of its files.

checkpoints/step-00000250/model.safetensors     the weights as they would be kept, a MODEL of its own
checkpoints/step-00000250/training.safetensors  what else training changes: the optimizers' memory, and the weights
                                                themselves where those kept are their average
checkpoints/step-00000250/manifest.json         step, notes, sha256 and bytes of both, and the sha256 of all that
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch

from zoo.errors import TrainingError, ZooWarning
from zoo.os_words import reason
from zoo.weights import save
from zoo.weights.records import hashes

FOLDER = "checkpoints"
WEIGHTS = "model.safetensors"
TRAINING = "training.safetensors"
MANIFEST = "manifest.json"
_SCHEMA = 1
_NAME = re.compile(r"step-\d{8,18}", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """One on the disk whose files are those of its manifest. notes: what `write` was given."""

    path: Path
    step: int
    notes: Mapping[str, Any]


def write(
    run: Path,
    step: int,
    tensors: Mapping[str, torch.Tensor],
    save_weights: Callable[[Path], None],
    notes: Mapping[str, Any],
    *,
    keep: int,
) -> Path:
    """Write one, then remove all but the newest `keep` and the best, the one whose notes' "measure" is lowest.

    tensors: those of `Learner.tensors`. save_weights: writes the weights file, of the average if there is one.
    A run killed in the middle of this, or whose disk is full, has the checkpoints before. One of this step that holds
    is left as it is; those of later steps go, since they were skipped as damaged.
    """
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    _clear_unfinished(folder)
    final = folder / f"step-{step:08d}"
    if final.exists() and isinstance(_examined(final), Checkpoint):
        return final
    aside = folder / f".step-{step:08d}.{secrets.token_hex(4)}.partial"
    try:
        aside.mkdir()
        _fill(aside, step, tensors, save_weights, notes)
        if final.exists():
            _discard(final)
        aside.replace(final)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)  # on a full disk, it would be in the way of everything else
        raise
    _flush(folder)
    _remove_others(folder, step, keep)
    return final


def _fill(
    aside: Path,
    step: int,
    tensors: Mapping[str, torch.Tensor],
    save_weights: Callable[[Path], None],
    notes: Mapping[str, Any],
) -> None:
    """Write the files of a checkpoint, and then the manifest that proves them, onto the disk."""
    averaged = any(name.startswith("average.") for name in tensors)
    kept_apart = "average." if averaged else "network."
    rest = {name: value for name, value in tensors.items() if not name.startswith(kept_apart)}
    save_weights(aside / WEIGHTS)
    save.write(aside / TRAINING, {name: save.pending(value) for name, value in rest.items()}, {})
    files = {name: _described(aside / name) for name in (WEIGHTS, TRAINING)}
    said = {"schema": _SCHEMA, "step": step, "averaged": averaged, "notes": dict(notes), "files": files}
    _write_flushed(aside / MANIFEST, json.dumps({**said, "sha256": _digest(said)}, indent=1) + "\n")
    _flush(aside)


def newest(run: Path) -> Checkpoint | None:
    """The newest whose manifest holds, None when there is none; damaged ones are skipped with a ZooWarning."""
    for path in reversed(_present(run / FOLDER)):
        found = _examined(path)
        if isinstance(found, Checkpoint):
            return found
        warnings.warn(f"{path} is damaged and skipped: {found}", ZooWarning, stacklevel=2)
    return None


def read(found: Checkpoint) -> dict[str, torch.Tensor]:
    """Its tensors, as `write` was given them. Raises TrainingError when they cannot be read."""
    averaged = json.loads((found.path / MANIFEST).read_text(encoding="utf-8"))["averaged"]
    try:
        stored = _tensors(found.path / TRAINING)
        weights = _tensors(found.path / WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise TrainingError(f"{found.path} cannot be read: {reason(error)}") from error
    prefix = "average." if averaged else "network."
    return stored | {prefix + name: value for name, value in weights.items()}


def _examined(path: Path) -> Checkpoint | str:
    """The checkpoint in a folder, or what is wrong with it."""
    try:
        return _checked(path)
    except KeyError as error:
        return f"its manifest has no {error}"
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return str(error)


def _checked(path: Path) -> Checkpoint:
    """Raises OSError, ValueError, KeyError, TypeError, AttributeError for whatever is wrong with it."""
    said = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if said["schema"] != _SCHEMA:
        raise ValueError(f"its manifest's schema is {said['schema']!r}, but must be {_SCHEMA}")
    if said.pop("sha256") != _digest(said) or said["step"] != _step(path):
        raise ValueError("its manifest is not as it was written")
    for name in (WEIGHTS, TRAINING):
        expected, actual = said["files"][name], _described(path / name)
        if actual != expected:
            raise ValueError(
                f"{name} has {actual['bytes']} bytes and sha256 {actual['sha256'][:12]}, "
                f"but its manifest says {expected['bytes']} and {expected['sha256'][:12]}"
            )
    return Checkpoint(path, said["step"], said["notes"])


def _digest(said: Mapping[str, Any]) -> str:
    """sha256 of what a manifest says, however it is laid out."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _present(folder: Path) -> list[Path]:
    """Checkpoints in order of their steps; what was still being written is none."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_step)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _remove_others(folder: Path, step: int, keep: int) -> None:
    """All but the best and the newest `keep` up to this step."""
    present = _present(folder)
    made = [path for path in present if _step(path) <= step]
    best = min(made, key=_measure)
    for path in present:
        if path not in made[-keep:] and (path != best or _measure(path) == math.inf):
            _discard(path)


def _discard(path: Path) -> None:
    """Under another name first, so that one killed halfway is no damaged checkpoint."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    path.replace(aside)
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _measure(path: Path) -> float:
    """Infinite for one without a measure, or whose measure is not a number."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        value = float(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["notes"]["measure"])
        return math.inf if math.isnan(value) else value
    return math.inf


def _clear_unfinished(folder: Path) -> None:
    for left in folder.glob(".step-*.partial"):
        _remove(left)


def _described(path: Path) -> dict[str, Any]:
    return {"sha256": hashes(path)[0], "bytes": path.stat().st_size}


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safetensors.safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def _write_flushed(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """That the names in it are on the disk too, where the system can do that."""
    with contextlib.suppress(OSError), _opened(folder) as number:
        os.fsync(number)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    number = os.open(folder, os.O_RDONLY)
    try:
        yield number
    finally:
        os.close(number)
