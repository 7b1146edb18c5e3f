"""Token ids in files that are mapped into memory: a text is encoded once, however often it is trained on.

ZOO_HOME/tokens/KEY.tokens is a header (what it is, the width and number of the ids, their sha256) and the ids, the
lowest byte first. KEY says what was encoded, and by which tokenizer. `zoo.datasets.kept` removes what is not used.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

from zoo import paths
from zoo.datasets import kept
from zoo.errors import DiskSpaceError
from zoo.os_words import reason

_MAGIC = b"zoo tokens 1"
_HEADER = struct.Struct("<12sIQ32s8x")  # magic, bytes an id, ids, sha256 of the ids
_HASHED_AT_ONCE = 2**20  # ids
_HINT = "ZOO_HOME names another folder for the zoo's own files"


def folder() -> Path:
    """Where the files are. It may not exist yet."""
    return paths.home() / "tokens"


def key(*parts: str) -> str:
    """A file's name, without suffix, from what decides its ids."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def find(name: str, width: np.dtype) -> np.ndarray | None:
    """The ids stored under a key, mapped; None when there are none, or when they are not as they were written."""
    path = folder() / f"{name}.tokens"
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return None
    if len(header) < _HEADER.size:
        return None
    magic, stored, count, digest = _HEADER.unpack(header)
    if (magic, stored, size) != (_MAGIC, width.itemsize, _HEADER.size + count * stored):
        return None
    if count == 0:
        return np.empty(0, width)
    ids = np.memmap(path, width, "r", offset=_HEADER.size, shape=(count,))
    if fingerprint(ids) != digest.hex():
        return None
    kept.used(path)
    return ids


def cached(name: str, width: np.dtype, parts: Iterable[Sequence[int]]) -> np.ndarray:
    """The ids under a key, mapped; when there are none, `parts` are gone through and stored, a part at a time.

    Of several processes that ask at once, one stores and the others wait. A file takes its name once all of it is on
    the disk. Raises DiskSpaceError when it cannot be written.
    """
    if (found := find(name, width)) is not None:
        return found
    with writing():
        folder().mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder() / f"{name}.lock")
        lock.acquire()
    try:
        if (found := find(name, width)) is None:
            _store(folder() / f"{name}.tokens", width, parts)
            found = find(name, width)
    finally:
        lock.release()
    if found is None:
        raise DiskSpaceError(f"{folder()} does not keep what is written to it", hint=_HINT)
    return found


def fingerprint(ids: np.ndarray) -> str:
    """sha256, in hex, of ids as four bytes each, whatever their width."""
    digest = hashlib.sha256()
    for at in range(0, len(ids), _HASHED_AT_ONCE):
        digest.update(ids[at : at + _HASHED_AT_ONCE].astype("<u4").tobytes())
    return digest.hexdigest()


def _store(path: Path, width: np.dtype, parts: Iterable[Sequence[int]]) -> None:
    aside = path.with_suffix(
        ".partial"
    )  # one left by a process that was killed is written over: the lock is ours
    digest, count = hashlib.sha256(), 0
    try:
        with writing(), aside.open("wb") as file:
            file.write(bytes(_HEADER.size))
            for part in parts:
                ids = np.asarray(part, dtype=width)
                file.write(ids.data)
                digest.update(ids.astype("<u4").tobytes())
                count += len(ids)
            file.seek(0)
            file.write(_HEADER.pack(_MAGIC, width.itemsize, count, digest.digest()))
            file.flush()
            os.fsync(file.fileno())
        with writing():
            aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextmanager
def writing() -> Iterator[None]:
    """What the disk refuses becomes a DiskSpaceError."""
    try:
        yield
    except OSError as error:
        raise DiskSpaceError(f"{folder()} cannot be written: {reason(error)}", hint=_HINT) from None
