"""What a person sees while a model is trained: a bar with the loss, its course, the speed and the time left.

Where nobody watches, some twenty plain lines, and one for each measurement.
"""

from __future__ import annotations

import itertools
import sys
import time
from typing import TYPE_CHECKING

from zoo_cli import human, terminal

if TYPE_CHECKING:
    from rich.progress import Progress

    from zoo.training.run import Run
    from zoo.training.step import Step

_LINES = 20  # where no bar is drawn, beside those with a measurement
_BETWEEN = 0.1  # seconds between two looks at the bar
_COURSE = 24  # most columns of the loss's course
_AROUND = 45  # columns that the bar, the count and the time left take
_BLOCKS = "▁▂▃▄▅▆▇█"


class TrainingView:
    """A context: draws from its first step on, and leaves the lines of measurements behind."""

    def __init__(self, run: Run, *, quiet: bool) -> None:
        self._run = run
        self._quiet = quiet
        self._bar: Progress | None = None
        self._losses: list[float] = []
        self._drawn = 0.0

    def __enter__(self) -> TrainingView:
        plan = self._run.plan
        terminal.note(
            f"{human.count(self._run.parameters)} parameters, {self._run.material.summary}; {_planned(self._run)}",
            quiet=self._quiet,
        )
        if not self._quiet and terminal.is_terminal(sys.stderr):
            self._bar = _progress()
            self._bar.add_task("", total=plan.steps, completed=self._run.learner.step)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, step: Step) -> None:
        self._losses.append(step.loss)
        now, plan = time.monotonic(), self._run.plan
        if self._bar and (now - self._drawn >= _BETWEEN or step.final):
            self._drawn = now
            said = describe(step)
            room = self._bar.console.width - len(said) - _AROUND
            said = f"{said}  {course(self._losses, min(_COURSE, room))}" if room > 0 else said
            self._bar.update(self._bar.task_ids[0], completed=step.step, description=said)
        if step.results or (not self._bar and step.due(max(1, plan.steps // _LINES))):
            terminal.note(f"step {step.step}: {describe(step)}{_results(step)}", quiet=self._quiet)


def _planned(run: Run) -> str:
    """What the plan says of steps and rows, in words."""
    times = f"{run.epochs:,.0f}" if run.epochs >= 10 else f"{run.epochs:.2g}"
    through = f"{times} times through the data"
    rows = getattr(run.plan, "batch_size", None)
    if rows is not None:
        return f"{run.plan.steps} steps of {rows} rows: {through}"
    return f"at most {run.plan.steps} steps, {through}"


def describe(step: Step) -> str:
    """Losses and speed in words. What a fit says beside its log-likelihood is left out while it is 0."""
    shown = {name: value for name, value in step.losses.items() if step.gradient_norm is not None or value}
    losses = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in shown.items())
    return f"{losses}, {step.speed:,.0f} {step.unit}/s"


def _results(step: Step) -> str:
    """What was measured, without of how much, which is the same each time."""
    measures = {name: value for name, value in step.results.items() if not isinstance(value, int)}
    return "".join(f", {name.replace('_', ' ')} {value:.4f}" for name, value in measures.items())


def course(values: list[float], width: int) -> str:
    """A line of blocks as high as the values, each the mean of those that fall into its column."""
    columns = min(width, len(values))
    edges = [column * len(values) // columns for column in range(columns + 1)] if columns else []
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((mean - low) * scale)] for mean in means)


def _progress() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    return Progress(*columns, console=terminal.console(sys.stderr), transient=True, refresh_per_second=4)
