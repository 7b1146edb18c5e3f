"""A run's folder while it is written to: by whom, what --force gives up, and how to put back what was there.

RUN/.zoo.lock   held by the one process that writes here, and says who that is; gone when it is done
RUN/.replaced   what was here before --force, until the new run has made its first step
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import itertools
import json
import os
import pwd
import re
import shutil
import socket
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zoo.errors import TrainingError, UsageError, ZooWarning
from zoo.os_words import reason
from zoo.training import checkpoint, tensorboard
from zoo.training.outputs import METRICS, PREVIEWS, WEIGHTS

RECIPE = "recipe.yaml"
ABOUT = "run.json"
FILES = "files"
"""Where run.json names the files beside the weights, such as a tokenizer's."""
LOCK = ".zoo.lock"
_REPLACED = ".replaced"
_REPLACED_NAME = re.compile(r"\.replaced(-\d+)?")
_FILE_SYSTEMS_OWN = "lost+found"  # in a mount point that is empty otherwise
_WRITTEN = (RECIPE, ABOUT, METRICS, WEIGHTS, PREVIEWS, checkpoint.FOLDER, tensorboard.FOLDER)
_UNFINISHED = re.compile(r"\..+\.partial")


@dataclass
class Held:
    """A folder that no other process writes to until `close`.

    begun: whether a run was begun here, which leaves no trace unless `settle` is called. made: folders that were not
    there before, the outermost first. aside: where the former content is. files: the names of the files
    beside the weights that the run may write.
    """

    path: Path
    lock: FileLock
    made: tuple[Path, ...] = ()
    begun: bool = False
    aside: Path | None = None
    files: frozenset[str] = frozenset()

    def settle(self) -> None:
        """The run has made a step: it stays, and what it replaces is given up."""
        if self.begun and self.aside is not None:
            try:
                shutil.rmtree(self.aside)
            except OSError as error:
                warnings.warn(f"{self.aside} cannot be removed: {_reason(error)}", ZooWarning, stacklevel=2)
        self.begun = False

    def close(self) -> None:
        """Let others write; the folder is as it was before a run that was begun and made no step. Can be repeated.

        What somebody else has put there meanwhile stays.
        """
        if not self.lock.is_locked:
            return
        if self.begun:
            for entry in content(self.path):
                if entry.name in {*_WRITTEN, *self.files} or _UNFINISHED.fullmatch(entry.name):
                    _remove(entry)
            if self.aside is not None:
                _move_back(self.aside, self.path)
        (self.path / LOCK).unlink(missing_ok=True)  # while it is held: who waits for it finds that it is gone
        self.lock.release()
        if self.begun:
            _unmake(self.made)
        self.begun = False


def claim(path: Path, *, force: bool = False, files: frozenset[str] = frozenset()) -> Held:
    """Begin a run in a new or empty folder, or with `force` in one whose content is set aside.

    The folder itself stays, be it a mount point, the target of a link or the working folder. files: as in `Held`.
    Raises UsageError for a folder that is not empty, or with `force` for one that is too much to give up;
    TrainingError when another process writes there, or the folder cannot be written.
    """
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{path} is a link to {path.readlink()}, which is not there", hint="name another")
    _require_free(path, force)
    made = _make(path)
    try:
        held = Held(path, _locked(path), made, files=files)
    except BaseException:
        _unmake(made)
        raise
    try:
        _require_free(path, force)  # by now, nobody else begins here
        if former := content(path):
            held.aside = _set_aside(path, former)
        held.begun = True
    except BaseException:
        held.close()
        _unmake(made)
        raise
    return held


def take(path: Path) -> Held:
    """Write to the run in a folder. Raises TrainingError when another process does, or it cannot be written."""
    return Held(path, _locked(path))


def content(path: Path) -> list[Path]:
    """What is in a folder, but for the lock and what the file system keeps there."""
    return sorted(entry for entry in path.iterdir() if entry.name not in (LOCK, _FILE_SYSTEMS_OWN))


def replaced(path: Path) -> list[Path]:
    """Where the former content of a folder is, which --force gave up for a run that has made no step yet."""
    return sorted(
        entry
        for entry in path.glob(f"{_REPLACED}*")
        if _REPLACED_NAME.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink()
    )


def will_replace(path: Path) -> Path:
    """Where `claim` is going to set the content of a folder aside."""
    names = (path / (f"{_REPLACED}-{number}" if number else _REPLACED) for number in itertools.count())
    return next(name for name in names if not name.exists())


def strangers(path: Path) -> list[str]:
    """The names of what is in a folder and is not of a run; all of it where there is no run."""
    found = [entry for entry in content(path) if entry not in replaced(path) or strangers(entry)]
    about = _about(path) if (path / RECIPE).is_file() else {}
    if not {"versions", "data"} <= about.keys():  # others have a recipe.yaml too
        return [entry.name for entry in found]
    known = {*_WRITTEN, *_named_files(about)}
    return [
        entry.name for entry in found if entry.name not in known and not _UNFINISHED.fullmatch(entry.name)
    ]


def require_expendable(path: Path) -> None:
    """Raises UsageError for what --force never empties: the root, a home, a parent of one or of where we are."""
    found = path.resolve()
    homes = {Path.home(), *(Path(user.pw_dir) for user in pwd.getpwall())}
    why = ""
    if found == found.parent:
        why = "the root folder"
    elif Path.cwd().resolve() != found and Path.cwd().resolve().is_relative_to(found):
        why = "a parent of the working folder"
    elif any(home.is_absolute() and home.resolve().is_relative_to(found) for home in homes):
        why = "somebody's home, or holds one"
    if why:
        raise UsageError(
            f"{path} is {why}, which --force never empties", hint="name a folder of the run's own"
        )


def _require_free(path: Path, force: bool) -> None:
    if not path.exists() or (path.is_dir() and not content(path)):
        return
    if path.is_dir() and force:
        require_expendable(path)
        return
    hint = "name another, or --force"
    if path.is_dir() and (left := replaced(path)):
        hint = f"{left[0]} has what was here before a run with --force was killed: move it back, or --force again"
    elif (path / RECIPE).is_file():
        hint = "go on there with --resume, give it up with --force, or name another"
    raise UsageError(f"{path} is not an empty folder", hint=hint)


def _make(path: Path) -> tuple[Path, ...]:
    """Make a folder; returns what was not there before, the outermost first."""
    missing = [folder for folder in (*reversed(path.parents), path) if not folder.exists()]
    made: list[Path] = []
    try:
        for folder in missing:
            folder.mkdir(exist_ok=True)
            made.append(folder)
    except OSError as error:
        _unmake(tuple(made))
        raise _unwritable(path, error) from error
    return tuple(made)


def _unmake(made: tuple[Path, ...]) -> None:
    for folder in reversed(made):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _locked(path: Path) -> FileLock:
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who, hint = _holder(path / LOCK)
        raise TrainingError(f"{path} is being written to by {who}", hint=hint) from None
    except OSError as error:
        raise _unwritable(path, error) from error
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, and says nothing
        (path / LOCK).write_text(json.dumps(_me()) + "\n", encoding="utf-8")
    return lock


def _me() -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "user": user, "since": since}


def _holder(lock: Path) -> tuple[str, str]:
    """Who holds a lock, in words, and what to do about it."""
    try:
        said = json.loads(lock.read_text(encoding="utf-8"))
        pid, host, user, since = (said[name] for name in ("pid", "host", "user", "since"))
    except (OSError, ValueError, KeyError, TypeError):
        return "another process", "wait until it is done, or stop it"
    who = f"process {pid} of {user} on {host}, since {since}"
    here = host == socket.gethostname()
    return who, f"wait until it is done, or stop it {f'(it saves first): kill {pid}' if here else 'there'}"


def _set_aside(path: Path, former: list[Path]) -> Path:
    """Move what is in a folder into one of its own there; all of it or, when this raises, nothing."""
    aside = will_replace(path)
    try:
        aside.mkdir()
        for entry in sorted(
            former, key=lambda entry: entry.name != RECIPE
        ):  # half of a run never looks like one
            entry.replace(aside / entry.name)
    except BaseException as error:
        _move_back(aside, path)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise
    return aside


def _move_back(aside: Path, path: Path) -> None:
    """Put the former content back; what has a name that is taken by now stays where it is, and is told."""
    if not aside.is_dir():
        return
    for entry in list(aside.iterdir()):
        if not os.path.lexists(path / entry.name):
            entry.replace(path / entry.name)
    if kept := sorted(entry.name for entry in aside.iterdir()):
        warnings.warn(
            f"{aside} keeps {', '.join(kept)}: {path} has others of that name", ZooWarning, stacklevel=3
        )
    else:
        aside.rmdir()


def _about(path: Path) -> dict[str, Any]:
    """What run.json says; nothing where there is none."""
    try:
        said = json.loads((path / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _named_files(about: dict[str, Any]) -> list[str]:
    """The files beside the weights that the run wrote, as run.json names them."""
    names = about.get(FILES)
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    return reason(error)


def _unwritable(path: Path, error: OSError) -> TrainingError:
    at = f" ({error.filename})" if error.filename not in (None, str(path)) else ""
    return TrainingError(
        f"{path} cannot be written: {_reason(error)}{at}", hint="name a folder that you may write to"
    )
