"""Going on with a run where its newest checkpoint was, by its recipe and the changes that a person says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import TrainingError, UsageError, ZooError
from zoo.training import checkpoint, processes, recipe, start, versions
from zoo.training.checkpoint import Checkpoint
from zoo.training.folder import ABOUT, RECIPE, replaced, take
from zoo.training.recipe import Recipe
from zoo.training.run import GOES_BY, Run, opened, write_down
from zoo.training.start import Start


def resume(
    folder: Path,
    *,
    device: str = "auto",
    offline: bool = False,
    source: str = "",
    changes: Sequence[str] = (),
) -> Run:
    """The run of a folder, where its newest checkpoint that holds was; at step 0 when there is none.

    What it started from is needed only while there is no checkpoint. source: where the data is now, when it has been
    moved. changes: settings that are other from here on, such as "plan.steps=900".
    Raises TrainingError when the folder holds no run or another process writes to it, when the run keeps no
    checkpoints, when its recipe says what neither the run went by nor `changes` say, or when the data is other than
    that trained on. Warns of checkpoints that are damaged.
    """
    processes.state(device)
    if not (folder / RECIPE).is_file():
        hint = "start one without --resume, in a new or empty folder"
        if left := replaced(folder):
            hint = f"{left[0]} has what was here before a run with --force was killed: move it back"
        raise TrainingError(f"{folder} has no {RECIPE}, so there is no run to go on with", hint=hint)
    held = take(folder) if processes.is_main() else None
    try:
        run = _resumed(folder, device, offline, source, changes)
    except BaseException:
        if held is not None:
            held.close()
        raise
    run.held = held
    return run


def _resumed(folder: Path, device: str, offline: bool, source: str, changes: Sequence[str]) -> Run:
    about, said = versions.read(folder / ABOUT), recipe.read(folder / RECIPE)
    found = checkpoint.newest(folder)
    if found is None and (left := replaced(folder)):
        raise TrainingError(
            f"{left[0]} has what was here before a run with --force was killed",
            hint="move it back, or begin again with --force, which gives it up",
        )
    origin = _origin(folder, said, found, offline)
    if found is None and not start.plan(origin, said).checkpoint_every:
        raise TrainingError(
            f"{folder} keeps no checkpoints to go on from: its plan.checkpoint_every is 0",
            hint=f"begin it again in another folder: --recipe {folder / RECIPE}",
        )
    known = about.get(GOES_BY) or (found.notes.get("recipe") if found else None)
    went_by = known if isinstance(known, dict) else {}
    wanted = _accepted(said, went_by, origin, changes, folder / RECIPE)
    run = opened(dataclasses.replace(wanted, source=source or said.source), origin, folder, device, offline)
    versions.warn_of_change(about, run.origin.plugin)
    trained_on = found.notes["data"] if found else about.get("data", {}).get("fingerprint")
    if trained_on not in (None, run.rows.fingerprint):
        raise TrainingError(
            f"{run.recipe.source} is not the data that {folder} was trained on",
            hint="--data says where that is now; what it is read by cannot change",
        )
    if found is not None:
        if changes and run.plan.steps is not None and run.plan.steps < found.step:
            raise UsageError(
                f"plan.steps is {run.plan.steps}, but the run has made {found.step:,} steps",
                hint="say as many or more, or begin another run",
            )
        _restore(run, found)
    if changes and processes.is_main():
        write_down(run, about)
    return run


def _origin(folder: Path, said: Recipe, found: Checkpoint | None, offline: bool) -> Start:
    if found is not None:
        return start.of_checkpoint(found.path / checkpoint.WEIGHTS)
    try:
        return start.find(said.start, offline=offline)
    except ZooError as error:
        raise TrainingError(
            f"{folder} has no checkpoint yet, so it needs what it starts from: {error}", hint=error.hint
        ) from error


def _accepted(
    said: Recipe, went_by: Mapping[str, Any], origin: Start, changes: Sequence[str], path: Path
) -> Recipe:
    """The whole recipe with the changes. Raises TrainingError when it was edited otherwise since the run began."""
    wanted = recipe.changed(said, changes, *start.classes(origin))
    data, plan = went_by.get("data", {}), went_by.get("plan", {})
    if "split_seed" not in data and "seed" in plan:  # an older run's: the plan's seed divided the data
        wanted = dataclasses.replace(wanted, data={"split_seed": plan["seed"], **wanted.data})
    whole = start.whole(origin, wanted)
    recipe.require_unedited(path, went_by, whole, changes)
    return whole


def _restore(run: Run, found: Checkpoint) -> None:
    try:
        run.learner.restore(checkpoint.read(found), found.step, found.notes)
    except TrainingError as error:
        hint = error.hint or "the shape of the network and plan.average stay as they are in a run"
        raise TrainingError(f"{found.path}: {error}", hint=hint) from error
    run.best, run.measure = float(found.notes["best"]), str(found.notes["measure_name"])
    run.best_step = int(found.notes.get("best_step", 0))
