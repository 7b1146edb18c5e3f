"""Bars of what is being downloaded, on standard error and only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.text_safety import safe_text
from zoo_cli import terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from zoo.weights.hub import Progress


@contextmanager
def downloads(*, quiet: bool = False) -> Iterator[Callable[[Progress], None] | None]:
    """The callback to give to `zoo.api.pull` and `load`; None where nobody watches. Draws from the first byte on."""
    if quiet or not terminal.is_terminal(sys.stderr):
        yield None
        return
    shown = _Downloads()
    try:
        yield shown.report
    finally:
        shown.stop()


class _Downloads:
    """One bar a file, drawn by rich, which is imported only when there is something to draw."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def report(self, progress: Progress) -> None:
        bars = self._bars or self._start()
        said = safe_text(f"{progress.file}: {progress.note}" if progress.note else progress.file)
        if progress.file not in self._tasks:
            self._tasks[progress.file] = bars.add_task(said, total=progress.total)
        bars.update(
            self._tasks[progress.file], description=said, completed=progress.done, total=progress.total
        )

    def _start(self) -> Bars:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
        )
        self._bars = Progress(*columns, console=terminal.console(sys.stderr), transient=True)
        terminal.status("")  # ends what was said of loading
        self._bars.start()
        return self._bars

    def stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
