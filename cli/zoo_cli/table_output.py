"""How rows are shown and saved: CSV for a pipe, a table or pictures on a terminal, JSON lines, files and plots.

An output is a context whose value takes the rows, (B, D) at a time, in order. What it shows or saves at the end it
does when the context ends without an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UsageError
from zoo_cli import interrupts, saving, streams, terminal

if TYPE_CHECKING:
    import numpy as np

    from zoo.modality.table_model import TableModel

    Take = Callable[[np.ndarray], None]
    Output = AbstractContextManager[Take]

SAVED = (".csv", ".tsv", ".parquet", ".npy", ".jsonl", ".png")
"""How the names of files end that `zoo sample -o` writes."""

MOST_ROWS = 20
"""Rows that a terminal shows."""

_WIDEST = 24  # characters of a column's name in a preview


def send(parts: Iterable[np.ndarray], outputs: Sequence[Output], *, partly: bool = False) -> int:
    """Send every block of rows to every output; they end together, with the error if there is one.

    partly: after a Ctrl-C the outputs keep what was sent; a block that is being written then is written whole.
    Returns how many rows were sent.
    """
    done = 0
    with ExitStack() as opened:
        if partly:
            opened.enter_context(interrupts.keeping())
        taking = [opened.enter_context(output) for output in outputs]
        for rows in _until_interrupted(parts) if partly else parts:
            with interrupts.whole() if partly else nullcontext():
                for take in taking:
                    take(rows)
            done += len(rows)
            if partly and interrupts.asked():
                interrupts.heard()
                break
    return done


def _until_interrupted(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks before a Ctrl-C that comes after the first."""
    some = False
    following = iter(parts)
    while True:
        try:
            rows = next(following)
        except StopIteration:
            return
        except KeyboardInterrupt:
            if not some:
                raise
            interrupts.heard()
            return
        yield rows
        some = True


def file(path: Path, suffixes: Sequence[str], *, replace: bool) -> Path:
    """Where `-o path` will write; nothing is written yet.

    Raises UsageError for a name that ends otherwise, a path that cannot be written, or one that is taken and stays.
    """
    path = path.expanduser()
    if path.suffix.lower() not in suffixes:
        allowed = " or ".join(filter(None, [", ".join(suffixes[:-1]), suffixes[-1]]))
        raise UsageError(f"cannot write rows to {path}", hint=f"-o takes a file that ends in {allowed}")
    saving.check_file(path, replace=replace)
    return path.resolve()


def require(path: Path, *, image: bool) -> None:
    """Raises MissingDependencyError when what writes such a file is not installed. image: rows are images."""
    from zoo.modality import plots, table_files

    if path.suffix.lower() == ".parquet":
        table_files.require_parquet()
    if path.suffix.lower() == ".png" and not image:
        plots.require_figure()


@contextmanager
def counter(count: int) -> Iterator[Take]:
    """How many rows are there, on standard error."""
    done = 0

    def take(rows: np.ndarray) -> None:
        nonlocal done
        done += len(rows)
        terminal.status(f"{done:,} of {count:,} rows")

    try:
        yield take
    finally:
        terminal.status("")


@contextmanager
def json_lines(names: Sequence[str], seed: int, start: int, *, labelled: bool = False) -> Iterator[Take]:
    """One JSON object a row on standard output."""
    from zoo.modality.table_files import record

    following = start

    def take(rows: np.ndarray) -> None:
        nonlocal following
        for row in rows:
            terminal.out_json(record(names, row, following, seed, labelled=labelled))
            following += 1

    yield take


@contextmanager
def cells(names: Sequence[str], *, labelled: bool = False) -> Iterator[Take]:
    """CSV on standard output, for a program."""
    from zoo.modality.table_files import csv_names, csv_numbers

    terminal.out(csv_names(names, labelled=labelled), end="")
    yield lambda rows: terminal.out(csv_numbers(rows, labelled=labelled), end="")


@contextmanager
def preview(names: Sequence[str], start: int) -> Iterator[Take]:
    """The first rows for a person, as many columns as fit the terminal, when all rows are there."""
    first: list[np.ndarray] = []
    rows = 0

    def take(part: np.ndarray) -> None:
        nonlocal rows
        rows += len(part)
        first.extend(part[: MOST_ROWS - len(first)])

    yield take
    columns = _show(names, first, start)
    more = []
    if columns < len(names):
        more.append(_many(len(names) - columns, "more column"))
    if len(first) < rows:
        more.append(_many(rows - len(first), "more row"))
    if more:
        terminal.note(f"... and {' and '.join(more)}; -o FILE.csv saves all")


def _show(names: Sequence[str], rows: Sequence[np.ndarray], start: int) -> int:
    """Draw a table of the rows; how many columns fit."""
    console = terminal.console(streams.results())
    numbers = ["", *map(str, range(start, start + len(rows)))]
    columns = [
        [_heading(name), *_numbers([float(row[column]) for row in rows])]
        for column, name in enumerate(names[: console.width])
    ]
    shown = _fitting([numbers, *columns], console.width)
    table = terminal.table()
    for at, column in enumerate(shown):
        table.add_column(column[0], justify="right", no_wrap=True, style="dim" if not at else "")
    for row in zip(*(column[1:] for column in shown), strict=True):
        table.add_row(*row)
    console.print(table)
    return len(shown) - 1


def _numbers(values: Sequence[float]) -> list[str]:
    """Six digits of the largest, and as many decimals for the others of a column; of whole numbers none."""
    most = max(map(abs, values))
    if most < 1e9 and all(value.is_integer() for value in values):
        return [f"{value:.0f}" for value in values]
    if not most or 1e-4 <= most < 1e9:
        decimals = min(5, max(0, 5 - math.floor(math.log10(most)))) if most else 0
        return [f"{value:.{decimals}f}" for value in values]
    return [f"{value:.5e}" for value in values]


def _heading(name: str) -> str:
    return terminal.cut(terminal.one_line(name), _WIDEST)


def _fitting(columns: Sequence[Sequence[str]], width: int) -> list[Sequence[str]]:
    """As many columns of cells as fit side by side, two blanks between; at least the first two."""
    from rich.cells import cell_len

    room = width + 2
    found: list[Sequence[str]] = []
    for column in columns:
        room -= max(map(cell_len, column)) + 2
        if room < 0 and len(found) >= 2:
            break
        found.append(column)
    return found


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


@contextmanager
def picture(path: Path, model: TableModel, count: int, title: str) -> Iterator[Take]:
    """A PNG of the rows; see `zoo.modality.plots`. Raises UsageError for more images than one has room for."""
    import numpy as np

    from zoo.datasets import previews
    from zoo.datasets.table_files import Table
    from zoo.modality import plots

    if model.image is not None and count > plots.MOST_IMAGES:
        raise UsageError(f"-n is {count:,}, but a picture has room for {plots.MOST_IMAGES:,} images at most")
    most = plots.MOST_IMAGES if model.image is not None else plots.MOST_ROWS
    kept: list[np.ndarray] = []
    room = most

    def take(rows: np.ndarray) -> None:
        nonlocal room
        kept.append(rows[:room])
        room -= len(kept[-1])

    yield take
    density = model.log_densities if callable(getattr(model.network, "log_prob", None)) else None
    table = Table(model.columns, np.concatenate(kept))
    path.parent.mkdir(parents=True, exist_ok=True)
    previews.write(path, plots.picture(table, title, image=model.image, density=density, rows=count))
