"""A run's metrics as events that TensorBoard shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import MissingDependencyError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from zoo.training.loop import Step

FOLDER = "tensorboard"


class Events:
    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def write(self, step: Step) -> None:
        said = {f"loss/{name}": value for name, value in step.losses.items()}
        said |= {f"held out/{name}": value for name, value in step.results.items()}
        said |= {
            "training/learning rate": step.learning_rate,
            "training/gradient norm": step.gradient_norm,
            f"training/{step.unit} a second": step.speed,
        }
        for name, value in said.items():
            self._writer.add_scalar(name, value, step.step)

    def close(self) -> None:
        self._writer.close()


def events(run: Path, done: int) -> Events:
    """Events from step done + 1 on; TensorBoard forgets later ones of before, which will be made again.

    Raises MissingDependencyError without the package `tensorboard`.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "--tensorboard needs the package tensorboard", hint="pip install tensorboard"
        ) from error
    return Events(SummaryWriter(str(run / FOLDER), purge_step=done + 1))
