"""Where a stored tensor of a Hub checkpoint goes in a built module. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """name: the module's parameter. transpose: the stored matrix is its transpose (the view is used, not a copy)."""

    name: str
    transpose: bool = False
