"""Data as a fit goes through it: all of it, again and again, each process its own share; see `material.Passes`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

_CPU = torch.device("cpu")


def _alone(value: torch.Tensor) -> torch.Tensor:
    return value


@dataclass(frozen=True, eq=False)
class Team:
    """The processes that fit one model together, as one of them sees it.

    device: where this one computes. index: its number among `count`. total: the sum of what each gives.
    """

    device: torch.device = _CPU
    index: int = 0
    count: int = 1
    total: Callable[[torch.Tensor], torch.Tensor] = _alone

    def share(self, rows: int) -> slice:
        """This process's part of so many rows; all parts together are the rows, in order of the processes."""
        return slice(self.index * rows // self.count, (self.index + 1) * rows // self.count)


ALONE = Team()
"""One process on the CPU."""
