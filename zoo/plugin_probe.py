"""Plugins loaded in child processes with a time limit, so that whatever one does there costs nothing here.

A plugin may hang, end its process, raise KeyboardInterrupt, change signals or close files: here it becomes a reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from zoo.family import Family

SECONDS = 20.0
"""How long a plugin may take to load; an import of torch from a slow disk fits."""

_TOGETHER = max(
    2, min(8, os.cpu_count() or 1)
)  # a processor each, so that none is slow because of the others
_LOOK = 0.05  # seconds between two looks whether a process has ended
_READING = 1.0  # seconds for the answer of one that is done while another was waited for
_MOST_BYTES = 1_000_000  # of an answer that is read
_WORKER = """
import json, os, sys
answer = os.dup(1)
os.dup2(2, 1)
sys.path[:] = json.loads(sys.argv[1])
from zoo import plugin_probe
plugin_probe.answer(answer, *sys.argv[2:])
"""


def probe(asked: Sequence[tuple[str, str]]) -> list[tuple[tuple[Family, ...], str]]:
    """For each (module, distribution) its families and "", or none and the reason why it cannot be loaded.

    Some at a time, so that one that hangs holds up few others. What a plugin prints is dropped.
    """
    return [
        answer for at in range(0, len(asked), _TOGETHER) for answer in _together(asked[at : at + _TOGETHER])
    ]


def answer(descriptor: int, module: str, distribution: str) -> None:
    """The child's part: load the plugin and write what it brings to the descriptor."""
    from zoo.plugin_loading import BrokenError, load

    try:
        said: dict[str, Any] = {"families": [asdict(family) for family in load(module, distribution)]}
    except BrokenError as error:
        said = {"broken": str(error)}
    left = memoryview(json.dumps(said).encode() + b"\n")
    while left:
        left = left[os.write(descriptor, left) :]
    os._exit(0)  # what it leaves for the end, such as threads, is not waited for


def _together(asked: Sequence[tuple[str, str]]) -> list[tuple[tuple[Family, ...], str]]:
    until = time.monotonic() + SECONDS
    with contextlib.ExitStack() as started:
        children = [started.enter_context(_started(*each)) for each in asked]
        return [_answer(child, until) for child in children]


@contextlib.contextmanager
def _started(module: str, distribution: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, out of reach of Ctrl-C; it ends with the context, and so do its children."""
    places = json.dumps([str(place) for place in sys.path])
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", _WORKER, places, module, distribution],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def _answer(child: subprocess.Popen[bytes], until: float) -> tuple[tuple[Family, ...], str]:
    try:
        line = _line(child, max(until, time.monotonic() + _READING))
        code = 0 if line.endswith(b"\n") else child.wait(_READING)
    except (TimeoutError, subprocess.TimeoutExpired):
        return (), f"loading it takes more than {SECONDS:.0f} seconds"
    try:
        said = json.loads(line)
        if "broken" in said:
            return (), str(said["broken"])
        return tuple(_family(each) for each in said["families"]), ""
    except (ValueError, TypeError, KeyError):
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return (), f"loading it ends the process ({how})"


def _line(child: subprocess.Popen[bytes], until: float) -> bytes:
    """The line that a child answers, or what there is of it when the child ends. Raises TimeoutError.

    Not all up to the end of the file: a process that the plugin has begun may hold that open.
    """
    assert child.stdout is not None
    said = b""
    while not said.endswith(b"\n") and len(said) < _MOST_BYTES:
        ended = child.poll() is not None
        if select.select([child.stdout], [], [], 0 if ended else _LOOK)[0]:
            part = os.read(child.stdout.fileno(), _MOST_BYTES)
            if not part:
                break
            said += part
        elif ended:
            break
        elif time.monotonic() > until:
            raise TimeoutError
    return said


def _family(said: dict[str, Any]) -> Family:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
    }
    return Family(**fields)
