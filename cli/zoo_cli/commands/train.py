"""zoo train: train a model further, or a new network of a family, into a run folder that is itself a MODEL."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.errors import UsageError
from zoo_cli import completion, human, options, terminal

if TYPE_CHECKING:
    from zoo.training.loop import Step
    from zoo.training.recipe import Recipe
    from zoo.training.run import Run

HELP = """Train START on text, and write weights, tokenizer, recipe and metrics into the folder RUN.

START is a model, whose weights are trained on, or a family such as gpt2, of which a new network is made. The best
weights on held-out text are kept; `zoo sample RUN` works as soon as there are some. What a recipe file says,
--set and the options after it change.
"""

_LINES = 20  # of progress where no bar can be drawn, beside those with a measurement


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    app.command("train", help=HELP)(_train)


def _starts(incomplete: str) -> list[str]:
    models = [name for name, _ in completion.models(incomplete)]
    return [*completion.families(incomplete), *models]


def _train(
    data: Annotated[
        Path, typer.Option("--data", "-d", metavar="PATH", help="A text file, or a folder of .txt files.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="The run's folder.")],
    start: Annotated[
        str | None,
        typer.Argument(
            metavar="START", help="A model or a family.", autocompletion=_starts, show_default=False
        ),
    ] = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="A recipe in YAML, such as a run's own.")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Changes of the weights.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", min=1, help="Rows a step.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", "-s", metavar="N", min=0, help="What chance depends on.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting, such as config.layers=2, plan.learning_rate=3e-4 or data.vocabulary=512.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with RUN where it was stopped.")] = False,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="auto or cpu.", rich_help_panel=options.COMMON)
    ] = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    from zoo.training import loop
    from zoo.training import run as training

    loop.only_cpu(device)  # refuses what cannot be before anything is written
    asked = {"steps": steps, "batch_size": batch_size, "seed": seed}
    assignments = [
        *(changes or ()),
        *(f"plan.{name}={value}" for name, value in asked.items() if value is not None),
    ]
    if resume:
        if start or recipe_file or assignments:
            raise UsageError("--resume goes on with RUN as it was: it takes no START, --recipe or settings")
        run = training.resume(data, output, offline=offline)
    else:
        run = training.begin(_recipe(start, recipe_file, assignments, offline), data, output, offline=offline)
    last = _watch(run, training.steps(run, device=device), quiet=quiet)
    if as_json:
        terminal.out_json(_summary(run, last), indent=2)
    else:
        measured = f", held out {run.best:.4f} bits per byte" if run.split.held_out else ""
        terminal.out(f"{output}: {run.learner.step} steps{measured}")
        terminal.note(f"try it: zoo sample {output}", quiet=quiet)


def _recipe(start: str | None, file: Path | None, assignments: Sequence[str], offline: bool) -> Recipe:
    from dataclasses import replace

    from zoo.training import recipe
    from zoo.training import start as starts

    if file is None and start is None:
        raise UsageError("say what to train: a model, a family such as gpt2, or --recipe FILE")
    wanted = recipe.read(file) if file else recipe.Recipe(start or "")
    if start:
        wanted = replace(wanted, start=start)
    config_class = starts.find(wanted.start, offline=offline).family.resolve("config")
    return recipe.changed(wanted, assignments, config_class)


def _watch(run: Run, steps: Iterable[Step], *, quiet: bool) -> Step | None:
    """Show the steps as they come; returns the last, None when the run was finished already."""
    plan, last = run.recipe.plan, None
    terminal.note(
        f"{human.count(run.parameters)} parameters, {len(run.batches.ids)} tokens, {plan.steps} steps of "
        f"{plan.batch_size} x {run.batches.window} tokens: {run.epochs:.2g} times through the text",
        quiet=quiet,
    )
    try:
        with _bar(run, quiet=quiet) as bar:
            for last in steps:
                if bar:
                    bar.update(0, completed=last.step, description=_line(last))
                if last.results or (not bar and plan.due(max(1, plan.steps // _LINES), last.step)):
                    terminal.note(f"step {last.step}: {_line(last)}{_results(last)}", quiet=quiet)
    except KeyboardInterrupt:
        terminal.note(_stopped(run), quiet=quiet)
        raise
    return last


def _stopped(run: Run) -> str:
    from zoo.training.run import CHECKPOINT

    if (run.folder / CHECKPOINT).is_file():
        return "stopped; --resume goes on from the last checkpoint"
    if run.recipe.plan.checkpoint_every:
        return "stopped before the first checkpoint; --resume begins again"
    return "stopped; a run whose plan.checkpoint_every is 0 cannot be resumed"


def _line(step: Step) -> str:
    return f"loss {step.loss:.3f}, {step.tokens_per_second:.0f} tokens/s"


def _results(step: Step) -> str:
    return "".join(f", {name.replace('_', ' ')} {value:.4f}" for name, value in step.results.items())


@contextmanager
def _bar(run: Run, *, quiet: bool) -> Iterator[Any]:
    """A rich progress bar with one task, 0; None where nobody watches."""
    if quiet or not terminal.is_terminal(sys.stderr):
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=terminal.console(sys.stderr), transient=True) as bar:
        bar.add_task("", total=run.recipe.plan.steps, completed=run.learner.step)
        yield bar


def _summary(run: Run, last: Step | None) -> dict[str, Any]:
    best = None if run.best == float("inf") else run.best
    return {
        "run": str(run.folder),
        "family": run.origin.family.name,
        "parameters": run.parameters,
        "steps": run.learner.step,
        "loss": last.loss if last else None,
        "held_out_bits_per_byte": best,
        "seconds": last.seconds if last else 0.0,
    }
