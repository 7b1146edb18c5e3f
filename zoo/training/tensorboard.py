"""A run's metrics as events that TensorBoard shows."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import MissingDependencyError
from zoo.training.outputs import METRICS, lines, metrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from zoo.training.step import Step

FOLDER = "tensorboard"
_LEFT_OUT = ("step", "epoch", "seconds")
_OF_FITS = ("log_likelihood", "per_frame", "reseeded")


class Events:
    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def write(self, step: Step) -> None:
        self.add(metrics(step))

    def add(self, said: Mapping[str, Any]) -> None:
        """What a line of metrics.jsonl says; counts, such as held-out bytes, are left out."""
        for name, value in said.items():
            if name not in _LEFT_OUT and isinstance(value, float):
                self._writer.add_scalar(_called(name), value, said["step"])

    def close(self) -> None:
        self._writer.close()


def _called(name: str) -> str:
    if name in ("learning_rate", "gradient_norm") or name.endswith("_per_second"):
        return f"training/{name.replace('_per_second', ' a second').replace('_', ' ')}"
    kind = "held out" if name.startswith("held_out") else "fit" if name in _OF_FITS else "loss"
    return f"{kind}/{name}"


def require() -> None:
    """Raises MissingDependencyError without the package `tensorboard`."""
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingDependencyError(
            "--tensorboard needs the package tensorboard", hint="pip install 'zoo-core[tensorboard]'"
        )


def events(run: Path, done: int) -> Events:
    """Events of the steps to come, after those of the first `done` again, from the run's metrics.

    A killed run may have lost the newest, or have written some of steps that are made again: TensorBoard forgets all
    that were there before. Raises MissingDependencyError without the package `tensorboard`.
    """
    require()
    from torch.utils.tensorboard import SummaryWriter

    found = Events(SummaryWriter(str(run / FOLDER), purge_step=0))
    for _, said in lines(run / METRICS, done):
        found.add(said)
    return found
