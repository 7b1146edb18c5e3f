"""Which rows of a data set are held out: drawn by the seed, the same for every modality."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.errors import DataError
from zoo.noise import Noise
from zoo.settings import setting


def split_seed() -> Any:
    """The setting of every modality's rules that keeps what is held out where it is when the plan's seed changes."""
    return setting(None, help="seed of what is held out; the plan's when unset", minimum=0, maximum=2**63 - 1)


def split_rows(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the rows to train on and of those held out, each ascending, int64; together 0 .. count - 1.

    share: of all rows, at least 0 and below 1; at least one row is held out unless it is 0.
    Raises DataError when no row is left to train on.
    """
    held = max(1, round(count * share)) if share else 0
    if held >= count:
        raise DataError(
            f"of {count} rows {held} are held out: nothing is left to train on",
            hint="more data, or a smaller share: --set data.held_out_share=0",
        )
    order = Noise(seed).rows(1, "held out").uniform(count)[0].numpy().argsort(kind="stable")
    return np.sort(order[held:]), np.sort(order[:held])
