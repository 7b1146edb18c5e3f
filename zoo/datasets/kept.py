"""What was made of data once and is kept below ZOO_HOME: encoded texts, vocabularies, rows of the Hub's data sets.

ZOO_HOME/tokens, ZOO_HOME/datasets   KEY.SUFFIX, beside KEY.lock while it is made, and KEY.partial until it is whole

Whoever uses a file again marks it as used. All of it can be made again, from the data.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from zoo import paths
from zoo.weights.cache import CachedRepo, Garbage
from zoo.weights.records import storage_error

FOLDERS = ("tokens", "datasets")
UNUSED_DAYS = 30
"""After so many without use, a file is one that nobody needs."""
_DAY = 24 * 3600.0
_LOCK, _PARTIAL = ".lock", ".partial"


def used(path: Path) -> None:
    """Mark a file as used now, where the disk lets."""
    with contextlib.suppress(OSError):
        os.utime(path)


def scan() -> tuple[CachedRepo, ...]:
    """What each folder holds, under its name; none for an empty one."""
    found = []
    for name in FOLDERS:
        files = [path for path in _files(name) if path.suffix != _LOCK]
        whole = {path: path.stat() for path in files if path.suffix != _PARTIAL}
        partial = sum(path.stat().st_size for path in files if path.suffix == _PARTIAL)
        if files:
            last = max((state.st_mtime for state in whole.values()), default=0.0)
            size = sum(state.st_size for state in whole.values())
            found.append(CachedRepo(name, (), len(whole), size, last, interrupted=partial))
    return tuple(found)


def collect(*, dry_run: bool = False) -> tuple[Garbage, ...]:
    """Remove what was left half-made and what was long not used; returns what that was.

    What a living process is making stays. dry_run: only say what would go.
    """
    return tuple(_removed(FOLDERS, time.time() - UNUSED_DAYS * _DAY, dry_run))


def remove(name: str) -> int:
    """Remove all that one of `FOLDERS` holds, but for what is being made; returns the bytes freed."""
    return sum(item.bytes for item in _removed((name,), float("inf"), dry_run=False))


def _removed(names: tuple[str, ...], last_use: float, dry_run: bool) -> Iterator[Garbage]:
    """What is garbage when a file must have been used after `last_use`."""
    for name in names:
        groups: dict[str, list[Path]] = {}
        for path in _files(name):
            groups.setdefault(path.name.removeprefix(".").partition(".")[0], []).append(path)
        for key, group in groups.items():
            with _alone(paths.home() / name / f"{key}{_LOCK}") as alone:
                found = list(_garbage(group, last_use)) if alone else []
                try:
                    for item in () if dry_run else found:
                        item.path.unlink(missing_ok=True)
                except OSError as error:
                    raise storage_error(error) from error
            yield from found


def _garbage(group: list[Path], last_use: float) -> Iterator[Garbage]:
    """Of the files with one key, which nobody is making."""
    left = 0
    for path in group:
        state = path.stat()
        days = (time.time() - state.st_mtime) / _DAY
        if path.suffix == _PARTIAL and (not path.name.startswith(".") or days > 1):  # those have no lock
            yield Garbage(path, state.st_size, "it was never finished")
        elif path.suffix not in (_PARTIAL, _LOCK) and state.st_mtime < last_use:
            yield Garbage(path, state.st_size, f"not used for {days:.0f} days; it can be made again")
        else:
            left += path.suffix != _LOCK
    if not left:
        yield from (Garbage(path, 0, "it locks nothing") for path in group if path.suffix == _LOCK)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """Whether no other process makes what a lock guards; none begins to meanwhile."""
    if not lock.exists():
        yield True
        return
    try:
        with FileLock(lock, timeout=0):
            yield True
    except Timeout:
        yield False


def _files(name: str) -> list[Path]:
    folder = paths.home() / name
    return sorted(path for path in folder.glob("*") if path.is_file() and not path.is_symlink())
