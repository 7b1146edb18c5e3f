"""Training from Python: `for step in zoo.train(model, data, plan)`. Nothing is saved; that is up to whoever asks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.datasets import reading
from zoo.datasets.arrays import ArrayRows, Selection
from zoo.datasets.material import Material, Passes, Rows
from zoo.datasets.passes import RowPasses, Team
from zoo.errors import DataError, UsageError, ZooWarning
from zoo.modality import data_frames
from zoo.modality.sequence_model import SequenceModel
from zoo.modality.table_model import TableModel
from zoo.model import Model
from zoo.training import processes
from zoo.training.fitting import Fitter, fit
from zoo.training.learner import Learner
from zoo.training.loop import Evaluate
from zoo.training.loop import train as loop
from zoo.training.plan import FitPlan, Plan
from zoo.training.step import Step

_ROWS_LOOKED_AT = 65_536  # together


def train(
    model: Model | nn.Module,
    data: Any,
    plan: Plan | FitPlan | None = None,
    *,
    evaluate: Evaluate | None = None,
    device: str = "auto",
) -> Iterator[Step]:
    """Train a model in place, yielding each step. Stop asking, and it stops.

    model: what `zoo.load` or `zoo.build` returned, or any `zoo.protocols.Trainable` or `Fittable` module.
    data: a name or path as for `zoo train --data`, which needs a zoo model with the files beside its weights; rows
    (see `zoo.datasets.material.Rows`), or for a fit `Passes`; or an array of rows, whose first dimension counts them.
    A data frame (of pandas, polars) is an array of its columns in order. A fit of a table or sequence model takes
    what its `log_prob` does, in the data's own units: columns of a data frame by name.
    plan: a `Plan`, or for a fit a `FitPlan`; each with its defaults when left out.
    evaluate: network -> {name: value}, asked as the plan says; by default, for data by name, the measure on its
    held-out part. After the last step the model has the plan's average, if there is one, and can sample again.
    Raises UsageError and DataError at once, before a step is asked for; TrainingError as `zoo.training.loop.train`.
    Warns of a fit that has not converged after its plan's last step.
    """
    network: Any = model.network if isinstance(model, Model) else model
    if callable(getattr(network, "fit", None)) and not callable(getattr(network, "loss", None)):
        return _fitted(model, network, data, plan or FitPlan(), evaluate, device)
    if not callable(getattr(network, "loss", None)):
        raise UsageError(f"{type(network).__name__} has no loss(batch, turn, noise), so it cannot be trained")
    plan = plan or Plan()
    if not isinstance(plan, Plan):
        raise UsageError(f"the plan is a {type(plan).__name__}, but {type(network).__name__} takes a Plan")
    processes.only_cpu(device)  # refuses a device that is none
    rows, measure = _rows(model, network, data, plan)
    return _learned(network, rows, plan, evaluate or measure, device)


def _learned(network: Any, rows: Rows, plan: Plan, evaluate: Evaluate | None, device: str) -> Iterator[Step]:
    learner = Learner(network, plan)
    try:
        yield from loop(learner, rows, evaluate, device=device)
        learner.take_average()
    finally:
        network.eval().requires_grad_(False)


def _fitted(
    model: Model | nn.Module,
    network: nn.Module,
    data: Any,
    plan: Plan | FitPlan,
    evaluate: Evaluate | None,
    device: str,
) -> Iterator[Step]:
    if not isinstance(plan, FitPlan):
        raise UsageError(f"the plan is a {type(plan).__name__}, but {type(network).__name__} takes a FitPlan")
    team = processes.team(device)
    network.to(team.device)
    passes: Passes
    if isinstance(data, str | Path):
        material = _material(model, data, plan.seed)
        passes, evaluate = material.passes(network, plan.seed, team), evaluate or material.evaluate
    elif callable(getattr(data, "batches", None)):
        passes = data
    elif isinstance(model, TableModel | SequenceModel):
        passes = model.passes(data, team)
    else:
        passes = _of_array(data, network, team)
    fitter = Fitter(network, plan)
    fitter.plan = fitter.counted(passes)
    return _told(fitter, fit(fitter, passes, evaluate))


def _told(fitter: Fitter, steps: Iterator[Step]) -> Iterator[Step]:
    """The steps, and a warning after the last when it has not converged."""
    yield from steps
    if fitter.unfinished:
        warnings.warn(fitter.unfinished, ZooWarning, stacklevel=3)


def _of_array(data: Any, network: nn.Module, team: Team) -> RowPasses:
    """Rows as a bare module takes them."""
    array = _array(data)
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        said = f"has shape {array.shape}" if isinstance(array, np.ndarray) else f"is a {type(array).__name__}"
        raise UsageError(
            f"data {said}, but must be rows (N, D)",
            hint="sequences are given as passes over them, such as zoo_classic.sequences.SequencePasses",
        )
    _require_finite(array)
    return RowPasses(array, team, dtype=next(network.parameters()).dtype)


def _array(data: Any) -> Any:
    """A tensor or a data frame as an array; what is neither, as it is."""
    if isinstance(data, torch.Tensor):
        return data.numpy(force=True)
    return data_frames.values(data) if data_frames.is_frame(data) else data


def _require_finite(array: np.ndarray) -> None:
    """Raises DataError for the first value that is not a finite number."""
    for first in range(0, len(array) if array.dtype.kind == "f" else 0, _ROWS_LOOKED_AT):
        bad = np.argwhere(~np.isfinite(array[first : first + _ROWS_LOOKED_AT]))
        if len(bad):
            row, *place = bad[0].tolist()
            where = f"row {first + row}" + (f", column {place[0]}" if len(place) == 1 else f" at {place}")
            value = array[(first + row, *place)]
            raise DataError(
                f"{where} (from 0) is {value}, not a finite number",
                hint="leave such rows out, or fill the gaps",
            )


def _rows(
    model: Model | nn.Module, network: nn.Module, data: Any, plan: Plan
) -> tuple[Rows, Evaluate | None]:
    array = _array(data)
    if isinstance(array, np.ndarray):
        if not array.ndim or not len(array):
            raise UsageError(f"data has shape {array.shape}, but must have at least one row")
        _require_finite(array)
        if array is not data and not isinstance(data, torch.Tensor):  # a data frame has no precision to keep
            array = array.astype(np.float32)
        chosen = Selection((array,), np.arange(len(array)), torch.from_numpy)
        return ArrayRows(chosen, "rows", 1, plan.seed), None
    if not isinstance(data, str | Path):
        return data, None
    material = _material(model, data, plan.seed)
    return material.rows(network, plan.seed), material.evaluate


def _material(model: Model | nn.Module, data: str | Path, seed: int) -> Material:
    if not isinstance(model, Model):
        raise UsageError(
            f"data {str(data)!r} is read by a model's modality, which a bare module does not say"
        )
    modality = model.family.modality
    rules: Any = reading.rules_class(modality)()
    material = reading.read(modality, str(data), rules, seed)
    material.bind(model.family, model.files)
    return material
