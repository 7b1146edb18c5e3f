"""One thread for recursions of many small steps: to share such a step takes longer than to do it.

On a machine with other work, each shared step would wait for a thread that is not running: up to fifty times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_WORTH_SHARING = 4_000_000  # multiplications in a step


@contextmanager
def unshared(table: torch.Tensor, multiplications: int) -> Iterator[None]:
    """torch computes with one thread inside, when `table` is on the CPU and a step of so many products is small."""
    threads = torch.get_num_threads()
    if not table.is_cpu or multiplications > _WORTH_SHARING or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
