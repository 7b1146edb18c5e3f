"""A run's metrics as events that TensorBoard shows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import MissingDependencyError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from zoo.training.loop import Step
    from zoo.training.plan import Plan

FOLDER = "tensorboard"


class Events:
    """Those of one run, which are on the disk as far as its checkpoints are."""

    def __init__(self, writer: SummaryWriter, plan: Plan) -> None:
        self._writer = writer
        self._plan = plan

    def write(self, step: Step) -> None:
        said = {f"loss/{name}": value for name, value in step.losses.items()}
        said |= {
            f"held out/{name}": value for name, value in step.results.items() if not isinstance(value, int)
        }
        said |= {
            "training/learning rate": step.learning_rate,
            "training/gradient norm": step.gradient_norm,
            f"training/{step.unit} a second": step.speed,
        }
        for name, value in said.items():
            self._writer.add_scalar(name, value, step.step)
        if self._plan.due(self._plan.checkpoint_every, step.step):
            self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def require() -> None:
    """Raises MissingDependencyError without the package `tensorboard`."""
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingDependencyError(
            "--tensorboard needs the package tensorboard", hint="pip install 'zoo-core[tensorboard]'"
        )


def events(run: Path, done: int, plan: Plan) -> Events:
    """Events from step done + 1 on; TensorBoard forgets later ones of before, which will be made again.

    Raises MissingDependencyError without the package `tensorboard`.
    """
    require()
    from torch.utils.tensorboard import SummaryWriter

    return Events(SummaryWriter(str(run / FOLDER), purge_step=done + 1), plan)
