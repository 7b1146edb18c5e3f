"""Loading one plugin: a stranger's code, called so that whatever it does becomes a reason and stops nothing else."""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pluggy

from zoo.family import API_VERSION, Family

T = TypeVar("T")

hookimpl = pluggy.HookimplMarker("zoo")


class Hooks:
    """The whole of what the zoo asks a plugin."""

    @pluggy.HookspecMarker("zoo")
    def zoo_families(self) -> list[Family]:
        """The families this plugin brings, as values that import nothing until they are used."""
        raise NotImplementedError


class BrokenError(Exception):
    """Why a plugin cannot be loaded, in one sentence without its name."""


def load(module: str, distribution: str) -> tuple[Family, ...]:
    """Import a plugin's module and ask its hook, alone in its own plugin manager.

    What it prints goes to stderr, so that it cannot mix with results. Raises BrokenError, and KeyboardInterrupt when
    Ctrl-C came, whatever the plugin made of it. One that hangs or ends the process does so: see `zoo.plugin_probe`.
    """
    found = _guarded("its import", lambda: importlib.import_module(module))
    _guarded("reading its zoo_api", lambda: _fit(module, getattr(found, "zoo_api", None), distribution))
    manager = pluggy.PluginManager("zoo")
    _guarded("registering its hook", lambda: _register(manager, found, module))
    return _guarded("its hook zoo_families", lambda: _brought(manager.hook.zoo_families()))


def _guarded(what: str, call: Callable[[], T]) -> T:
    try:
        with _interruptible(), contextlib.redirect_stdout(sys.stderr):
            return call()
    except (_InterruptError, BrokenError):
        raise
    except SystemExit as error:
        raise BrokenError(f"{what} ends the process (exit code {error.code!r})") from error
    except BaseException as error:
        raise BrokenError(f"{what} raises {type(error).__name__}: {_message(error)}") from error


class _InterruptError(KeyboardInterrupt):
    """A Ctrl-C of the person, not one that a plugin raises."""


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raise `_InterruptError` when Ctrl-C came meanwhile, also where the code within swallowed it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, came = signal.getsignal(signal.SIGINT), False

    def note(number: int, frame: types.FrameType | None) -> None:
        nonlocal came
        came = True
        if callable(before):
            before(number, frame)
        raise KeyboardInterrupt

    if callable(before):  # not where it is ignored
        signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        if callable(before):
            signal.signal(signal.SIGINT, before)
        if came:
            raise _InterruptError


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be read)"


def _fit(module: str, api: Any, distribution: str) -> None:
    """Raises when the plugin's interface range does not hold the one this core speaks."""
    match api:
        case (int(low), int(high)) if low <= API_VERSION <= high:
            return
        case (int(low), int(high)) if low <= high:
            upgrade = "zoo-core" if low > API_VERSION else distribution
            raise BrokenError(
                f"it fits the plugin interfaces {low} to {high}, but this zoo speaks {API_VERSION} to {API_VERSION}; "
                f"upgrade {upgrade} (pip install -U {upgrade})"
            )
    raise BrokenError(
        f"{module} has zoo_api = {api!r}, but must say the interfaces it fits, such as zoo_api = (1, 1)"
    )


def _register(manager: pluggy.PluginManager, found: Any, module: str) -> None:
    manager.add_hookspecs(Hooks)
    manager.register(found)
    hooks = manager.get_hookcallers(found) or []
    unknown = [hook.name for hook in hooks if not hook.has_spec()]
    if unknown:
        raise BrokenError(f"{module} has the unknown hook {', '.join(unknown)}; allowed: zoo_families")
    if not hooks:
        raise BrokenError(f"{module} has no function zoo_families marked with @hookimpl")


def _brought(answers: list[Any]) -> tuple[Family, ...]:
    answer = answers[0] if answers else None
    if not isinstance(answer, list | tuple):
        raise BrokenError(f"its hook zoo_families returns {answer!r}, but must return a list of Family")
    for one in answer:
        if not isinstance(one, Family):
            raise BrokenError(f"its hook zoo_families returns a list with {one!r}, which is not a Family")
    names = [one.name for one in answer]
    if len(set(names)) < len(names):
        raise BrokenError(f"its hook zoo_families names a family twice: {', '.join(names)}")
    return tuple(answer)
