"""Ctrl-C and SIGTERM: at once while nothing is at stake; once training runs, after the step, when all is saved."""

from __future__ import annotations

import os
import signal
import types
from typing import NoReturn

TERMINATED = 143
INTERRUPTED = 130


class Stopping:
    """The two signals of this process while the context lasts.

    asked: whether one has come since `gently`. code: the exit code that belongs to it.
    """

    def __init__(self) -> None:
        self.asked = False
        self.code = 0
        self._gentle = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Stopping:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def gently(self) -> None:
        """From now on a signal is a wish, which whoever asks `asked` fulfils. A second Ctrl-C still stops at once."""
        self._gentle = True

    def _came(self, number: int, frame: types.FrameType | None) -> None:
        again = (
            self.asked and number == signal.SIGINT and "RANK" not in os.environ
        )  # a launcher repeats signals
        self.asked = True
        self.code = TERMINATED if number == signal.SIGTERM else INTERRUPTED
        if not self._gentle or again:
            self._now(number, frame)

    def _now(self, number: int, frame: types.FrameType | None) -> NoReturn:
        if number == signal.SIGTERM:
            raise SystemExit(TERMINATED)
        before = self._before[signal.SIGINT]
        if callable(before):
            before(number, frame)
        raise KeyboardInterrupt
