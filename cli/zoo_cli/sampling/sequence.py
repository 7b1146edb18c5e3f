"""zoo sample for sequence models: text as it is drawn, other frames as CSV or drawn for a person, or saved."""

from __future__ import annotations

import collections
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.errors import UsageError
from zoo.modality.sequence import SequenceControls
from zoo.targets import Target
from zoo_cli import flags, interrupts, model_options, options, prompts, saving, streams, terminal

if TYPE_CHECKING:
    from zoo.modality.sequence_format import Format
    from zoo.modality.sequence_model import SequenceModel
    from zoo.modality.sequence_samples import SequenceSample
    from zoo_cli.text_output import Output

_PICTURE = ".png"
_LINES = ".jsonl"
_TEXT = ".txt"


@dataclass(frozen=True)
class _Shown:
    """How the samples are shown. saved: where they go instead. with_prompt: whether text begins with its prompt.

    say: goes through what is drawn and says the random seed first.
    """

    saved: Path | None
    states: bool
    with_prompt: bool
    as_json: bool
    quiet: bool
    replace: bool
    say: Callable[[Iterable[Any]], Iterator[Any]]


def command(target: Target | None, controls_class: type[SequenceControls], panel: str) -> Callable[..., None]:
    """The function of `zoo sample` for a sequence model, with its controls as options; see `zoo_cli.sampling`."""
    return flags.with_settings(
        functools.partial(_sample, target, controls_class), controls_class, into="asked", panel=panel
    )


def _sample(
    found: Target | None,
    controls_class: type[SequenceControls],
    model: options.Model,
    asked: dict[str, Any],
    word: prompts.Word = None,
    prefix: Annotated[
        Path | None,
        typer.Option(
            "--prefix", metavar="FILE", help="Go on from the sequence in a text, CSV or array file."
        ),
    ] = None,
    no_prompt: prompts.Hidden = False,
    count: options.Count = 1,
    seed: options.Seed = None,
    start: options.Start = 0,
    batch_size: options.BatchSize = None,
    states: Annotated[
        bool, typer.Option("--states", help="Also tell the hidden state of each frame.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Save to FILE.csv, .tsv, .npy, .jsonl, a plot .png; text to FILE.txt or a folder.",
        ),
    ] = None,
    revision: options.Revision = "",  # noqa: ARG001 - already used, to find `found`
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    yes: options.Yes = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    from zoo import settings
    from zoo_cli.loading import chosen_seed, load

    found = model_options.after(found, "sample", model)
    asked["prompt"] = prompts.given(word, asked.get("prompt"), prefix, file_option="--prefix")
    controls = settings.make(controls_class, asked, what=f"zoo sample {found.name}")
    saved = _place(output, replace=yes) if output else None
    seed, say = chosen_seed(seed, quiet=quiet or as_json)
    loaded: SequenceModel = load(found, device=device, dtype=dtype, offline=offline, quiet=quiet)
    from zoo.modality.sequence_batches import BATCH_SIZE
    from zoo_cli import sequence_input

    given = sequence_input.one(loaded, prefix) if prefix else controls.prompt
    given = loaded.prompt(given) if isinstance(given, str) else given
    how: dict[str, Any] = {
        "count": count,
        "seed": seed,
        "start": start,
        "batch_size": batch_size or BATCH_SIZE,
        "controls": controls,
    }
    is_folder = saved is not None and not saved.suffix
    if is_folder and not loaded.format.text:
        raise UsageError(
            f"cannot write to {output}: only text is saved into a folder",
            hint="name a file such as drawn.csv",
        )
    shown = _Shown(saved, states, not no_prompt, as_json, quiet, yes, say)
    if loaded.format.text and not states and (saved is None or is_folder or saved.suffix == _LINES):
        _stream(loaded, given, how, shown)
    else:
        _send(loaded, given, how, shown)
    if saved is not None:
        terminal.note(f"saved {count} sample{'s' * (count != 1)} to {output}", quiet=quiet)


def _place(path: Path, *, replace: bool) -> Path:
    """Where the samples of `-o path` go; nothing is written yet. Raises UsageError for what cannot be written."""
    from zoo.modality.sequence_samples import SUFFIXES

    path = path.expanduser()
    kind = path.suffix.lower()
    if not kind:
        return saving.saved(path, replace=replace).path
    if kind not in (*SUFFIXES, _PICTURE):
        raise UsageError(
            f"cannot write samples to {path}",
            hint=f"-o takes a file that ends in {', '.join((*SUFFIXES, _PICTURE))}, or for text a folder",
        )
    if kind == _PICTURE:
        from zoo.modality.plots import require_figure

        require_figure()
    saving.check_file(path, replace=replace)
    return path.resolve()


def _stream(model: SequenceModel, prompt: Any, how: dict[str, Any], shown: _Shown) -> None:
    """Text as it is drawn, as text models write it."""
    from zoo_cli import text_output

    outputs: list[Output] = []
    if shown.saved is not None:
        outputs.append(saving.saved(shown.saved, replace=shown.replace, with_prompt=shown.with_prompt))
        if terminal.is_terminal(sys.stderr) and not shown.quiet:
            outputs.append(text_output.Counter(how["count"]))
    if shown.as_json:
        outputs.append(text_output.JsonLines())
    elif shown.saved is None:
        before = prompt if shown.with_prompt and prompt else ""
        outputs.append(text_output.Reading(before, headers=how["count"] > 1))
    done = text_output.Tally()
    try:
        text_output.send(shown.say(model.stream(prompt, **how)), how["start"], [*outputs, done])
    except KeyboardInterrupt:
        raise saving.interrupted(done.samples, how["count"], shown.saved) from None


def _send(model: SequenceModel, prompt: Any, how: dict[str, Any], shown: _Shown) -> None:
    """Whole samples, shown one after the other, or saved all together."""
    from zoo.modality import sequence_samples as written
    from zoo_cli import sequence_output

    saved, states = shown.saved, shown.states
    if saved is not None:
        written.check(saved, model.format)
    samples = shown.say(model.samples(prompt, **how))
    show = sequence_output.as_json if shown.as_json else _shown(saved)
    if show is not None:
        samples = show(samples, model.format, states=states)
    if saved is None:
        collections.deque(samples, maxlen=0)
        return
    kept, count = [], how["count"]
    try:
        for sample in _counted(samples, count, quiet=shown.quiet):
            kept.append(sample)
    except KeyboardInterrupt:
        if not kept:
            raise saving.interrupted(0, count, saved) from None
        interrupts.heard()
    if not shown.with_prompt and saved.suffix.lower() == _TEXT:
        kept = [dataclasses.replace(sample, prompt=None) for sample in kept]
    _save(saved, kept, model, states=states)
    if len(kept) < count:
        raise saving.interrupted(len(kept), count, saved)


def _shown(saved: Path | None) -> Callable[..., Iterator[SequenceSample]] | None:
    from zoo_cli import sequence_output

    if saved is not None:
        return None
    return (
        sequence_output.for_reading if terminal.for_reading(streams.results()) else sequence_output.as_table
    )


def _counted(samples: Iterator[SequenceSample], count: int, *, quiet: bool) -> Iterator[SequenceSample]:
    """The samples, and on a terminal how many there are yet."""
    if quiet or not terminal.is_terminal(sys.stderr):
        yield from samples
        return
    for done, sample in enumerate(samples, 1):
        terminal.status(f"{done} of {count} samples")
        yield sample
    terminal.status("")


def _save(path: Path, samples: list[SequenceSample], model: SequenceModel, *, states: bool) -> None:
    from zoo.datasets import previews
    from zoo.modality.sequence_samples import content

    form: Format = model.format
    if path.suffix.lower() == _PICTURE:
        from zoo.modality.sequence_plots import picture

        made = picture(samples, form, saving.title(model))
    else:
        made = content(path, samples, form, states=states)
    path.parent.mkdir(parents=True, exist_ok=True)
    previews.write(path, made)
