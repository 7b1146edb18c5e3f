"""What the operating system refuses, in words: the file, the reason, and what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

_HINTS = {
    errno.ENOSPC: "make room, or name a place on another disk",
    errno.EDQUOT: "make room within your quota, or name a place on another disk",
    errno.EFBIG: "name a place on a file system, or under a limit, that takes larger files",
    errno.EACCES: "name a place that you may use, or change its permissions",
    errno.EPERM: "name a place that you may use, or change its permissions",
    errno.EROFS: "name a place on a disk that can be written",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENOTDIR: "a part of this path is a file: name another",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.EIO: "the disk or its connection may be failing",
    errno.ESTALE: "the network disk has lost the file: try again",
    errno.ETXTBSY: "another program uses it: try again",
    errno.ELOOP: "its links lead in a circle",
}


def reason(error: BaseException) -> str:
    """Why it failed, as one line without the file's name or a number of an error."""
    said = getattr(error, "strerror", None)
    if not said and isinstance(error, OSError) and error.errno:
        said = os.strerror(error.errno)
    return str(said) if said else plain(" ".join(str(error).split()))[:300] or type(error).__name__


def plain(text: str) -> str:
    """A message without the numbers of the system's errors, as Python and Rust write them."""
    return re.sub(r"\[Errno -?\d+\] | \(os error \d+\)", "", text)


def hint(error: OSError) -> str:
    """What to do, "" where the reason says it."""
    return _HINTS.get(error.errno or 0, "")


def sentence(error: OSError) -> str:
    """The reason with the files that are concerned, for an error of which no more is known."""
    files = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    if not files:
        return f"the system refuses: {reason(error)}" if error.errno else f"{reason(error)}"
    return f"{' and '.join(files)}: {reason(error)}"


@contextlib.contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Let an OSError name `path`: that of a write names no file, or one that was to be renamed."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise
