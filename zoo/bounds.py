"""What a stranger's file may cost: only regular files are read, and what they unpack to has bounds.

A pipe or a device may wait or give bytes forever; an archive of a few bytes may stand for all of a machine's memory.
"""

from __future__ import annotations

import errno
import gzip
import io
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

from zoo.errors import DataError

MOST_RATIO = 200
"""Bytes that a byte of a file may unpack to. Text, tables and pictures have 2 to 50; deflate reaches 1000."""
HARMLESS = 2**26
"""Bytes that may be unpacked whatever the ratio: few enough for every machine."""

_UNKNOWN = 2**33  # bytes of memory taken to be free where the system does not say


def regular(path: Path) -> Path:
    """The path of a regular file. Raises OSError for what is none, such as a pipe, and never waits for one."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return path
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))


def require_moderate(name: str, packed: int, unpacked: int) -> None:
    """Raises DataError when a file of `packed` bytes unpacks to far more of them. name: of the file."""
    if unpacked > HARMLESS and unpacked > MOST_RATIO * packed:
        raise DataError(
            f"{name} is refused: {packed:,} bytes unpack to {unpacked:,} or more, and at most {MOST_RATIO} times as "
            "many are read",
            hint="if the file is yours, unpack it yourself; arrays in .npy files have no such limit",
        )


def require_memory(name: str, size: int) -> None:
    """Raises DataError when `size` bytes are more than half of the free memory: the other half is worked in."""
    free = free_memory()
    if 2 * size > free:
        raise DataError(
            f"{name} takes {size:,} bytes of memory, more than half of the {free:,} that are free",
            hint="divide it into several files; an array in an .npy file is mapped instead of loaded",
        )


def free_memory() -> int:
    """Bytes that can still be had, of the machine's and, where there is one, of the container's memory."""
    found = [_machine(), _container()]
    return min((size for size in found if size is not None), default=_UNKNOWN)


def _machine() -> int | None:
    with suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        for name, _, value in (line.partition(":") for line in lines):
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    return None


def _container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Of a control group with a limit (version 2); the cache of files that it holds counts as free."""
    with suppress(OSError, ValueError):
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        cached = dict(line.split() for line in lines).get("inactive_file", "0")
        return max(0, limit - used + int(cached))
    return None


def gunzipped(packed: IO[bytes], name: str) -> IO[bytes]:
    """What a stream of gzip holds, unpacked as it is read. Raises DataError once that is far more than was packed."""
    return io.BufferedReader(_Gunzipped(packed, name), 2**18)


class _Gunzipped(io.RawIOBase):
    def __init__(self, packed: IO[bytes], name: str) -> None:
        self._packed, self._name, self._count = packed, name, 0
        self._plain = gzip.GzipFile(fileobj=packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._plain.read1(len(buffer))
        buffer[: len(part)] = part
        self._count += len(part)
        require_moderate(self._name, self._packed.tell(), self._count)
        return len(part)
