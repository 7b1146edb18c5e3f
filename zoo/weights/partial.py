"""Resume a download across processes: what an interrupted one left is asked for no second time.

The Hub's client resumes within one call, and removes its partial file when that call fails. Here the partial file
gets a second name, so it outlives the call; the next download of the same blob asks the server only for the rest
and is handed the bytes that are already here, through the response it reads anyway. The whole file is checked
against its hash afterwards as any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import httpx2

from zoo.errors import HubError
from zoo.weights import layout

_LEAST_WORTH = 1 << 16  # bytes; fewer are quicker to fetch than to care about
_CHUNK = 1 << 20
_FROM = re.compile(r"bytes=(\d+)-")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Partial:
    """The partial files of one blob while it is downloaded. What it does to them, it does while the client holds
    its lock of that blob, so no living process writes to them.

    folder: of the repo. etag: the blob's name. size: of the whole file in bytes; None when the server does not say.
    tell: called with the bytes of the file that are here, as they arrive.
    """

    def __init__(self, folder: Path, etag: str, size: int | None, tell: Callable[[int], object]) -> None:
        self._folder, self._etag, self._size, self._tell = folder, etag, size, tell
        self._kept = folder / "blobs" / f"{etag}.kept{layout.INCOMPLETE}"
        self._orphans: list[Path] = []
        self._source: BinaryIO | None = None
        self._asked = 0

    def begin(self) -> None:
        """Call before the client starts: the partial files that are there now are not its own."""
        self._orphans = layout.incomplete_files(self._folder, self._etag)

    def ask(self, request: httpx2.Request) -> None:
        """Ask only for the bytes that are missing, unless the client already resumes."""
        if request.method != "GET" or "Range" in request.headers or not self._size:
            return
        with suppress(OSError):
            largest = max(self._orphans, key=lambda path: path.stat().st_size, default=None)
            if largest is not None and largest.stat().st_size >= _LEAST_WORTH:
                self._source = largest.open("rb")
                self._asked = min(largest.stat().st_size, self._size - 1)
                request.headers["Range"] = f"bytes={self._asked}-"

    def join(self, response: httpx2.Response) -> None:
        """Put the bytes that are here before those the server sends, and keep what arrives under a second name."""
        if response.request.method != "GET" or response.is_redirect:
            return
        source, asked = self._source, self._asked
        self._source, self._asked = None, 0
        if source is not None and response.status_code != 206:
            source.close()  # the server sends the whole file
            source = None
        if source is not None and not self._continues(response, asked):
            source.close()
            self._forget()
            raise HubError(f"the Hub answered with other bytes than the asked ones, from {asked} on")
        self._keep()
        asked_by_client = _FROM.fullmatch(response.request.headers.get("Range", ""))
        here = (
            int(asked_by_client[1]) if asked_by_client and response.status_code == 206 and not source else 0
        )
        response.stream = _Body(response.stream, source, asked, here, self._tell)

    def _continues(self, response: httpx2.Response, asked: int) -> bool:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        plain = response.headers.get("Content-Encoding", "identity") == "identity"
        return plain and found is not None and (int(found[1]), int(found[3])) == (asked, self._size)

    def _keep(self) -> None:
        """Give the client's open partial file a second name, in place of the older partial files."""
        started = set(layout.incomplete_files(self._folder, self._etag)) - set(self._orphans) - {self._kept}
        if len(started) != 1:
            return
        self._forget()
        with suppress(OSError):  # a file system without hard links: an interrupted download starts anew
            self._kept.hardlink_to(started.pop())

    def _forget(self) -> None:
        for path in {*self._orphans, self._kept}:
            with suppress(OSError):
                path.unlink()
        self._orphans = []


class _Body(httpx2.SyncByteStream):
    """A response's bytes after those of a local file. A reset connection looks like a cut one: the client resumes."""

    def __init__(
        self, stream: Any, source: BinaryIO | None, length: int, here: int, tell: Callable[[int], object]
    ) -> None:
        self._stream, self._source, self._length, self._here, self._tell = stream, source, length, here, tell

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks():
            self._here += len(chunk)
            self._tell(self._here)
            yield chunk

    def _chunks(self) -> Iterator[bytes]:
        while self._source and self._length > 0 and (chunk := self._source.read(min(_CHUNK, self._length))):
            self._length -= len(chunk)
            yield chunk
        try:
            yield from self._stream
        except httpx2.ReadError as error:
            raise httpx2.RemoteProtocolError(str(error) or "the connection was reset") from error

    def close(self) -> None:
        if self._source:
            self._source.close()
        self._stream.close()
