"""zoo eval for sequence models: nats a frame of numbers; bits a symbol and nats a sequence of symbols."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.settings import MOST_AT_ONCE
from zoo.targets import Target
from zoo_cli import flags, model_options, options, streams, terminal
from zoo_cli.evaluating import metrics

if TYPE_CHECKING:
    from zoo.evaluation.items import SequenceEvaluation

HELP = """Measure held-out sequences: nats per frame of numbers, or bits per symbol and nats per sequence.

Each has N and, where there is enough data for one, a 95% interval. Nats are minus log-likelihoods, of numbers those
of a density in the data's own units. Without --data, a run of `zoo train` is measured on what it held out. To a pipe:
name, value, lower and upper end of the interval, N, what N counts, and seed, divided by tabs.
"""


def command(target: Target | None) -> Callable[..., None]:
    """The function of `zoo eval` for a sequence model; see `zoo_cli.evaluating`."""
    return flags.bound(_eval, target)


def _eval(
    found: Target | None,
    model: options.Model,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="D",
            help="A text file, a table or an array, a folder of them, or a built-in name; may be given again.",
        ),
    ] = None,
    changes: options.FileSettings = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=MOST_AT_ONCE, help="Sequences computed together; changes speed alone."
        ),
    ] = None,
    revision: options.Revision = "",  # noqa: ARG001 - already used, to find `found`
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    from zoo.evaluation import items
    from zoo_cli.loading import load

    files = options.file_rules(changes)
    target = model_options.after(found, "eval", model)
    loaded = load(target, device=device, dtype=dtype, offline=offline, quiet=quiet)
    told = items.of_sequences(loaded, data or None, files=files, batch_size=batch_size, offline=offline)
    _show(told, as_json=as_json)
    _warn(told)


def _show(found: SequenceEvaluation, *, as_json: bool) -> None:
    measured = metrics.of_items(found)
    if as_json:
        terminal.out_json(_record(found, measured), indent=2)
    elif terminal.for_reading(streams.results()):
        units = f"{found.frames:,} {found.unit}{'s' * (found.frames != 1)}"
        metrics.table(measured, f"{found.model} on {found.data}: {_several(found)}, {units}", _over(found))
    else:
        metrics.lines(measured)


def _several(found: SequenceEvaluation) -> str:
    return f"{found.sequences:,} sequence{'s' * (found.sequences != 1)}"


def _over(found: SequenceEvaluation) -> str:
    """What the intervals are taken over."""
    if found.nats_per_frame.low is None:
        return f"intervals none: too few {found.unit}s" if math.isfinite(found.nats_per_frame.value) else ""
    if found.blocks == found.sequences:
        return f"intervals over {_several(found)}"
    return f"intervals over {found.blocks} runs of {found.unit}s"


def _warn(found: SequenceEvaluation) -> None:
    """Say which sequences the model thinks impossible. What is not a number means broken weights: exit code 1."""
    values = found.log_likelihoods.tolist()
    impossible = sum(value == -math.inf for value in values)
    if impossible:
        terminal.warn(
            f"{impossible:,} of {_several(found)} {'is' if impossible == 1 else 'are'} impossible under the model: "
            "there is a symbol or a step that the data of the fit never had"
        )
    broken = sum(math.isnan(value) for value in values)
    if broken:
        terminal.warn(
            f"the log-likelihood of {broken:,} of {_several(found)} is no number: the weights are broken, or their "
            "dtype is too small for them"
        )
        raise typer.Exit(1)


def _record(found: SequenceEvaluation, measured: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": found.model,
        "data": found.data,
        "sequences": found.sequences,
        "frames": found.frames,
        "blocks": found.blocks,
        "metrics": metrics.record(measured),
    }
