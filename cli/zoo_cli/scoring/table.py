"""zoo score for table models: one log-likelihood a row of files, and their mean."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.datasets.source import Member
from zoo.errors import CapabilityError, DataError, UsageError
from zoo.targets import Target
from zoo_cli import flags, measures, options, table_output, terminal

if TYPE_CHECKING:
    import numpy as np

    from zoo.modality.table_model import TableModel

HELP = """Score rows of a table: the log-likelihood of each in nats, and their mean.

Columns of a file are matched by name with those of the model; other columns are passed over. - reads CSV from
standard input. To a pipe: one number a row.
"""

SAVED = (".csv", ".tsv", ".jsonl")
_ROWS_AT_ONCE = 16_384


def command(target: Target | None) -> Callable[..., None]:
    """The function of `zoo score` for a table model; see `zoo_cli.scoring`."""
    return flags.bound(_score, target)


@dataclass
class _Scores:
    """The log-likelihoods of each file's rows, in order, block by block."""

    files: list[tuple[str, list[np.ndarray]]] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[str, int, float]]:
        """(file, row from 1 on, log-likelihood)."""
        for file, parts in self.files:
            row = 0
            for part in parts:
                for value in part.tolist():
                    row += 1
                    yield file, row, value

    def __len__(self) -> int:
        return sum(len(part) for _, parts in self.files for part in parts)

    @property
    def total(self) -> float:
        """Not a number where one is none, or both infinities are there."""
        try:
            return math.fsum(value for _, _, value in self.rows())
        except (ValueError, OverflowError):
            return math.nan


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
            help="Save file, row and log-likelihood to .csv, .tsv or .jsonl.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Rows computed together; changes speed alone.")
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

    target = found or targets.find(model, revision=revision, offline=offline)
    if target.family.modality != "table":
        raise CapabilityError(
            f"{target.name} makes {target.family.modality}; MODEL comes first: zoo score MODEL"
        )
    path = table_output.file(output, SAVED, replace=yes) if output else None
    loaded = load(target, device=device, dtype=dtype, offline=offline, quiet=quiet)
    members = [_member(file) for file in files]
    chosen = [_columns(loaded, member, quiet=quiet) for member in members]
    scores = _Scores()
    shown = path is None and not as_json
    with ExitStack() as opened:
        lines = shown and not terminal.for_reading(sys.stdout)
        status = opened.enter_context(_counting(quiet=quiet or lines))
        for file, member, columns in zip(files, members, chosen, strict=True):
            parts: list[np.ndarray] = []
            scores.files.append((str(file), parts))
            for part in _scored(loaded, member, columns, batch_size):
                parts.append(part)
                status(len(part))
                if lines:
                    terminal.out("".join(f"{value!r}\n" for value in part.tolist()), end="")
    if not len(scores):
        raise DataError(f"{files[0]} has no rows to score")
    if path is not None:
        _save(path, scores)
        terminal.note(f"saved {len(scores):,} scores to {output}", quiet=quiet)
    _tell(loaded, scores, saved=path is not None, as_json=as_json, quiet=quiet)
    if _warn_of_nan(scores):
        raise typer.Exit(1)


def _member(file: Path) -> Member:
    """A file, or for "-" standard input. Raises UsageError for one that is no table by its name."""
    from zoo.datasets import table_files

    if str(file) == "-":
        from zoo_cli import piped

        return piped.csv()
    if file.suffix.lower() not in table_files.SUFFIXES:
        raise UsageError(
            f"{file} is not a table by its name", hint=f"files end in {', '.join(table_files.SUFFIXES)}"
        )
    return Member(str(file), file.expanduser())


def _columns(model: TableModel, file: Member, *, quiet: bool) -> tuple[str, ...]:
    """The file's names of the model's columns, in its order. Arrays have no names, so all of theirs are meant.

    Raises DataError for a file without some of them.
    """
    from zoo.datasets import table_files

    names = table_files.column_names(file)
    if table_files.is_array(file):
        if len(names) != len(model.columns):
            raise DataError(f"{file} has {len(names)} columns, but {model.name} has {len(model.columns)}")
        return names
    wanted = tuple(names[place] for place in model.places(names, str(file)))
    others = [name for name in names if name not in wanted]
    if others:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        terminal.note(f"{file}: columns that the model does not have are passed over: {shown}", quiet=quiet)
    return wanted


def _scored(
    model: TableModel, file: Member, columns: Sequence[str], batch_size: int | None
) -> Iterator[np.ndarray]:
    from zoo.datasets.table_files import chunks

    for rows in chunks(file, batch_size or _ROWS_AT_ONCE, columns):
        yield model.log_densities(rows, batch_size=batch_size)


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


def _tell(model: TableModel, scores: _Scores, *, saved: bool, as_json: bool, quiet: bool) -> None:
    criteria = _criteria(model, scores)
    if as_json:
        _json(model.name, scores, criteria)
        return
    if not saved and terminal.for_reading(sys.stdout):
        _table(scores)
    total = scores.total
    rows = f"{len(scores):,} row{'s' * (len(scores) != 1)}"
    told = "".join(f", {name.upper()} {value:.3f}" for name, value in criteria.items())
    terminal.note(
        f"{rows}: mean log-likelihood {total / len(scores):.6f} nats, {total:.3f} in all{told}", quiet=quiet
    )


def _criteria(model: TableModel, scores: _Scores) -> dict[str, float]:
    """The information criteria that the network has a method for; lower is better."""
    methods = {name: getattr(model.network, name, None) for name in ("bic", "aic")}
    mean, rows = scores.total / len(scores), len(scores)
    return {name: float(method(mean, rows)) for name, method in methods.items() if callable(method)}


def _table(scores: _Scores) -> None:
    several = len(scores.files) > 1
    table = terminal.table(
        *(["file"] if several else []), "row", "log-likelihood", right=("row", "log-likelihood")
    )
    for _, (file, row, value) in zip(range(table_output.MOST_ROWS), scores.rows(), strict=False):
        table.add_row(*([terminal.one_line(file)] if several else []), str(row), f"{value:.3f}")
    terminal.console(sys.stdout).print(table)
    more = len(scores) - table_output.MOST_ROWS
    if more > 0:
        terminal.note(f"... and {more:,} more row{'s' * (more != 1)}; -o FILE.csv saves all")


def _item(file: str, row: int, value: float) -> dict[str, Any]:
    return {"file": file, "row": row, "log_likelihood": measures.number(value)}


def _json(model: str, scores: _Scores, criteria: Mapping[str, float]) -> None:
    """One object, a line for each row, without all of its text in memory."""
    from zoo.text_safety import safe_json

    def text(value: Any) -> str:
        return safe_json(json.dumps(value, ensure_ascii=False))

    terminal.out(f'{{\n  "model": {text(model)},\n  "items": [')
    last = len(scores)
    for at, item in enumerate(scores.rows(), 1):
        terminal.out(f"    {text(_item(*item))}{',' * (at < last)}")
    total = scores.total
    terminal.out(
        f'  ],\n  "rows": {last},\n  "log_likelihood": {text(measures.number(total))},\n'
        f'  "mean_log_likelihood": {text(measures.number(total / last))},\n'
        f'  "bic": {text(measures.number(criteria.get("bic", math.nan)))},\n'
        f'  "aic": {text(measures.number(criteria.get("aic", math.nan)))}\n}}'
    )


def _save(path: Path, scores: _Scores) -> None:
    from zoo.modality.table_files import csv_text, whole

    kind = path.suffix.lower()
    with whole(path) as file:
        if kind != ".jsonl":
            file.write(csv_text([["file", "row", "log_likelihood"]], kind).encode())
        for item in scores.rows():
            line = (
                json.dumps(_item(*item), ensure_ascii=False) + "\n"
                if kind == ".jsonl"
                else csv_text([item], kind)
            )
            file.write(line.encode())


def _warn_of_nan(scores: _Scores) -> bool:
    """Say which rows have no log-likelihood that is a number; returns whether there are any."""
    broken = [(file, row) for file, row, value in scores.rows() if not math.isfinite(value)]
    if broken:
        file, row = broken[0]
        terminal.warn(
            f"the log-likelihood of {len(broken):,} of {len(scores):,} rows is no finite number, the first of"
            f" {file}: row {row}; the weights are broken, or their dtype is too small for these values"
        )
    return bool(broken)
