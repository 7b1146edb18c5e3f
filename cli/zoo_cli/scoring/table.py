"""zoo score for table models: one log-likelihood a row of files, their mean, and which component a row is of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.datasets.source import Member
from zoo.errors import CapabilityError, DataError, UsageError
from zoo.settings import MOST_AT_ONCE
from zoo.targets import Target
from zoo_cli import flags, options, streams, table_output, terminal
from zoo_cli.scoring import row_scores
from zoo_cli.scoring.row_scores import Part, Scores

if TYPE_CHECKING:
    from zoo.datasets.file_rules import FileRules
    from zoo.datasets.records import Layout
    from zoo.modality.table_model import TableModel

HELP = """Score rows of a table: the log-likelihood of each in nats, and their mean.

Columns of a file are matched by name with those of the model; other columns are passed over. - reads CSV from
standard input. --labels also tells the likeliest component of each row, and its probability given the row. To a pipe:
one number a row, with labels three divided by tabs; a row that is left out is an empty line.
"""

SAVED = (".csv", ".tsv", ".jsonl")
_ROWS_AT_ONCE = 16_384


def command(target: Target | None) -> Callable[..., None]:
    """The function of `zoo score` for a table model; see `zoo_cli.scoring`."""
    return flags.bound(_score, target)


def _score(
    found: Target | None,
    model: options.Model,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Files of rows: .csv, .tsv, .parquet or .npy; - for standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Save file, row, log-likelihood and labels to .csv, .tsv or .jsonl.",
        ),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Tell the component of each row, and how probable it is.")
    ] = False,
    changes: options.FileSettings = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=MOST_AT_ONCE, help="Rows computed together; changes speed alone."
        ),
    ] = None,
    revision: options.Revision = "",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    yes: options.Yes = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    from zoo import targets
    from zoo_cli.loading import load

    rules = options.file_rules(changes)
    target = found or targets.find(model, revision=revision, offline=offline)
    if target.family.modality != "table":
        raise CapabilityError(
            f"{target.name} makes {target.family.modality}; MODEL comes first: zoo score MODEL"
        )
    path = table_output.file(output, SAVED, replace=yes) if output else None
    loaded = load(target, device=device, dtype=dtype, offline=offline, quiet=quiet)
    layouts = [_layout(loaded, _member(file), rules, quiet=quiet) for file in files]
    scores = Scores(labelled=labels)
    shown = path is None and not as_json
    with ExitStack() as opened:
        lines = shown and not terminal.for_reading(streams.results())
        status = opened.enter_context(_counting(quiet=quiet or lines))
        for file, layout in zip(files, layouts, strict=True):
            parts: list[Part] = []
            scores.files.append((str(file), parts))
            for part in _scored(loaded, layout, rules, batch_size, labels=labels):
                parts.append(part)
                status(len(part.kept))
                if lines:
                    terminal.out(part.lines(), end="")
    if not len(scores):
        raise DataError(f"{files[0]} has no rows to score")
    if path is not None:
        row_scores.save(path, scores)
        terminal.note(f"saved {len(scores):,} scores to {output}", quiet=quiet)
    row_scores.tell(loaded, scores, saved=path is not None, as_json=as_json, quiet=quiet)
    if row_scores.warn_of_nan(scores):
        raise typer.Exit(1)


def _member(file: Path) -> Member:
    """A file, or for "-" standard input. Raises UsageError for one that is no table by its name."""
    from zoo.datasets import table_files

    if str(file) == "-":
        from zoo_cli import piped

        return piped.csv()
    if not file.name.lower().endswith(table_files.SUFFIXES):
        raise UsageError(
            f"{file} is not a table by its name", hint=f"files end in {', '.join(table_files.SUFFIXES)}"
        )
    return Member(str(file), file.expanduser())


def _layout(model: TableModel, file: Member, rules: FileRules, *, quiet: bool) -> Layout:
    """What columns the file has. Arrays have no names, so theirs are the model's.

    Raises DataError for a file without some of the model's columns.
    """
    from zoo.datasets import table_files

    found = table_files.layout(file, rules, model.columns)
    if table_files.is_array(file):
        if len(found.names) != len(model.columns):
            raise DataError(
                f"{file} has {len(found.names)} columns, but {model.name} has {len(model.columns)}"
            )
        return found
    wanted = _wanted(model, found)
    others = [name for name in found.names if name not in wanted]
    if others:
        shown = ", ".join(name or "one without a name" for name in others[:5])
        shown += f" and {len(others) - 5} more" if len(others) > 5 else ""
        terminal.note(f"{file}: columns that the model does not have are passed over: {shown}", quiet=quiet)
    return found


def _wanted(model: TableModel, found: Layout) -> tuple[str, ...]:
    """The file's names of the model's columns, in its order."""
    from zoo.datasets import table_files

    if table_files.is_array(found.member):
        return found.names
    return tuple(found.names[place] for place in model.places(found.names, str(found.member)))


def _scored(
    model: TableModel, found: Layout, rules: FileRules, batch_size: int | None, *, labels: bool
) -> Iterator[Part]:
    from zoo.datasets.table_files import blocks

    for block in blocks(found, batch_size or _ROWS_AT_ONCE, _wanted(model, found), rules):
        if not len(block.values):
            yield Part(block.first, block.kept, block.values[:, 0])
            continue
        values = model.log_densities(block.values, batch_size=batch_size)
        named = model.labels(block.values, batch_size=batch_size) if labels else None
        yield Part(block.first, block.kept, values, named)


@contextmanager
def _counting(*, quiet: bool) -> Iterator[Callable[[int], None]]:
    """How many rows are done, on standard error where somebody watches."""
    done = 0
    watched = terminal.is_terminal(sys.stderr) and not quiet

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        if watched:
            terminal.status(f"{done:,} rows")

    try:
        yield count
    finally:
        if watched:
            terminal.status("")
