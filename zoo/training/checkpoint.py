"""All that a run needs to go on where it was, in one safetensors file: weights, their average, AdamW's memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch

from zoo.errors import TrainingError
from zoo.training.loop import Learner
from zoo.weights import save

_MEMORY = ("exp_avg", "exp_avg_sq")


def write(learner: Learner, path: Path, notes: Mapping[str, str]) -> None:
    """Write atomically: a run killed in the middle of it keeps the checkpoint before. notes: what `read` returns."""
    pending = {name: save.pending(tensor) for name, tensor in _tensors(learner).items()}
    save.write(path, pending, {**notes, "step": str(learner.step)})


def read(learner: Learner, path: Path) -> dict[str, str]:
    """Put a learner of the same network and plan where the checkpoint was, and return the checkpoint's notes.

    Raises TrainingError when the file cannot be read or is of another network.
    """
    _begin_memory(learner)
    wanted = _tensors(learner)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            notes: dict[str, str] = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        step = int(notes["step"])
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path} is no checkpoint that can be read: {error}") from error
    if _shapes(stored) != _shapes(wanted):
        raise TrainingError(f"{path} is the checkpoint of another network or plan")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(stored[name])
    for memory in learner.optimizer.state.values():
        memory["step"].fill_(step)
    learner.step = step
    return notes


def _tensors(learner: Learner) -> dict[str, torch.Tensor]:
    """Every tensor that training changes, by a name that says what it is."""
    found = {f"network.{name}": tensor for name, tensor in learner.network.state_dict().items()}
    if learner.average is not None:
        found |= {f"average.{name}": tensor for name, tensor in learner.average.state_dict().items()}
    for name, weight in learner.network.named_parameters():
        memory = learner.optimizer.state.get(weight, {})
        found |= {f"{kind}.{name}": memory[kind] for kind in _MEMORY if kind in memory}
    return {name: tensor.detach() for name, tensor in found.items()}


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _begin_memory(learner: Learner) -> None:
    """AdamW makes its memory at its first step; here it is made beforehand, to be filled."""
    for group in learner.optimizer.param_groups:
        for weight in group["params"]:
            memory = {kind: torch.zeros_like(weight) for kind in _MEMORY}
            learner.optimizer.state[weight] = {"step": torch.zeros(()), **memory}
