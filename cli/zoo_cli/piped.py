"""Standard input as a file of a source: the CSV that `zoo sample MODEL` writes into a pipe."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from zoo.datasets.source import Member


@dataclass(frozen=True)
class Piped(Member):
    """content: all of it, so that it can be gone through twice."""

    content: bytes = b""

    def open(self) -> IO[bytes]:
        return io.BytesIO(self.content)

    def __str__(self) -> str:
        return "standard input"


def csv() -> Member:
    """Standard input, which is read to its end."""
    return Piped("-.csv", Path("-"), content=sys.stdin.buffer.read())
