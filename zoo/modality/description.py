"""What a model's weights have learned, as a family says it: tables of words and numbers. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """One table. title: what its rows are, such as "states". columns: of each row. rows: cells as text.

    numbers: which columns are numbers, and stand to the right.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[str, ...] = ()
