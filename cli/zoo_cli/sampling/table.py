"""zoo sample for table models: rows as CSV, as a table or pictures on a terminal, or saved."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.errors import UsageError
from zoo.targets import Target
from zoo_cli import flags, model_options, options, saving, streams, terminal

if TYPE_CHECKING:
    from zoo.modality.table_model import TableModel
    from zoo_cli.table_output import Output


def command(target: Target | None, controls_class: type, panel: str) -> Callable[..., None]:
    """The function of `zoo sample` for a table model, with its controls as options; see `zoo_cli.sampling`."""
    return flags.with_settings(
        functools.partial(_sample, target, controls_class), controls_class, into="asked", panel=panel
    )


def _sample(
    target: Target | None,
    controls_class: type,
    model: options.Model,
    asked: dict[str, Any],
    count: options.Count = 1,
    seed: options.Seed = None,
    start: options.Start = 0,
    batch_size: options.BatchSize = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Save to .csv, .tsv, .parquet, .npy or .jsonl; or draw a plot, or a grid of images, as .png.",
        ),
    ] = None,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels", help="Also tell the component of each row, and its probability given the row."
        ),
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
    from zoo_cli import table_output
    from zoo_cli.loading import chosen_seed, load

    target = model_options.after(target, "sample", model)
    controls: Any = settings.make(controls_class, asked, what=f"zoo sample {target.name}")
    path = table_output.file(output, table_output.SAVED, replace=yes) if output else None
    if labels and path is not None and path.suffix == ".png":
        raise UsageError("a picture has no labels", hint="-o FILE.csv saves rows with theirs")
    seed, say = chosen_seed(seed, quiet=quiet or as_json)
    loaded = load(target, device=device, dtype=dtype, offline=offline, quiet=quiet)
    from zoo.modality.table_model import BATCH_SIZE

    drawn = _drawn(loaded, path, count, as_json=as_json)
    parts = loaded.parts(
        drawn, seed=seed, start=start, batch_size=batch_size or BATCH_SIZE, controls=controls
    )
    if labels:
        parts = loaded.labelled(parts, seed=seed, start=start, controls=controls)
    outputs = _outputs(loaded, path, count, seed, start, as_json=as_json, labelled=labels)
    if terminal.is_terminal(sys.stderr) and not quiet and drawn > (batch_size or BATCH_SIZE):
        outputs.append(table_output.counter(drawn))
    partly = path is not None and path.suffix.lower() != ".png"
    try:
        sent = table_output.send(say(parts), outputs, partly=partly)
    except KeyboardInterrupt:
        raise saving.interrupted(0, count, output, "row") from None
    if sent < drawn:
        raise saving.interrupted(sent, count, output, "row")
    if path is not None:
        terminal.note(_done(loaded, path, output, count, drawn), quiet=quiet)


def _drawn(model: TableModel, path: Path | None, count: int, *, as_json: bool) -> int:
    """How many of the rows are needed: a plot shows no more than `zoo.modality.plots.MOST_ROWS`."""
    from zoo.modality import plots

    plotted = path is not None and path.suffix.lower() == ".png" and model.image is None
    return min(count, plots.MOST_ROWS) if plotted and not as_json else count


def _done(model: TableModel, path: Path, asked: Path | None, count: int, drawn: int) -> str:
    picture = path.suffix.lower() == ".png"
    what = "image" if picture and model.image is not None else "row"
    some = f"the first {drawn:,} of " if drawn < count else ""
    return f"{'drew' if picture else 'saved'} {some}{count:,} {what}{'s' * (count != 1)} to {asked}"


def _outputs(
    model: TableModel,
    path: Path | None,
    count: int,
    seed: int,
    start: int,
    *,
    as_json: bool,
    labelled: bool,
) -> list[Output]:
    """Where the rows go: what is saved is not shown as well, unless as JSON."""
    from zoo.modality import table_files
    from zoo_cli import image_preview, table_output

    outputs: list[Output] = []
    if path is not None:
        table_output.require(path, image=model.image is not None)
        if path.suffix.lower() == ".png":
            outputs.append(table_output.picture(path, model, count, saving.title(model)))
        else:
            outputs.append(
                table_files.writing(path, model.columns, seed=seed, start=start, labelled=labelled)
            )
    if as_json:
        outputs.append(table_output.json_lines(model.columns, seed, start, labelled=labelled))
    elif path is None and not terminal.for_reading(streams.results()):
        outputs.append(table_output.cells(model.columns, labelled=labelled))
    elif path is None:
        shown = image_preview.images(model.image) if model.image and not labelled else None
        names = (*table_files.LABELS, *model.columns) if labelled else model.columns
        outputs.append(shown or table_output.preview(names, start))
    return outputs
