"""zoo score for sequence models: one line a sequence, or the hidden states of its frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.errors import DataError, UsageError
from zoo.settings import MOST_AT_ONCE
from zoo.targets import Target
from zoo_cli import flags, measures, model_options, options, saving, streams, terminal

if TYPE_CHECKING:
    from zoo.modality.sequence_model import SequenceModel
    from zoo_cli.sequence_input import Item

HELP = """Score sequences: log-likelihood in nats, nats per frame, and frames.

A table (CSV, TSV, Parquet) has a row a frame, and may have a column that says which sequence a row belongs to; an
array (.npy, .npz) is one sequence or several. For a model of characters, every line of a text FILE that is not blank
is a sequence. - reads standard input: text for such a model, CSV for others. To a pipe: the three numbers of each
sequence, divided by tabs.
"""

_COLUMNS = ("log-likelihood", "nats/frame", "frames", "sequence")
_NUMBERS = 46  # characters of a line on a terminal that the three numbers take
_TABLES = (".csv", ".tsv")
_STATE_COLUMNS = ("file", "sequence", "frame", "state")


def command(target: Target | None) -> Callable[..., None]:
    """The function of `zoo score` for a sequence model; see `zoo_cli.scoring`."""
    return flags.bound(_score, target)


def _score(
    found: Target | None,
    model: options.Model,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Text files, tables or arrays; - for standard input.", show_default=False
        ),
    ],
    sequence: Annotated[
        str | None,
        typer.Option(
            "--sequence",
            metavar="COLUMN",
            help="The column of tables that says the sequence; else that of the model's run, or `sequence`.",
        ),
    ] = None,
    changes: options.FileSettings = None,
    whole: Annotated[bool, typer.Option("--whole", help="Score each text file as one sequence.")] = False,
    states: Annotated[
        bool, typer.Option("--states", help="Tell the most probable hidden state of each frame, by Viterbi.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Save the states to FILE.csv or .tsv."),
    ] = None,
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
    yes: options.Yes = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    from zoo_cli import sequence_input
    from zoo_cli.loading import load

    rules = options.file_rules(changes)
    found = model_options.after(found, "score", model)
    saved = _place(output, states=states, replace=yes) if output else None
    loaded: SequenceModel = load(found, device=device, dtype=dtype, offline=offline, quiet=quiet)
    items = [
        item for file in files for item in sequence_input.items(loaded, file, sequence, rules, whole=whole)
    ]
    encoded = [loaded.format.encode(item.given, what=item.label) for item in items]
    kept = [(item, one) for item, one in zip(items, encoded, strict=True) if len(one)]
    if len(kept) < len(items):
        empty = len(items) - len(kept)
        terminal.warn(f"left out {empty} sequence{'s' * (empty != 1)} without frames")
    if not kept:
        raise UsageError("there is nothing to score: no sequence has frames")
    items = [item for item, _ in kept]
    frames = [len(one) for _, one in kept]
    given = [item.given for item in items]
    found_values = loaded.log_prob(given, batch_size=batch_size)
    if states:
        _require_possible(items, found_values)
    paths = [path.tolist() for path in loaded.states(given)] if states else None
    criteria = measures.criteria(loaded.network, math.fsum(found_values), sum(frames))
    _write(found.name, items, frames, found_values, paths, criteria, saved, as_json=as_json)
    terminal.note(_total(frames, found_values) + measures.criteria_told(criteria), quiet=quiet)
    if saved is not None:
        terminal.note(f"saved the states of {sum(frames):,} frames to {output}", quiet=quiet)
    _warn([item.label for item in items], found_values)


def _require_possible(items: Sequence[Item], values: Sequence[float]) -> None:
    """Raises DataError for the first sequence that no hidden states lead to."""
    labels = [item.label for item, value in zip(items, values, strict=True) if value == -math.inf]
    if labels:
        raise DataError(
            f"{_some(labels, len(items))} impossible under the model: no hidden states lead to "
            f"{'it' if len(labels) == 1 else 'them'}",
            hint="score without --states, which says minus infinity; leave out what is impossible, or fit with "
            "config.emission_prior and config.transition_prior above 0",
        )


def _place(path: Path, *, states: bool, replace: bool) -> Path:
    """Where `-o path` will write; nothing is written yet. Raises UsageError for what cannot be written."""
    path = path.expanduser()
    if not states:
        raise UsageError("-o saves hidden states: add --states", hint="scores go to standard output")
    if path.suffix.lower() not in _TABLES:
        raise UsageError(
            f"cannot write states to {path}", hint=f"-o takes a file that ends in {' or '.join(_TABLES)}"
        )
    saving.check_file(path, replace=replace)
    return path.resolve()


def _write(
    model: str,
    items: Sequence[Item],
    frames: Sequence[int],
    values: Sequence[float],
    paths: Sequence[Sequence[int]] | None,
    criteria: Mapping[str, float],
    saved: Path | None,
    *,
    as_json: bool,
) -> None:
    """Scores to standard output; states to the file, else in their place."""
    from zoo.datasets import previews
    from zoo.modality.sequence_samples import delimited

    if as_json:
        terminal.out_json(_record(model, items, frames, values, paths, criteria), indent=2)
    if saved is not None and paths is not None:
        divider = "\t" if saved.suffix.lower() == ".tsv" else ","
        saved.parent.mkdir(parents=True, exist_ok=True)
        previews.write(saved, delimited(_state_rows(items, paths), divider).encode())
    elif paths is not None and not as_json:
        terminal.out(delimited(_state_rows(items, paths)), end="")
        return
    if not as_json:
        _show(items, frames, values)


def _state_rows(items: Sequence[Item], paths: Sequence[Sequence[int]]) -> Iterator[Sequence[Any]]:
    yield _STATE_COLUMNS
    for item, path in zip(items, paths, strict=True):
        yield from ((item.file, item.sequence or "", frame, state) for frame, state in enumerate(path))


def _show(items: Sequence[Item], frames: Sequence[int], values: Sequence[float]) -> None:
    """Lines in a pipe; on a terminal a table."""
    if not terminal.for_reading(streams.results()):
        for value, count in zip(values, frames, strict=True):
            terminal.out(f"{value:.6f}\t{-value / count:.6f}\t{count}")
        return
    table, console = terminal.table(*_COLUMNS, right=_COLUMNS[:3]), terminal.console(streams.results())
    room = max(20, console.width - _NUMBERS)
    for item, value, count in zip(items, values, frames, strict=True):
        label = terminal.one_line(item.label)
        label = label if len(label) <= room else "…" + label[1 - room :]
        table.add_row(f"{value:.3f}", f"{-value / count:.4f}", f"{count:,}", label)
    console.print(table)


def _total(frames: Sequence[int], values: Sequence[float]) -> str:
    total, count = math.fsum(values), sum(frames)
    return (
        f"{len(values):,} sequence{'s' * (len(values) != 1)}, {count:,} frames: {total:.3f} nats in all,"
        f" {total / len(values):.3f} a sequence, {-total / count:.4f} a frame"
    )


def _warn(labels: Sequence[str], values: Sequence[float]) -> None:
    """Say which sequences the model thinks impossible. What is not a number means broken weights: exit code 1."""
    impossible = [label for label, value in zip(labels, values, strict=True) if value == -math.inf]
    if impossible:
        terminal.warn(
            f"{_some(impossible, len(labels))} impossible under the model, whose log-likelihood is minus infinity: "
            "it has a symbol or a step that the data of the fit never had"
        )
    broken = [label for label, value in zip(labels, values, strict=True) if math.isnan(value)]
    if broken:
        terminal.warn(
            f"the log-likelihood of {_some(broken, len(labels)).removesuffix(' are').removesuffix(' is')} is no "
            "number: the weights are broken, or their dtype is too small for them"
        )
        raise typer.Exit(1)


def _some(labels: Sequence[str], of: int) -> str:
    if len(labels) == 1:
        return f"{labels[0]} is"
    return f"{len(labels)} of {of} sequences, the first {labels[0]}, are"


def _record(
    model: str,
    items: Sequence[Item],
    frames: Sequence[int],
    values: Sequence[float],
    paths: Sequence[Sequence[int]] | None,
    criteria: Mapping[str, float],
) -> dict[str, Any]:
    listed = []
    for number, (item, count, value) in enumerate(zip(items, frames, values, strict=True)):
        said = {
            "file": item.file,
            "sequence": item.sequence,
            "log_likelihood": measures.number(value),
            "nats_per_frame": measures.number(-value / count),
            "frames": count,
        }
        listed.append(said if paths is None else said | {"states": paths[number]})
    total, count = math.fsum(values), sum(frames)
    return {
        "model": model,
        "items": listed,
        "sequences": len(items),
        "frames": count,
        "log_likelihood": measures.number(total),
        "mean_log_likelihood": measures.number(total / len(items)),
        "nats_per_frame": measures.number(-total / count),
        "bic": measures.number(criteria.get("bic")),
        "aic": measures.number(criteria.get("aic")),
    }
