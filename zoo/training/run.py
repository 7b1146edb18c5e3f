"""A training run and its folder, which is also a MODEL: `zoo sample RUN` works from the first measurement on.

RUN/model.safetensors   the best weights so far by what is measured on held-out data; the newest when nothing is
RUN/tokenizer.json      or whatever files stand beside this model's weights
RUN/recipe.yaml         every setting of this run
RUN/run.json            versions, device, and the fingerprint of the data
RUN/metrics.jsonl       one line a step
RUN/previews/           samples drawn on the way
RUN/checkpoints/        where to go on from
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import secrets
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo import settings
from zoo.datasets import reading
from zoo.datasets.material import Material
from zoo.errors import TrainingError, UsageError, ZooWarning
from zoo.training import checkpoint, processes, recipe, start, versions
from zoo.training.fitting import Fitter, fit
from zoo.training.learner import Learner
from zoo.training.loop import train
from zoo.training.outputs import METRICS, continued, keep, keep_best, line, preview
from zoo.training.plan import FitPlan, Plan
from zoo.training.recipe import Recipe
from zoo.training.start import Start
from zoo.training.step import Step

RECIPE = "recipe.yaml"
ABOUT = "run.json"


@dataclass
class Run:
    """A run that is ready to train. best: the lowest measure on held-out data so far, whose name is `measure`, and
    best_step: after which step that was; 0 before.

    learner, rows: a `Learner` of rows by number, or a `Fitter` of passes over all of them.
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

    folder: new or empty, or with `force` one whose content is given up; as it was before when this raises.
    Of several processes, all call this and one writes. Raises UsageError, DataError, and what finding and loading a
    model raises.
    """
    state = processes.state(device)
    if not processes.is_main():
        processes.wait()
        return _opened(folder, device, offline)
    if not wanted.source:
        raise UsageError("say what to train on: --data, or data.source in the recipe")
    origin = start.find(wanted.start, offline=offline)
    rules: Any = settings.make(
        reading.rules_class(origin.family.modality), dict(wanted.data), what=f"data of {wanted.start}"
    )
    _check_config(origin, wanted)
    plan = _plan(origin, wanted)
    if isinstance(plan, Plan):
        plan.share(state.num_processes)
    with _new(folder, force=force):
        material = reading.read(origin.family.modality, wanted.source, rules, plan.seed, offline=offline)
        if origin.model is None:
            material.learn(folder)
        for name, path in start.companions(origin, offline=offline).items():
            shutil.copyfile(path, folder / name)
        whole = dataclasses.replace(wanted, data=settings.plain(rules))
        run = _prepare(whole, origin, material, folder, device, offline)
        about = versions.about(run.origin.plugin, device, run.rows.fingerprint, run.material.summary)
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        (folder / RECIPE).write_text(recipe.to_yaml(run.recipe), encoding="utf-8")
    processes.wait()
    return run


@contextmanager
def _new(folder: Path, *, force: bool) -> Iterator[None]:
    """The folder, empty; when the body raises it is as it was, and the run can be begun once more."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not force)):
        begun = (folder / RECIPE).is_file()
        ways = "go on there with --resume, give it up with --force, or name another"
        raise UsageError(
            f"{folder} is not an empty folder", hint=ways if begun else "name another, or --force"
        )
    old = None
    if folder.exists():
        old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
        folder.replace(old)
    try:
        folder.mkdir(parents=True)
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if old is not None:
            old.replace(folder)
        raise
    if old is not None:
        shutil.rmtree(old)


def abandon(run: Run) -> None:
    """Remove the folder of a run that failed before its first step: there is nothing in it to go on from."""
    if run.learner.step == 0:
        shutil.rmtree(run.folder)


def resume(folder: Path, *, device: str = "auto", offline: bool = False, source: str = "") -> Run:
    """The run of a folder, where its newest checkpoint that holds was; at step 0 when there is none.

    source: where the data is now, when it has been moved. Raises TrainingError when the folder holds no run, when the
    run keeps no checkpoints, or when the data is other than that trained on. Warns of checkpoints that are damaged.
    """
    processes.state(device)
    run = _opened(folder, device, offline, source)
    about = _about(folder)
    versions.warn_of_change(about, run.origin.plugin)
    found = checkpoint.newest(folder)
    if found is None and not run.plan.checkpoint_every:
        raise TrainingError(
            f"{folder} keeps no checkpoints to go on from: its plan.checkpoint_every is 0",
            hint=f"begin it again in another folder: --recipe {folder / RECIPE}",
        )
    trained_on = (
        found.notes["data"] if found else about.get("data", {}).get("fingerprint", run.rows.fingerprint)
    )
    if trained_on != run.rows.fingerprint:
        raise TrainingError(
            f"{run.recipe.source} is not the data that {folder} was trained on",
            hint="--data says where that is now",
        )
    if found is not None:
        try:
            run.learner.restore(checkpoint.read(found), found.step, found.notes)
        except TrainingError as error:
            raise TrainingError(f"{found.path}: {error}", hint=error.hint) from error
        run.best, run.measure = float(found.notes["best"]), str(found.notes["measure_name"])
        run.best_step = int(found.notes.get("best_step", 0))
    return run


def _about(folder: Path) -> dict[str, Any]:
    """What run.json says: it is there for people and to compare, so a run can do without."""
    path = folder / ABOUT
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        said = None
    if isinstance(said, dict):
        return said
    warnings.warn(f"{path} cannot be read: versions and data are not compared", ZooWarning, stacklevel=3)
    return {}


def _opened(folder: Path, device: str, offline: bool, source: str = "") -> Run:
    """The run of a folder at step 0."""
    if not (folder / RECIPE).is_file():
        hint = "start one without --resume, in a new or empty folder"
        raise TrainingError(f"{folder} has no {RECIPE}, so there is no run to go on with", hint=hint)
    wanted = recipe.read(folder / RECIPE)
    if source:
        wanted = dataclasses.replace(wanted, source=source)
    origin = start.find(wanted.start, offline=offline)
    modality = origin.family.modality
    rules: Any = settings.make(
        reading.rules_class(modality), dict(wanted.data), what=f"data of {wanted.start}"
    )
    seed = _plan(origin, wanted).seed
    material = reading.read(modality, wanted.source, rules, seed, offline=offline)
    return _prepare(wanted, origin, material, folder, device, offline)


def _check_config(origin: Start, wanted: Recipe) -> Any:
    said = {**origin.config, **wanted.config}
    return settings.make(origin.family.resolve("config"), said, what=f"config of {wanted.start}")


def _plan(origin: Start, wanted: Recipe) -> Plan | FitPlan:
    """The plan in the settings class that the family is trained by."""
    made: Plan | FitPlan = settings.make(
        origin.family.resolve("plan"), wanted.plan, what=f"plan of {wanted.start}"
    )
    return made


def _prepare(
    wanted: Recipe, origin: Start, material: Material, folder: Path, device: str, offline: bool
) -> Run:
    beside = {path.name: path for path in folder.iterdir() if path.is_file() and not _is_ours(path.name)}
    decided = material.bind(origin.family, beside)
    _require_fitting(origin, decided, wanted)
    wanted = dataclasses.replace(wanted, config={**wanted.config, **decided})
    config = _check_config(origin, wanted)
    plan = _plan(origin, wanted)
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


def _require_fitting(origin: Start, decided: Mapping[str, Any], wanted: Recipe) -> None:
    """A model with weights keeps its shape, so its data must have it; nor is what a person sets set otherwise."""
    for name, value in decided.items():
        made_for = origin.config.get(name, value) if origin.model is not None else value
        if made_for != value:
            raise UsageError(
                f"{wanted.source} has {name} {value}, but {wanted.start} was made for {name} {made_for}",
                hint="change how the data is read with --set data..., or train a new network of the family",
            )
        if (asked := wanted.config.get(name, value)) != value:
            raise UsageError(
                f"config.{name} is {asked!r}, but {wanted.source} decides that it is {value!r}",
                hint=f"leave config.{name} out, or change how the data is read with --set data...",
            )


def _is_ours(name: str) -> bool:
    return name in (RECIPE, ABOUT, METRICS) or ".safetensors" in name


def steps(run: Run) -> Iterator[Step]:
    """Train, yielding each step once what it brought is on the disk. Whoever stops asking can resume later.

    Raises TrainingError when a loss is not finite or memory runs out; the best weights and the last checkpoint stay.
    """
    plan, writes = run.plan, processes.is_main()
    with contextlib.ExitStack() as stack:
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
            yield step


def _made(run: Run) -> Iterator[Step]:
    if isinstance(run.learner, Fitter):
        return fit(run.learner, run.rows, run.material.evaluate)
    return train(run.learner, run.rows, run.material.evaluate, device=run.device)
