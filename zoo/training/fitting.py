"""Fits, such as expectation maximisation: a generator that improves a model and yields each step. It saves nothing.

What a step depends on is the module's parameters, the fit's own state, the data and the plan. So a fit continued from
a checkpoint goes the same way as one that was never stopped, and several processes fit the model that one would.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from zoo.datasets.material import Passes
from zoo.errors import TrainingError
from zoo.noise import Noise
from zoo.training.plan import FitPlan
from zoo.training.step import Step, due

CONVERGED = "converged"
"""What a fit says of a step beside its measures: 1 when no further step is worth it."""

_NETWORK, _STATE = "network.", "state."


class Fitter:
    """A model being fitted: its module, the fit's own state, and how many steps are done. A `Learner`'s counterpart.

    network: a `zoo.protocols.Fittable`, on the device where it is fitted. converged: whether the last step said so.
    """

    turns = ("main",)

    def __init__(self, network: nn.Module, plan: FitPlan) -> None:
        self.network = network.requires_grad_(False)
        self.plan = plan
        self.step = 0
        self.state: dict[str, torch.Tensor] = {}
        self.converged = False

    def rows_a_step(self, data: Passes) -> int:
        """Rows that a step goes on in the data: all, or a batch where the module is fitted in batches."""
        return min(data.rows, int(getattr(self.network, "rows_a_step", 0)) or data.rows)

    def counted(self, data: Passes) -> FitPlan:
        """The plan with epochs written as steps."""
        return self.plan.counted(data.rows, self.rows_a_step(data))

    def epochs(self, data: Passes) -> float:
        """How often the whole plan goes through the data."""
        return self.plan.steps * self.rows_a_step(data) / data.rows

    @property
    def finished(self) -> bool:
        return self.step >= self.plan.steps or (self.converged and self.plan.until_converged)

    @property
    def unfinished(self) -> str:
        """What to say of a fit whose steps are done before it has converged; "" of any other."""
        if self.converged or not self.plan.until_converged or self.step < self.plan.steps:
            return ""
        return (
            f"the fit has not converged after {self.step} step{'s' * (self.step > 1)}: give it more, such as "
            f"plan.steps={2 * self.plan.steps}, or a larger config.tolerance"
        )

    @contextmanager
    def result(self) -> Iterator[nn.Module]:
        """The module to measure and to keep."""
        yield self.network

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that a fit changes, by a name that says what it is."""
        found = {f"{_NETWORK}{name}": value for name, value in self.network.state_dict().items()}
        return found | {f"{_STATE}{name}": value for name, value in self.state.items()}

    def restore(self, stored: Mapping[str, torch.Tensor], step: int, notes: Mapping[str, Any]) -> None:
        """Be where `tensors` were taken. Raises TrainingError when they are of another module."""
        own = self.network.state_dict()
        names = {f"{_NETWORK}{name}" for name in own}
        strange = [name for name in stored if name not in names and not name.startswith(_STATE)]
        absent = [
            name
            for name, value in own.items()
            if (given := stored.get(f"{_NETWORK}{name}")) is None or given.shape != value.shape
        ]
        if strange or absent:
            raise TrainingError(f"of another model: {(strange + absent)[0]} does not fit")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(stored[f"{_NETWORK}{name}"])
        device = next(self.network.parameters()).device
        self.state = {
            name.removeprefix(_STATE): value.to(device, copy=True)
            for name, value in stored.items()
            if name.startswith(_STATE)
        }
        self.step, self.converged = step, bool(notes.get(CONVERGED))


def fit(
    fitter: Fitter, data: Passes, evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None
) -> Iterator[Step]:
    """Fit from the step after the fitter's to its plan's last, or until it has converged; yields each.

    Raises DataError for data that cannot be fitted, TrainingError when the log-likelihood is not finite.
    """
    plan = fitter.plan
    network: Any = fitter.network.eval()
    rows = fitter.rows_a_step(data)
    steps: Iterator[Mapping[str, float]] = network.fit(data, Noise(plan.seed), fitter.state)
    began = time.perf_counter()
    while not fitter.finished:
        started = time.perf_counter()
        said = dict(next(steps))
        seconds = time.perf_counter() - started
        _require_finite(said, fitter.step + 1)
        fitter.converged = bool(said.pop(CONVERGED, 0.0))
        fitter.step += 1
        measured = evaluate is not None and due(plan.evaluate_every, fitter.step, final=fitter.finished)
        results = dict(evaluate(fitter.network)) if evaluate is not None and measured else {}
        yield Step(
            fitter.step,
            fitter.step * rows / data.rows,
            said,
            rows / seconds,
            data.unit,
            time.perf_counter() - began,
            results,
            final=fitter.finished,
        )


def _require_finite(said: Mapping[str, float], step: int) -> None:
    for name, value in said.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"step {step}: {name.replace('_', ' ')} is {value}",
                hint="the last checkpoint stays; columns of very different sizes may be the reason: "
                "--set data.standardise=true",
            )
