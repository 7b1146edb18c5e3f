"""The bytes of one file that is pushed: held here, or the rest of a file on the disk behind bytes held here."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Content:
    """`head`, then what the file at `path` has from byte `skip` on. sha256 and size are those of the whole.

    The file is read again when it is sent, so whoever sends it compares the hash.
    """

    head: bytes
    path: Path | None
    skip: int
    sha256: str
    size: int

    @classmethod
    def of_bytes(cls, head: bytes) -> Content:
        return cls(head, None, 0, hashlib.sha256(head).hexdigest(), len(head))

    @classmethod
    def of_json(cls, said: Any) -> Content:
        return cls.of_bytes((json.dumps(said, indent=2) + "\n").encode())

    @classmethod
    def of_file(cls, path: Path, *, head: bytes = b"", skip: int = 0) -> Content:
        """The file, whose first `skip` bytes are replaced by `head`. Reads all of it. Raises OSError."""
        digest, size = hashlib.sha256(head), len(head)
        with path.open("rb") as file:
            file.seek(skip)
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        return cls(head, path, skip, digest.hexdigest(), size)

    def open(self, report: Callable[[int], object] | None = None) -> io.BufferedReader:
        """The bytes as a stream that can be sought. report: told the position after each read. Raises OSError."""
        return io.BufferedReader(_Joined(self, report), _CHUNK)

    def read(self) -> bytes:
        """All of the bytes, for small files."""
        with self.open() as stream:
            return stream.read()


class _Joined(io.RawIOBase):
    """The stream of a `Content`; the file stays open, so replacing it by a rename meanwhile changes nothing."""

    def __init__(self, content: Content, report: Callable[[int], object] | None) -> None:
        self._head, self._skip, self._report = content.head, content.skip, report
        self._file = content.path.open("rb", buffering=0) if content.path else None
        rest = os.fstat(self._file.fileno()).st_size - content.skip if self._file else 0
        self._size, self._at = len(content.head) + max(0, rest), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._at < len(self._head):
            piece = self._head[self._at : self._at + len(view)]
            view[: len(piece)] = piece
            count = len(piece)
        elif self._file is not None:
            self._file.seek(self._at - len(self._head) + self._skip)
            count = self._file.readinto(view) or 0
        else:
            count = 0
        self._at += count
        if self._report and count:
            self._report(self._at)
        return count

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()
