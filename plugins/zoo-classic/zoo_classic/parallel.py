"""Work on parts of the rows in threads, each of which computes alone.

torch's own threads meet after every operation. A pass over rows is thousands of small ones, and on a busy machine
each would wait for whichever thread the system had put aside; parts that share nothing need not meet at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def threads() -> Iterator[Callable[..., Any]]:
    """A `map` over as many threads as torch would use; meanwhile torch uses one in each."""
    count = torch.get_num_threads()
    if count == 1:
        yield map
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(count)
