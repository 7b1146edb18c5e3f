"""The process's streams: closed ones count as /dev/null, and what strangers' code prints never mixes with results."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import IO

_results: IO[str] | None = None  # while `apart` lasts


def results() -> IO[str]:
    """Where results go: standard output as the process was started with."""
    return sys.stdout if _results is None else _results


def prepare() -> None:
    """Open closed streams (`>&-`) on /dev/null, so that no file takes their numbers; none raises on a character."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            opened = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115 - takes the lowest free number
            setattr(sys, name, opened)
            setattr(sys, f"__{name}__", opened)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def discard_output() -> None:
    """Keep Python's own flush at exit from complaining about output that cannot be written."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def cannot_be_written() -> bool:
    """Whether standard output holds what cannot be written; it is then given up."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()
        return True
    return False


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """While this lasts, whatever is printed, by C code too, goes to standard error; `results` go where they did."""
    global _results
    if _results is not None:
        yield
        return
    before, number = sys.stdout, _descriptor()
    if number is None:  # a stream of the caller's own, not the process's
        _results, sys.stdout = before, sys.stderr
        try:
            yield
        finally:
            _results, sys.stdout = None, before
        return
    before.flush()
    kept = open(os.dup(number), "w", encoding=before.encoding, errors=before.errors)  # noqa: PTH123, SIM115
    os.dup2(sys.stderr.fileno(), number)
    _results = kept
    try:
        yield
        kept.flush()
    finally:
        with contextlib.suppress(OSError):
            before.flush()
        _results = None
        os.dup2(kept.fileno(), number)
        with contextlib.suppress(OSError):  # what could not be written has been told
            kept.close()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Within `apart`, standard output as it was, for processes that are started to write results themselves."""
    number = _descriptor()
    if _results is None or number is None:
        yield
        return
    now = os.dup(number)
    os.dup2(_results.fileno(), number)
    try:
        yield
    finally:
        os.dup2(now, number)
        os.close(now)


def _descriptor() -> int | None:
    """The number of the process's own standard output; None where `sys.stdout` is something else."""
    if sys.stdout is not sys.__stdout__:
        return None
    try:
        sys.stderr.fileno()
        return sys.__stdout__.fileno() if sys.__stdout__ else None
    except (OSError, ValueError, AttributeError):
        return None
