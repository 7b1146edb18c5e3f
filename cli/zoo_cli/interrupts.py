"""Ctrl-C at any moment: the command ends with 130 and one line, whatever code it comes upon.

Python raises KeyboardInterrupt in whatever line runs. In the middle of an import, C code may take it for a missing
module, or end the process with a message of its own; a destructor or a bare `except` loses it. So during an import
the process ends there and then, and an interrupt that nothing handles is raised again.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130
SAID = "interrupted"

_AGAIN = 0.2  # seconds until an interrupt that was lost is raised again
_asked = False
_whole = False  # what runs is to be done in one piece
_keeping = False  # there are results to keep, so nothing ends the process there and then


class StoppedError(Exception):
    """A Ctrl-C that a command was ended by. The message is the line to say."""

    def __init__(self, message: str = SAID) -> None:
        super().__init__(message)


def listen() -> None:
    """Take Ctrl-C for the rest of this process."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
        return
    signal.signal(signal.SIGINT, _came)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _still_unheard)
    sys.unraisablehook = _unraisable


def asked() -> bool:
    """Whether Ctrl-C has come and nothing but the end of the command answers it."""
    return _asked


def heard() -> None:
    """The interrupt that came has been answered, and work goes on."""
    global _asked
    _asked = False
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def whole() -> Iterator[None]:
    """What runs is done in one piece: a first Ctrl-C is told by `asked` afterwards, a second one interrupts it."""
    global _whole
    _whole = True
    try:
        yield
    finally:
        _whole = False


@contextmanager
def keeping() -> Iterator[None]:
    """There are results to keep: a first Ctrl-C during an import waits until the import is done."""
    global _keeping
    _keeping = True
    try:
        yield
    finally:
        _keeping = False


def finished(code: int) -> None:
    """The command is over and its exit code decided: a Ctrl-C that still comes changes nothing."""
    heard()
    if signal.getsignal(signal.SIGINT) is _came:
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def _came(_number: int, frame: types.FrameType | None) -> None:
    global _asked
    first, _asked = not _asked, True
    if not (_whole and first):
        _interrupt(frame, patient=first)


def _still_unheard(_number: int, frame: types.FrameType | None) -> None:
    if not _asked:
        return
    if _being_handled():
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    else:
        _interrupt(frame, patient=True)


def _interrupt(frame: types.FrameType | None, *, patient: bool) -> None:
    if _importing(frame):
        if _keeping and patient and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
            return
        clear = "\r\x1b[K" if os.isatty(2) else ""
        os.write(2, f"{clear}{SAID}\n".encode())
        os._exit(INTERRUPTED)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    raise KeyboardInterrupt


def _importing(frame: types.FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _being_handled() -> bool:
    """Whether the code that runs is cleaning up for a KeyboardInterrupt."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _unraisable(lost: Any) -> None:
    """A KeyboardInterrupt that a destructor lost is raised again, so it is not told as an error."""
    if not (_asked and issubclass(lost.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(lost)
