"""What the zoo knows about downloaded bytes: which were verified, what each file's hash was at first, what failed.

Three things in `zoo.paths.home()`: verified.json (a blob of this size and time had this sha256, so it need not be
read again), lock.json (the sha256 of every file at its first download) and quarantine/ (bytes that were not the
expected ones).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zoo import paths
from zoo.errors import DiskSpaceError, IntegrityError, WeightsError
from zoo.os_words import reason
from zoo.weights import layout

_CHUNK = 1 << 20
_SCHEMA = 1
_LOCK = "lock.json"
_VERIFIED = "verified.json"


def key(repo: str, commit: str, name: str) -> str:
    """How lock.json names a file."""
    return f"{repo}@{commit}/{name}"


def locked_hashes() -> dict[str, str]:
    """sha256 of every file at its first download, by `key`. Raises WeightsError when lock.json is damaged."""
    path = paths.home() / _LOCK
    try:
        found = _read(path)
    except ValueError as error:
        raise WeightsError(
            f"{path} is damaged: {error}", hint="restore it, or delete it to lock anew"
        ) from None
    return {name: value for name, value in found.items() if isinstance(value, str)}


def is_verified(path: Path, *expected: str) -> bool:
    """Whether the file was verified before, is unchanged by size and time, and has each of these hashes.

    Empty strings among `expected` ask for nothing.
    """
    found = _unchanged(path)
    return bool(found) and all(wanted in ("", found) for wanted in expected)


def recorded(path: Path) -> str:
    """The sha256 the file had when it was last verified, whether or not it has changed since; "" when unknown."""
    return str(_record(path.resolve()).get("sha256", ""))


def _unchanged(path: Path) -> str:
    """The file's sha256 by the record, or "" when there is none that fits its size and time."""
    try:
        real = path.resolve(strict=True)
        state = real.stat()
    except OSError:
        return ""
    known = _record(real)
    same = known.get("bytes") == state.st_size and known.get("modified_ns") == state.st_mtime_ns
    return str(known.get("sha256", "")) if same else ""


def _record(real: Path) -> dict[str, Any]:
    try:
        known = _read(paths.home() / _VERIFIED).get(str(real))
    except (OSError, ValueError):
        return {}  # a damaged record costs reading the files once more
    return known if isinstance(known, dict) else {}


def verify(
    path: Path,
    *,
    repo: str,
    commit: str,
    name: str,
    pin: str = "",
    size: int | None = None,
    again: bool = False,
) -> str:
    """Read the file and compare it with what it must be; a right one is recorded, a wrong one quarantined.

    It must have the pinned sha256, the one of its first download, and the pinned size. With no hash known, it must
    be what its blob is named by (a sha256, or git's sha1). The first time, its sha256 is locked.
    again: read it even when the record has it.
    Returns the sha256. Raises IntegrityError; then the file is no longer in the cache.
    """
    locked = locked_hashes().get(key(repo, commit, name), "")
    if not again and (pin or locked) and is_verified(path, pin, locked):
        return _unchanged(path)
    etag = layout.etag_of(path)
    before = path.stat()
    sha256, git_sha1 = hashes(path, git=layout.COMMIT.fullmatch(etag) is not None)
    wrong = [(wanted, sha256) for wanted in (pin, locked) if wanted not in ("", sha256)]
    if not (pin or locked) and etag not in ("", sha256, git_sha1):
        wrong.append((etag, sha256 if layout.SHA256.fullmatch(etag) else git_sha1))
    if size not in (None, before.st_size):
        wrong.append((f"{size} bytes", f"{before.st_size} bytes"))
    if wrong:
        moved = quarantine(path, repo=repo, actual=sha256)
        [(expected, actual), *_] = wrong
        raise IntegrityError(
            f"{name} of {repo}@{commit[:8]}: expected {expected}, got {actual}; "
            f"the file {'was moved to quarantine' if moved else 'could not be moved to quarantine'}"
        )
    if not locked:
        try:
            _update(_LOCK, {key(repo, commit, name): sha256})
        except OSError as error:
            raise storage_error(error) from error
    with contextlib.suppress(OSError):  # on a read-only disk it is read again next time
        state = {"bytes": before.st_size, "modified_ns": before.st_mtime_ns, "sha256": sha256}
        _update(_VERIFIED, {str(path.resolve()): state})
    return sha256


def hashes(path: Path, *, git: bool = False) -> tuple[str, str]:
    """The file's sha256 and, if asked, the sha1 that git names it by (else ""), in one pass."""
    sha256 = hashlib.sha256()
    sha1 = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False) if git else None
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            if sha1:
                sha1.update(chunk)
    return sha256.hexdigest(), sha1.hexdigest() if sha1 else ""


def quarantine(path: Path, *, repo: str, actual: str) -> bool:
    """Take a wrong file out of the cache: its bytes go to quarantine/, the links to them are removed.

    Bytes outside the cache (a link that leads elsewhere) stay where they are; only the link goes.
    Returns whether the file is gone from the cache, which a read-only disk prevents.
    """
    cache = paths.hub_cache().resolve()
    real = path.resolve()
    try:
        while path.is_symlink():
            target = Path(os.path.normpath(path.parent / path.readlink()))
            path.unlink()
            if cache not in target.parent.resolve().parents:
                return True
            path = target
        if cache in real.parents:
            _set_aside(real, f"{layout.repo_folder(repo).name}/{path.name[:64]}.{actual[:12]}")
    except OSError:
        return False
    forget(real)
    return True


def _set_aside(real: Path, name: str) -> None:
    place = paths.home() / "quarantine" / name
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(real, place)
    except OSError:
        real.unlink(missing_ok=True)  # no room for it: what matters is that nobody uses it


def storage_error(error: OSError) -> WeightsError:
    """What a failed write to the cache or the zoo's folder means to a person."""
    where = _setting_of(error.filename)
    folder = "folders" if " " in where else "a folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskSpaceError(
            f"the disk is full: {reason(error)}; nothing incomplete was used",
            hint=f"make room (`zoo cache gc`), or let {where} name {folder} with room",
        )
    return WeightsError(
        f"cannot use {error.filename or where}: {reason(error)}",
        hint=f"let {where} name {folder} you may write",
    )


def _setting_of(filename: object) -> str:
    """The variables that move a file elsewhere: by the folder it is in, or that could not be made below it."""
    if filename is None:
        return "HF_HUB_CACHE"
    path = Path(str(filename))
    folders = {"ZOO_HOME": paths.home(), "HF_HUB_CACHE": paths.hub_cache()}
    found = [
        name for name, folder in folders.items() if path.is_relative_to(folder) or folder.is_relative_to(path)
    ]
    return " and ".join(found) or "HF_HUB_CACHE"


def quarantined() -> list[Path]:
    return sorted(path for path in (paths.home() / "quarantine").glob("*/*") if path.is_file())


def forget(real: Path) -> None:
    """Drop the record of a blob, by its resolved path."""
    with contextlib.suppress(OSError):
        _update(_VERIFIED, {str(real): None})


def forget_absent() -> None:
    """Drop the records of blobs that are no longer there."""
    with contextlib.suppress(OSError, ValueError):
        known = _read(paths.home() / _VERIFIED)
        if absent := {name: None for name in known if not Path(name).is_file()}:
            _update(_VERIFIED, absent)


@contextlib.contextmanager
def only_process(name: str, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold the zoo's lock of that name; `waiting` is called once when another process has it.

    Where the zoo's folder cannot be written, nothing is held: the Hub's client has a lock of its own.
    """
    from filelock import FileLock, Timeout

    path = paths.home() / "locks" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock"
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    try:
        yield
    finally:
        lock.release()


def _read(path: Path) -> dict[str, Any]:
    """The entries of one of the zoo's own JSON files; none when it does not exist. Raises ValueError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise ValueError("not an object with files")  # noqa: TRY004 - as json's own error for damaged content
    files: dict[str, Any] = content["files"]
    return files


def _update(file: str, changes: dict[str, Any]) -> None:
    """Merge entries into one of the zoo's own JSON files, atomically; None removes one. Raises OSError."""
    from filelock import FileLock

    path = paths.home() / file
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".json.lock")):
        try:
            entries = _read(path)
        except ValueError:
            entries = {}
        entries = {name: value for name, value in {**entries, **changes}.items() if value is not None}
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{file}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump({"schema": _SCHEMA, "files": entries}, out, indent=1, sort_keys=True)
                if file == _LOCK:  # a power cut may cost the record of checks, but no hash
                    out.flush()
                    os.fsync(out.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
