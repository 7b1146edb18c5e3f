"""Checkpoints: each a folder that appears whole or not at all, with the hashes of its files.

checkpoints/step-00000250/model.safetensors     the weights as they would be kept, a MODEL of its own
checkpoints/step-00000250/training.safetensors  what else training changes: the optimizers' memory, and the weights
                                                themselves where those kept are their average
checkpoints/step-00000250/manifest.json         step, notes, and sha256 and bytes of both
"""

from __future__ import annotations

import contextlib
import json
import math
import os
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
from zoo.weights import save
from zoo.weights.records import hashes

FOLDER = "checkpoints"
WEIGHTS = "model.safetensors"
TRAINING = "training.safetensors"
MANIFEST = "manifest.json"
_SCHEMA = 1


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
    A run killed in the middle of this has the checkpoints before.
    """
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    _clear_unfinished(folder)
    aside = folder / f".step-{step:08d}.{secrets.token_hex(4)}.partial"
    aside.mkdir()
    averaged = any(name.startswith("average.") for name in tensors)
    kept_apart = "average." if averaged else "network."
    rest = {name: value for name, value in tensors.items() if not name.startswith(kept_apart)}
    save_weights(aside / WEIGHTS)
    save.write(aside / TRAINING, {name: save.pending(value) for name, value in rest.items()}, {})
    files = {name: _described(aside / name) for name in (WEIGHTS, TRAINING)}
    said = {"schema": _SCHEMA, "step": step, "averaged": averaged, "notes": dict(notes), "files": files}
    _write_flushed(aside / MANIFEST, json.dumps(said, indent=1) + "\n")
    _flush(aside)
    final = folder / f"step-{step:08d}"
    if final.exists():
        _discard(final)  # it was skipped as damaged, or this step is made again
    aside.replace(final)
    _flush(folder)
    _remove_old(folder, keep)
    return final


def newest(run: Path) -> Checkpoint | None:
    """The newest whose manifest holds, None when there is none; damaged ones are skipped with a ZooWarning."""
    for path in reversed(_present(run / FOLDER)):
        try:
            return _checked(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{path} is damaged and skipped: {error}", ZooWarning, stacklevel=2)
    return None


def read(found: Checkpoint) -> dict[str, torch.Tensor]:
    """Its tensors, as `write` was given them. Raises TrainingError when they cannot be read."""
    averaged = json.loads((found.path / MANIFEST).read_text(encoding="utf-8"))["averaged"]
    try:
        stored = _tensors(found.path / TRAINING)
        weights = _tensors(found.path / WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise TrainingError(f"{found.path} cannot be read: {error}") from error
    prefix = "average." if averaged else "network."
    return stored | {prefix + name: value for name, value in weights.items()}


def _checked(path: Path) -> Checkpoint:
    """Raises OSError, ValueError, KeyError, TypeError for whatever is wrong with it."""
    said = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if said["schema"] != _SCHEMA:
        raise ValueError(f"its manifest's schema is {said['schema']!r}, but must be {_SCHEMA}")
    for name in (WEIGHTS, TRAINING):
        expected, actual = said["files"][name], _described(path / name)
        if actual != expected:
            raise ValueError(
                f"{name} has {actual['bytes']} bytes and sha256 {actual['sha256'][:12]}, "
                f"but its manifest says {expected['bytes']} and {expected['sha256'][:12]}"
            )
    return Checkpoint(path, int(said["step"]), dict(said["notes"]))


def _present(folder: Path) -> list[Path]:
    """Checkpoints in order of their steps; what was still being written is none."""
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _remove_old(folder: Path, keep: int) -> None:
    present = _present(folder)
    best = min(present, key=_measure)
    for path in present[:-keep]:
        if path != best or _measure(path) == math.inf:
            _discard(path)


def _discard(path: Path) -> None:
    """Under another name first, so that one killed halfway is no damaged checkpoint."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    path.replace(aside)
    shutil.rmtree(aside)


def _measure(path: Path) -> float:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["notes"]["measure"])
    return math.inf


def _clear_unfinished(folder: Path) -> None:
    for left in folder.glob(".step-*.partial"):
        shutil.rmtree(left)


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
