"""A training run and its folder, which is also a MODEL: `zoo sample RUN` works from the first measurement on.

RUN/model.safetensors   the best weights so far by what is measured on held-out data; the newest when nothing is
RUN/tokenizer.json      or whatever files stand beside this model's weights
RUN/recipe.yaml         every setting of this run
RUN/run.json            versions, device, and the fingerprint of the data
RUN/metrics.jsonl       one line a step
RUN/previews/           samples drawn on the way
RUN/checkpoints/        where to go on from

See `zoo.training.folder` for what else is there while it is written to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo import settings, targets
from zoo.datasets import reading
from zoo.datasets import source as sources
from zoo.datasets.material import Material
from zoo.datasets.previews import write
from zoo.errors import DiskSpaceError, UsageError
from zoo.family import Family
from zoo.os_words import reason
from zoo.training import processes, recipe, start, versions
from zoo.training.fitting import Fitter, fit
from zoo.training.folder import ABOUT, FILES, RECIPE, Held, claim, require_expendable
from zoo.training.learner import Learner
from zoo.training.loop import train
from zoo.training.outputs import METRICS, continued, keep, keep_best, line, preview
from zoo.training.plan import FitPlan, Plan
from zoo.training.recipe import Recipe
from zoo.training.start import Start
from zoo.training.step import Step

GOES_BY = "recipe"
"""Where run.json has the recipe that the run goes by."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class Run:
    """A run that is ready to train. best: the lowest measure on held-out data so far, whose name is `measure`, and
    best_step: after which step that was; 0 before.

    learner, rows: a `Learner` of rows by number, or a `Fitter` of passes over all of them.
    held: the folder, in the process that writes to it.
    """

    folder: Path
    recipe: Recipe
    origin: Start
    config: Any
    material: Material
    rows: Any
    learner: Learner | Fitter
    device: str
    best: float = math.inf
    measure: str = ""
    best_step: int = 0
    held: Held | None = None

    def close(self) -> None:
        """Let other processes write to the folder; without a step, it is as it was before `begin`."""
        if self.held is not None:
            self.held.close()

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.learner.network.parameters())

    @property
    def epochs(self) -> float:
        """How often the plan goes through the data."""
        return self.learner.epochs(self.rows)

    @property
    def plan(self) -> Plan | FitPlan:
        return self.learner.plan

    @property
    def finished(self) -> bool:
        return self.learner.finished


def begin(
    wanted: Recipe, folder: Path, *, device: str = "auto", offline: bool = False, force: bool = False
) -> Run:
    """Read the data, make or load the network with what it needs, and write down the whole recipe.

    folder: new or empty, or with `force` one whose content is given up once the run has made a step; as it was before
    when this raises, or when the first step fails. No other process can write to it until `Run.close`.
    Of several processes, all call this and one writes. Raises UsageError, DataError, TrainingError for a folder that
    another process writes to, and what finding and loading a model raises.
    """
    state = processes.state(device)
    if not processes.is_main():
        processes.wait()
        return opened(recipe.read(folder / RECIPE), None, folder, device, offline)
    if not wanted.source:
        raise UsageError("say what to train on: --data, or data.source in the recipe")
    origin = start.find(wanted.start, offline=offline)
    rules = start.rules(origin, wanted)
    start.config(origin, wanted)
    plan = start.plan(origin, wanted)
    if isinstance(plan, Plan):
        plan.share(state.num_processes)
    if force:
        _require_outside(folder, wanted, origin)
    held = claim(folder, force=force, files=origin.family.companions)
    try:
        with _full_disk_told():
            run = _begun(wanted, origin, rules, folder, device, offline)
    except BaseException:
        held.close()
        raise
    run.held = held
    processes.wait()
    return run


def _begun(wanted: Recipe, origin: Start, rules: Any, folder: Path, device: str, offline: bool) -> Run:
    """The run, with what it leaves in its folder before the first step."""
    modality, seed = origin.family.modality, start.plan(origin, wanted).seed
    rules = dataclasses.replace(rules, split_seed=start.split_seed(origin, wanted, rules, seed))
    material = reading.read(modality, wanted.source, rules, seed, offline=offline)
    if origin.model is None:
        material.learn(folder)
    for name, path in start.companions(origin, offline=offline).items():
        shutil.copyfile(path, folder / name)
    whole = dataclasses.replace(wanted, data=settings.plain(rules))
    run = _prepare(whole, origin, material, folder, device, offline)
    about = versions.about(run.origin.plugin, device, run.rows.fingerprint, run.material.summary)
    write_down(run, {**about, FILES: sorted(_beside(folder, origin.family))})
    return run


def _require_outside(folder: Path, wanted: Recipe, origin: Start) -> None:
    """Raises UsageError when what is trained from or on lies in the folder whose content is given up."""
    require_expendable(folder)
    needed = {
        wanted.start: origin.model.folder if origin.model is not None else None,
        wanted.source: sources.find(wanted.source).path,
    }
    for name, path in needed.items():
        if path is not None and path.resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                f"{name} is in {folder}, which --force empties", hint="name another folder with -o"
            )


def write_down(run: Run, about: Mapping[str, Any]) -> None:
    """The recipe: for people, who may change it, and in run.json as the run goes by it, to tell what they did."""
    said = {**about, GOES_BY: recipe.shareable(recipe.to_plain(run.recipe))}
    write(run.folder / ABOUT, (json.dumps(said, indent=1) + "\n").encode())
    write(run.folder / RECIPE, recipe.to_yaml(run.recipe).encode())


def opened(wanted: Recipe, origin: Start | None, folder: Path, device: str, offline: bool) -> Run:
    """The run of a folder at step 0."""
    origin = origin or start.find(wanted.start, offline=offline)
    rules, seed = start.rules(origin, wanted), start.plan(origin, wanted).seed
    material = reading.read(origin.family.modality, wanted.source, rules, seed, offline=offline)
    return _prepare(wanted, origin, material, folder, device, offline)


def _prepare(
    wanted: Recipe, origin: Start, material: Material, folder: Path, device: str, offline: bool
) -> Run:
    decided = material.bind(origin.family, _beside(folder, origin.family))
    start.require_fitting(origin, decided, wanted)
    wanted = dataclasses.replace(wanted, config={**wanted.config, **decided})
    config, plan = start.config(origin, wanted), start.plan(origin, wanted)
    start.require_same_shape(origin, config)
    network = start.network(origin, config, plan.seed, offline=offline)
    learner: Any  # whichever it is, with the rows that it takes
    rows: Any
    if isinstance(plan, FitPlan):
        team = processes.team(device)
        rows = material.passes(_moved(network, team.device), plan.seed, team)
        learner = Fitter(network, plan)
    else:
        rows = material.rows(network, plan.seed)
        learner = Learner(network, plan)
    learner.plan = learner.counted(rows)
    wanted = dataclasses.replace(wanted, config=settings.plain(config), plan=settings.plain(learner.plan))
    return Run(folder, wanted, origin, config, material, rows, learner, device)


def _moved(network: nn.Module, device: torch.device) -> nn.Module:
    if device.type == "mps" and any(value.dtype == torch.float64 for value in network.parameters()):
        raise UsageError(
            "this GPU has no float64, which the model is to be fitted in",
            hint="--device cpu, or --set config.precision=float32",
        )
    return network.to(device)


def _beside(folder: Path, family: Family) -> dict[str, Path]:
    """The files that a family reads beside the weights, such as a tokenizer's."""
    return targets.companions(family, {path.name: path for path in folder.iterdir() if path.is_file()})


def steps(run: Run) -> Iterator[Step]:
    """Train, yielding each step once what it brought is on the disk. Whoever stops asking can resume later.

    Raises TrainingError when a loss is not finite or memory runs out; the best weights and the last checkpoint stay.
    When the first step of a new run fails, its folder is as it was before `begin`.
    """
    plan, writes = run.plan, processes.is_main()
    with contextlib.closing(run), _full_disk_told(run), contextlib.ExitStack() as stack:
        log = None
        if writes:
            path = continued(run.folder / METRICS, run.learner.step)
            log = stack.enter_context(path.open("a", encoding="utf-8", buffering=1))
        for step in _made(run):
            if log:
                log.write(line(step))
            keep_best(run, step)
            if plan.checkpoint_every and step.due(plan.checkpoint_every):
                keep(run, step)
            if plan.preview_every and step.due(plan.preview_every):
                preview(run, step)
            if run.held is not None:
                run.held.settle()
            yield step


@contextlib.contextmanager
def _full_disk_told(run: Run | None = None) -> Iterator[None]:
    """A disk that is full, as an error that says how to go on. run: None while it is begun."""
    try:
        yield
    except (OSError, DiskSpaceError) as error:
        if isinstance(error, OSError) and error.errno not in _DISK_FULL:
            raise
        said = str(error) if isinstance(error, DiskSpaceError) else f"the disk is full: {reason(error)}"
        if run is None or (run.held is not None and run.held.begun):
            raise DiskSpaceError(said, hint="make room and begin again; nothing was changed") from error
        hint = f"make room, then go on with: zoo train --resume -o {run.folder}"
        raise DiskSpaceError(f"step {run.learner.step}: {said}", hint=hint) from error


def _made(run: Run) -> Iterator[Step]:
    if isinstance(run.learner, Fitter):
        return fit(run.learner, run.rows, run.material.evaluate)
    return train(run.learner, run.rows, run.material.evaluate, device=run.device)
