"""How far a download is, as the one who waits for it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far one file is, in bytes. total: None when the Hub does not say. note: what is waited for, or ""."""

    file: str
    done: int
    total: int | None
    note: str = ""


Report = Callable[[Progress], object]
