"""What a run leaves on the disk while it is trained: weights to hand out, checkpoints, previews, lines of metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo.training import checkpoint, processes, recipe
from zoo.training.fitting import CONVERGED
from zoo.training.step import Step
from zoo.weights import save

if TYPE_CHECKING:
    from zoo.training.run import Run

WEIGHTS = "model.safetensors"
METRICS = "metrics.jsonl"
PREVIEWS = "previews"


def keep_best(run: Run, step: Step) -> None:
    """Save the weights to hand out, if they are: the best measured, or the newest where no measure can choose."""
    plan = run.learner.plan
    adversaries = len(set(run.learner.turns)) > 1  # their losses rise and fall with each other's
    if step.results and not adversaries:
        run.measure, value = next(iter(step.results.items()))
        better = value < run.best  # never, for one that is not a number
        run.best = value if better else run.best
        run.best_step = step.step if better else run.best_step
        better = better or not getattr(plan, "keep_best", True)
    else:
        unmeasured = math.isinf(run.best)
        better = bool(step.results) or (unmeasured and step.due(plan.checkpoint_every))
    last = step.final and not (run.folder / WEIGHTS).is_file()  # nothing was ever measured as better
    if better or last:
        with run.learner.result() as network:
            if processes.is_main():
                _save(run, network, run.folder / WEIGHTS, _dtype(plan.save_dtype))


def _dtype(name: str) -> torch.dtype | None:
    """None keeps each tensor as it is."""
    return None if name == "auto" else getattr(torch, name)


def keep(run: Run, step: Step | None = None) -> None:
    """Write a checkpoint of where the run is; every process must ask. step: the one just made, with its results."""
    measured = next(iter(step.results.values()), None) if step else None
    notes = {
        "data": run.rows.fingerprint,
        "best": str(run.best),
        "best_step": run.best_step,
        "measure_name": run.measure,
        "measure": measured,
        "recipe": recipe.shareable(recipe.to_plain(run.recipe)),
        CONVERGED: getattr(run.learner, CONVERGED, False),
    }
    tensors = run.learner.tensors()
    with run.learner.result() as network:
        if processes.is_main():
            checkpoint.write(
                run.folder,
                run.learner.step,
                tensors,
                lambda path: _save(run, network, path, None),
                notes,
                keep=run.learner.plan.keep,
            )


def _save(run: Run, network: torch.nn.Module, path: Path, dtype: torch.dtype | None) -> None:
    said = {
        "recipe": json.dumps(recipe.shareable(recipe.to_plain(run.recipe)), sort_keys=True),
        "data": run.rows.fingerprint,
        "step": str(run.learner.step),
    }
    save.save(
        network,
        path,
        plugin=run.origin.plugin,
        family=run.origin.family.name,
        config=run.config,
        metadata=said,
        dtype=dtype,
    )


def preview(run: Run, step: Step) -> None:
    """Draw samples as they are after this step; every process must ask."""
    plan = run.learner.plan
    with run.learner.result() as network:
        if processes.is_main():
            network.eval()
            folder = run.folder / PREVIEWS
            folder.mkdir(exist_ok=True)
            stem = folder / f"step-{step.step:08d}"
            for _ in run.material.preview(network, plan.previews, plan.seed, stem):
                pass


def line(step: Step) -> str:
    """A step as a line of metrics.jsonl; JSON has no word for what is infinite, as an impossible row's measure is."""
    said = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in metrics(step).items()
    }
    return json.dumps(said) + "\n"


def metrics(step: Step) -> dict[str, Any]:
    """All that a step says, by name."""
    gradients = {"learning_rate": step.learning_rate, "gradient_norm": step.gradient_norm}
    return {
        "step": step.step,
        "epoch": round(step.epoch, 6),
        **step.losses,
        **{name: value for name, value in gradients.items() if value is not None},
        f"{step.unit}_per_second": step.speed,
        "seconds": step.seconds,
        **step.results,
    }


def continued(path: Path, done: int) -> Path:
    """The metrics without lines of steps that will be made again, and without what is no whole line."""
    aside = path.with_name(f".{path.name}.partial")
    try:
        with aside.open("wb") as file:
            file.writelines(line for line, _ in lines(path, done))
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return path


def lines(path: Path, done: int) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines of the metrics of steps 1 .. done that are whole, as they are and as what they say; none of no file.

    A power cut may leave gaps, a line cut short, or bytes that were never written.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for raw in file:
            try:
                said = json.loads(raw)
            except (ValueError, RecursionError):
                continue
            if isinstance(said, dict) and _is_step(said.get("step"), done):
                yield raw.removesuffix(b"\n") + b"\n", said


def _is_step(step: Any, last: int) -> bool:
    return type(step) is int and 0 < step <= last
