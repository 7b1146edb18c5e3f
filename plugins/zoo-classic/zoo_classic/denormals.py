"""Numbers below the smallest normal one taken for zero, which they are to a probability.

A processor takes up to a hundred times as long for a product of such numbers, and as states specialise, most of what
a recursion holds becomes one. What is lost by it is less than what `forward_backward.certain` allows for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed() -> Iterator[None]:
    """This thread's processor takes denormal results for zero inside; afterwards it does as before."""
    before = _is_flushing()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _is_flushing() -> bool:
    smallest = torch.finfo(torch.float32).tiny
    return float(torch.tensor(smallest) / 2) == 0.0
