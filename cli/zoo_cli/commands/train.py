"""zoo train: train a model further, or a new network of a family, into a run folder that is itself a MODEL."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.errors import UsageError
from zoo.settings import MOST_AT_ONCE
from zoo_cli import completion, loading, options, terminal

if TYPE_CHECKING:
    from zoo.training.recipe import Recipe
    from zoo.training.run import Run
    from zoo.training.step import Step
    from zoo_cli.stopping import Stopping

_TIME_TO_SAY = 5.0  # seconds that a process waits before it says what the main one may be saying
_MOST_PROCESSES = 1024

HELP = """Train START on data, in the folder RUN.

Weights, recipe, metrics and checkpoints are written there.

START is a model, whose weights are trained on, or a family such as gpt2 or gmm, of which a new network is made. What
a family is fitted by, such as gmm and hmm by expectation maximisation, ends as soon as it has converged. The best
weights on held-out data are kept; `zoo sample RUN` works as soon as there are some. What a recipe file says,
--set and the options after it change. Ctrl-C saves first; --resume goes on to the same weights, or by other settings
where --set and the options say so.
"""


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    app.command("train", help=HELP)(_train)


def _starts(incomplete: str) -> list[str]:
    models = [name for name, _ in completion.models(incomplete)]
    return [*completion.families(incomplete), *models]


def _train(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="The run's folder.")],
    start: Annotated[
        str | None,
        typer.Argument(
            metavar="START", help="A model or a family.", autocompletion=_starts, show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            metavar="DATA",
            help="A built-in set such as shakespeare, a file, a folder, or hf:set.",
        ),
    ] = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="A recipe in YAML, such as a run's own.")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Training steps.")] = None,
    epochs: Annotated[
        float | None, typer.Option(metavar="X", help="Passes over the data, instead of --steps.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=MOST_AT_ONCE, help="Rows a step, over all processes."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", "-s", metavar="N", min=0, help="Random seed.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting, such as config.layers=2, plan.learning_rate=3e-4 or data.vocabulary=512.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue RUN from its last checkpoint.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what is in the folder RUN; asks if it is not a run.")
    ] = False,
    processes: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=_MOST_PROCESSES, help="Processes to share the work, one a GPU."),
    ] = 1,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write RUN/tensorboard for TensorBoard.")
    ] = False,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="auto or cpu.", rich_help_panel=options.COMMON)
    ] = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    yes: options.Yes = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    from zoo.training import processes as others
    from zoo.training import resuming
    from zoo.training import run as training
    from zoo.training import tensorboard as board
    from zoo_cli.stopping import Stopping

    others.only_cpu(device)  # refuses what cannot be before anything is written
    if tensorboard:
        board.require()
    asked = {"steps": steps, "epochs": epochs, "batch_size": batch_size, "seed": seed}
    assignments = [
        *(changes or ()),
        *(["plan.epochs=none"] if steps else ()),  # those of a recipe
        *(f"plan.{name}={value}" for name, value in asked.items() if value is not None),
    ]
    if resume and (start or recipe_file or force):
        raise UsageError("--resume goes on with RUN: it takes no START, --recipe or --force")
    if epochs is not None and not 0 < epochs < float("inf"):
        raise UsageError(f"--epochs is {epochs:g}, but must be {'finite and ' * (epochs > 1)}above 0")
    if steps and epochs:
        raise UsageError("--steps and --epochs both say how long to train: leave one out")
    main = others.is_main()
    if force and main:
        _require_consent(output, yes=yes)
    if processes > 1 and not others.launched():
        raise typer.Exit(_launched(processes, device, answered=force))
    with _said_once(main), Stopping() as stopping, loading.warnings_shown(main):
        if resume:
            run = resuming.resume(
                output, device=device, offline=offline, source=data or "", changes=assignments
            )
        else:
            wanted = _recipe(start, recipe_file, assignments, data, offline)
            _say_what_is_kept(output, quiet=quiet or not (force and main))
            run = training.begin(wanted, output, device=device, offline=offline, force=force)
        with closing(run):
            last = _watch(run, stopping, quiet=quiet or not main, tensorboard=tensorboard)
    others.finish()
    if stopping.asked and not run.finished:
        terminal.note(_how_to_resume(run), quiet=not main)
        raise typer.Exit(stopping.code)
    if main:
        _report(run, last, as_json=as_json, quiet=quiet)


@contextmanager
def _said_once(main: bool) -> Iterator[None]:
    """What all processes fail at is said by the main one: the launcher ends the others when that has failed."""
    try:
        yield
    except Exception:
        if not main:
            time.sleep(_TIME_TO_SAY)
        raise


def _require_consent(output: Path, *, yes: bool) -> None:
    """Ask before what is not a run is given up. Raises UsageError for what never is, or if nobody can be asked."""
    from zoo.training import folder

    if not output.is_dir() or not folder.content(output):
        return
    folder.require_expendable(output)
    strange = folder.strangers(output)
    if not strange or yes:
        return
    named = ", ".join(strange[:3]) + (f" and {len(strange) - 3} more" if len(strange) > 3 else "")
    if not terminal.is_terminal(sys.stdin):
        raise UsageError(
            f"{output} holds what is not of a run: {named}",
            hint="add --yes to delete it, or name another folder",
        )
    if not terminal.confirm(f"{output} holds what is not of a run: {named}. Delete it all?", yes=False):
        terminal.note("nothing was changed")
        raise typer.Exit(1)


def _say_what_is_kept(output: Path, *, quiet: bool) -> None:
    from zoo.training import folder

    if not quiet and output.is_dir() and folder.content(output):
        kept = folder.will_replace(output)
        terminal.note(f"what is in {output} now is kept in {kept} until the first step is made")


def _launched(processes: int, device: str, *, answered: bool) -> int:
    """This very command again, in so many processes; they tell themselves apart by what the launcher tells them."""
    import torch

    from zoo_cli import launching

    words = [*sys.argv[1:], *(["--yes"] if answered else [])]
    return launching.launch(words, processes, cpu=device == "cpu" or not torch.cuda.is_available())


def _recipe(
    start: str | None, file: Path | None, assignments: Sequence[str], data: str | None, offline: bool
) -> Recipe:
    from dataclasses import replace

    from zoo.datasets import reading, source
    from zoo.training import recipe
    from zoo.training import start as starts

    if file is None and start is None:
        raise UsageError("say what to train: a model, a family such as gpt2, or --recipe FILE")
    wanted = recipe.read(file) if file else recipe.Recipe(start or "")
    if start:
        wanted = replace(wanted, start=start)
    if data or wanted.source:
        wanted = replace(wanted, source=source.find(data or wanted.source, offline=offline).name)
    family = starts.find(wanted.start, offline=offline).family
    classes = family.resolve("config"), reading.rules_class(family.modality), family.resolve("plan")
    return recipe.changed(wanted, assignments, *classes)


def _watch(run: Run, stopping: Stopping, *, quiet: bool, tensorboard: bool) -> Step | None:
    """Train and show it; returns the last step, None when the run was finished already."""
    from zoo.training import outputs, processes
    from zoo.training import run as training
    from zoo.training import tensorboard as board
    from zoo_cli.training_view import TrainingView

    last = events = None
    with ExitStack() as stack:
        if tensorboard and processes.is_main():
            events = board.events(run.folder, run.learner.step)
            stack.callback(events.close)
        stopping.gently()
        view = stack.enter_context(TrainingView(run, quiet=quiet))
        for last in training.steps(run):
            view.show(last)
            if events:
                events.write(last)
            if processes.any_says(stopping.asked):
                stopping.asked = True  # on every process, whichever was told
                outputs.keep(run, last)
                break
    return last


def _how_to_resume(run: Run) -> str:
    return f"stopped and saved after step {run.learner.step}; go on with: zoo train --resume -o {run.folder}"


def _report(run: Run, last: Step | None, *, as_json: bool, quiet: bool) -> None:
    from zoo import api

    best = None if run.best == float("inf") else run.best
    if unfinished := _unfinished(run):
        terminal.warn(unfinished)
    if as_json:
        terminal.out_json(_summary(run, last, best), indent=2)
        return
    measured = f", {run.measure.replace('_', ' ')} {best:.4f}" if best is not None else ""
    if measured and run.best_step not in (0, run.learner.step):
        measured += f" after step {run.best_step}"
    ended = ", converged" if _converged(run) else ", not converged" if _unfinished(run) else ""
    terminal.out(f"{run.folder}: {run.learner.step} steps{ended}{measured}")
    if run.origin.family.modality in api.OPENED:
        terminal.note(f"try it: zoo sample {run.folder}", quiet=quiet)


def _converged(run: Run) -> bool:
    """Whether a fit ended because it changes nothing any more."""
    return bool(getattr(run.learner, "converged", False))


def _unfinished(run: Run) -> str:
    """What to say of a fit that did not end so."""
    return str(getattr(run.learner, "unfinished", ""))


def _summary(run: Run, last: Step | None, best: float | None) -> dict[str, Any]:
    return {
        "run": str(run.folder),
        "family": run.origin.family.name,
        "parameters": run.parameters,
        "steps": run.learner.step,
        "converged": _converged(run),
        "loss": last.loss if last and last.gradient_norm is not None else None,
        "losses": dict(last.losses) if last else {},
        "measure": run.measure or None,
        "best": best,
        "held_out_bits_per_byte": best if run.measure == "held_out_bits_per_byte" else None,
        "seconds": last.seconds if last else 0.0,
    }
