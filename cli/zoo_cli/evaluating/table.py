"""zoo eval for table models: nats a row and bits a column."""

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
    from zoo.evaluation.items import RowEvaluation

HELP = """Measure nats per row and bits per column on held-out rows, each with N and a 95% interval.

Both are minus log-likelihoods, of a density in the data's own units. Without --data, a run of `zoo train` is measured
on the rows that it held out. To a pipe: name, value, lower and upper end of the interval, N, what N counts, and seed,
divided by tabs.
"""


def command(target: Target | None) -> Callable[..., None]:
    """The function of `zoo eval` for a table model; see `zoo_cli.evaluating`."""
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
            help="A .csv, .tsv, .parquet or .npy file, a folder of them, or a built-in name; may be given again.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The column of --data that says how much a row counts.", show_default=False
        ),
    ] = None,
    changes: options.FileSettings = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=MOST_AT_ONCE, help="Rows computed together; changes speed alone."
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
    told = items.of_table(
        loaded, data or None, weights=weights, files=files, batch_size=batch_size, offline=offline
    )
    _show(told, as_json=as_json)
    broken = sum(not math.isfinite(value) for value in told.log_likelihoods.tolist())
    if broken:
        terminal.warn(
            f"the log-likelihood of {broken:,} of {told.rows:,} rows is no finite number: the weights are broken, or "
            "their dtype is too small for these values"
        )
        raise typer.Exit(1)


def _show(found: RowEvaluation, *, as_json: bool) -> None:
    measured = metrics.of_items(found)
    if as_json:
        terminal.out_json(_record(found, measured), indent=2)
    elif terminal.for_reading(streams.results()):
        rows = f"{found.rows:,} row{'s' * (found.rows != 1)}"
        columns = f"{found.columns:,} column{'s' * (found.columns != 1)}"
        over = f"over {rows}" if found.nats_per_row.low is not None else "none: too few rows"
        metrics.table(measured, f"{found.model} on {found.data}: {rows} of {columns}", f"intervals {over}")
    else:
        metrics.lines(measured)


def _record(found: RowEvaluation, measured: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": found.model,
        "data": found.data,
        "rows": found.rows,
        "columns": found.columns,
        "metrics": metrics.record(measured),
    }
