"""Processes that fit one model together, as threads of a test that wait for one another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from zoo.datasets.passes import Team

_LEAVING = 1.0  # seconds


def together(work: Callable[[Team], Any], count: int = 2) -> list[Any]:
    """What `work` returns in each of `count` processes, each told its place in the team."""
    slots: list[Any] = [None] * count
    found: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def total(place: int, value: torch.Tensor) -> torch.Tensor:
        slots[place] = value.clone()
        barrier.wait(20)
        summed = torch.stack(slots).sum(dim=0)
        barrier.wait(20)
        return summed

    def run(place: int) -> None:
        try:
            found[place] = work(Team(index=place, count=count, total=lambda value: total(place, value)))
        except Exception as error:
            found[place] = error
            time.sleep(_LEAVING)  # who passed the barrier as this one did may not have left it yet
            barrier.abort()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found
