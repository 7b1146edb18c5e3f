"""zoo sample for text models: text as it arrives, or saved."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.errors import UsageError
from zoo.modality.text import TextControls
from zoo.targets import Target
from zoo_cli import flags, model_options, options, prompts, terminal

if TYPE_CHECKING:
    from zoo_cli.text_output import Output


def command(target: Target | None, controls_class: type[TextControls], panel: str) -> Callable[..., None]:
    """The function of `zoo sample` for a text model, with its controls as options; see `zoo_cli.sampling`."""
    return flags.with_settings(
        functools.partial(_sample, target, controls_class), controls_class, into="asked", panel=panel
    )


def _sample(
    target: Target | None,
    controls_class: type[TextControls],
    model: options.Model,
    asked: dict[str, Any],
    word: prompts.Word = None,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompt-file", metavar="FILE", help="Read the prompt from a file.")
    ] = None,
    no_prompt: prompts.Hidden = False,
    count: options.Count = 1,
    seed: options.Seed = None,
    start: options.Start = 0,
    batch_size: options.BatchSize = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="Save to FILE.jsonl, or to a folder of text files."
        ),
    ] = None,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Compile the decoding: faster after a slow first start.")
    ] = False,
    revision: options.Revision = "",  # noqa: ARG001 - already used, to find `target`
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    yes: options.Yes = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    from zoo import settings
    from zoo_cli import saving, text_output
    from zoo_cli.loading import chosen_seed, load

    target = model_options.text_model(target, "sample", model)
    asked["prompt"] = prompts.given(word, asked.get("prompt"), prompt_file, file_option="--prompt-file")
    if prompt_file is not None:
        asked["prompt"] = prompts.of_file(prompt_file)
    controls = settings.make(controls_class, asked, what=f"zoo sample {target.name}")
    if controls.logprobs is not None and not as_json and output is None:
        raise UsageError("--logprobs is told in JSON only", hint="add --json, or save with -o")
    saved = saving.saved(output, replace=yes, with_prompt=not no_prompt) if output else None
    outputs = _outputs(saved, "" if no_prompt else controls.prompt, count, as_json=as_json, quiet=quiet)
    draws = not controls.greedy and controls.temperature > 0
    seed, say = chosen_seed(seed, quiet=quiet or as_json or not draws)
    loaded = load(target, device=device, dtype=dtype, offline=offline, compile_=compile_, quiet=quiet)
    from zoo.modality.text_model import BATCH_SIZE

    pieces = loaded.stream(
        count=count, seed=seed, start=start, batch_size=batch_size or BATCH_SIZE, controls=controls
    )
    done = text_output.Tally()
    try:
        text_output.send(say(pieces), start, [*outputs, done])
    except KeyboardInterrupt:
        raise saving.interrupted(done.samples, count, output) from None
    if saved is not None:
        terminal.note(f"saved {count} sample{'s' * (count != 1)} to {output}", quiet=quiet)


def _outputs(saved: Output | None, prompt: str, count: int, *, as_json: bool, quiet: bool) -> list[Output]:
    """Where the samples go: what is saved is not shown as well, unless as JSON."""
    from zoo_cli import text_output

    outputs: list[Output] = [] if saved is None else [saved]
    if saved is not None and terminal.is_terminal(sys.stderr) and not quiet:
        outputs.append(text_output.Counter(count))
    if as_json:
        outputs.append(text_output.JsonLines())
    elif saved is None:
        outputs.append(text_output.Reading(prompt, headers=count > 1))
    return outputs
