"""A training run and its folder, which is also a MODEL: `zoo sample RUN` works from the first measurement on.

RUN/model.safetensors       the best weights so far by held-out bits per byte; the newest when nothing is held out
RUN/tokenizer.json          or whatever files the model's tokenizer has
RUN/recipe.yaml             every setting of this run
RUN/metrics.jsonl           one line a step
RUN/checkpoint.safetensors  where to go on from
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo import settings
from zoo.datasets import text as data
from zoo.errors import DataError, TrainingError, UsageError
from zoo.evaluation import text as bits
from zoo.protocols import Tokenizer
from zoo.training import checkpoint, recipe, start, vocabulary
from zoo.training.loop import Learner, Step, train
from zoo.training.recipe import Recipe
from zoo.training.start import Start
from zoo.weights import save

WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
RECIPE = "recipe.yaml"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.safetensors"
BITS = "held_out_bits_per_byte"


@dataclass
class Run:
    """A run that is ready to train. best: the lowest held-out bits per byte so far."""

    folder: Path
    recipe: Recipe
    origin: Start
    config: Any
    tokenizer: Tokenizer
    split: data.Split
    batches: data.TextBatches
    learner: Learner
    best: float = math.inf

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.learner.network.parameters())

    @property
    def epochs(self) -> float:
        """How often the plan goes through the text."""
        return self.recipe.plan.steps * self.recipe.plan.batch_size / self.batches.windows


def begin(wanted: Recipe, source: Path, folder: Path, *, offline: bool = False) -> Run:
    """Read the data, learn or copy the tokenizer, make or load the network, and write down the whole recipe.

    source: a text file, or a folder of them. folder: new or empty; as it was before when this raises.
    Raises UsageError, DataError, and what finding and loading a model raises.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        begun = (folder / RECIPE).is_file()
        hint = "name another, or go on there with --resume" if begun else "name another"
        raise UsageError(f"{folder} is not an empty folder", hint=hint)
    origin = start.find(wanted.start, offline=offline)
    split = data.split(data.read_documents(source), wanted.data, wanted.plan.seed)
    _check_config(origin, wanted)
    with _emptied_on_failure(folder):
        if origin.model is None:
            texts = (document.text for document in split.train)
            vocabulary.learn(texts, wanted.data.vocabulary, folder / TOKENIZER)
        for name, path in start.tokenizer_files(origin, offline=offline).items():
            shutil.copyfile(path, folder / name)
        run = _prepare(wanted, origin, split, folder, offline)
        (folder / RECIPE).write_text(recipe.to_yaml(run.recipe), encoding="utf-8")
    return run


@contextmanager
def _emptied_on_failure(folder: Path) -> Iterator[None]:
    """The folder, which is new or empty; so it is again when the body raises, and the run can be begun once more."""
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for written in folder.iterdir():
            written.unlink()
        if new:
            folder.rmdir()
        raise


def resume(source: Path, folder: Path, *, offline: bool = False) -> Run:
    """The run of a folder, where its checkpoint was; at step 0 when it was stopped before the first one.

    Raises TrainingError when the folder holds no run, when the run keeps no checkpoints, or when the text is another
    than that of the checkpoint.
    """
    if not (folder / RECIPE).is_file():
        hint = "start one without --resume, in a new or empty folder"
        raise TrainingError(f"{folder} has no {RECIPE}, so there is no run to go on with", hint=hint)
    wanted = recipe.read(folder / RECIPE)
    stored = (folder / CHECKPOINT).is_file()
    if not stored and not wanted.plan.checkpoint_every:
        raise TrainingError(
            f"{folder} keeps no checkpoints to go on from: its plan.checkpoint_every is 0",
            hint=f"begin it again in another folder: --recipe {folder / RECIPE}",
        )
    origin = start.find(wanted.start, offline=offline)
    split = data.split(data.read_documents(source), wanted.data, wanted.plan.seed)
    run = _prepare(wanted, origin, split, folder, offline)
    if not stored:
        return run
    notes = checkpoint.read(run.learner, folder / CHECKPOINT)
    if notes.get("data") != run.batches.fingerprint:
        raise TrainingError(f"{source} is not the text that {folder} was trained on")
    run.best = float(notes.get("best", "inf"))
    return run


def _check_config(origin: Start, wanted: Recipe) -> Any:
    said = {**origin.config, **wanted.config}
    return settings.make(origin.family.resolve("config"), said, what=f"config of {wanted.start}")


def _prepare(wanted: Recipe, origin: Start, split: data.Split, folder: Path, offline: bool) -> Run:
    files = {path.name: path for path in folder.iterdir() if ".safetensors" not in path.name}
    tokenizer: Tokenizer | None = origin.family.resolve("tokenizer")(files)
    if tokenizer is None:
        raise DataError(f"{wanted.start} comes without a tokenizer, so text cannot be encoded for it")
    if origin.model is None:
        wanted = dataclasses.replace(wanted, config={**wanted.config, "vocabulary": tokenizer.vocabulary})
    config = _check_config(origin, wanted)
    wanted = dataclasses.replace(wanted, config=settings.plain(config))
    plan = wanted.plan
    network = start.network(origin, config, plan.seed, offline=offline)
    context: int = network.context  # type: ignore[assignment] # zoo.protocols.LanguageModel
    window = wanted.data.window or context
    if window > context:
        raise UsageError(f"data.window is {window}, but the network's context is {context} tokens")
    batches = data.TextBatches(data.encode(split.train, tokenizer), window, plan.batch_size, plan.seed)
    learner = Learner(network, plan)
    return Run(folder, wanted, origin, config, tokenizer, split, batches, learner)


def steps(run: Run, *, device: str = "auto") -> Iterator[Step]:
    """Train, yielding each step once what it brought is on the disk. Whoever stops asking can resume later.

    Raises TrainingError when a loss is not finite; the best weights and the last checkpoint stay.
    """
    plan, texts = run.recipe.plan, [document.text for document in run.split.held_out]

    def evaluate(network: nn.Module) -> dict[str, float]:
        found = bits.bits_per_byte(network, run.tokenizer, texts, window=run.batches.window)
        return {BITS: found.per_byte}

    with _continued(run.folder / METRICS, run.learner.step).open("a", encoding="utf-8", buffering=1) as log:
        for step in train(run.learner, run.batches, plan, evaluate if texts else None, device=device):
            log.write(_line(step))
            if step.results.get(BITS, math.inf) < run.best:
                run.best = step.results[BITS]
                _save(run)
            if plan.due(plan.checkpoint_every, step.step):
                if not texts:
                    _save(run)
                if plan.checkpoint_every:
                    notes = {"best": repr(run.best), "data": run.batches.fingerprint}
                    checkpoint.write(run.learner, run.folder / CHECKPOINT, notes)
            yield step


def _save(run: Run) -> None:
    save.save(
        run.learner.result,
        run.folder / WEIGHTS,
        plugin=run.origin.plugin,
        family=run.origin.family.name,
        config=run.config,
        dtype=getattr(torch, run.recipe.plan.save_dtype),
    )


def _line(step: Step) -> str:
    said = dataclasses.asdict(step)
    results = said.pop("results")
    return json.dumps({**said, **results}) + "\n"


def _continued(path: Path, done: int) -> Path:
    """The metrics without lines of steps that will be made again, the last of which may be cut short."""
    lines = (
        path.read_text(encoding="utf-8").splitlines(keepends=True)[:done] if done and path.is_file() else []
    )
    aside = path.with_suffix(".partial")
    aside.write_text("".join(lines), encoding="utf-8")
    aside.replace(path)
    return path
