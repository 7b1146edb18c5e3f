"""What descriptions of mixtures and of hidden states share: numbers for a person, and the columns that tell most.

Shapes: K Gaussians or states, D columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

MOST_ROWS = 20
MOST_COLUMNS = 6
_NEVER = 1e-12  # a share that rounding may have left
_LONG = 1e7  # numbers from here on have an exponent


def percent(share: float) -> str:
    """A share of 1 in whole percent."""
    if _NEVER < share < 0.005:
        return "<1%"
    return f"{100 * share:.0f}%"


def spread(mean: float, deviation: float) -> str:
    """A mean and the standard deviation about it."""
    return f"{_short(mean, 4)} ± {_short(deviation, 2)}"


def _short(value: float, digits: int) -> str:
    """So many digits, but all before the point unless they are very many."""
    return f"{value:.0f}" if 10**digits <= abs(value) < _LONG else f"{value:.{digits}g}"


def in_units(
    means: torch.Tensor, deviations: torch.Tensor, mean: Sequence[float], scale: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both (K, D) in the data's own units, of which the network sees (value - mean) / scale; both (D,) or ()."""
    if len(scale):
        factor = torch.as_tensor(scale, dtype=means.dtype)
        means, deviations = means * factor + torch.as_tensor(mean, dtype=means.dtype), deviations * factor
    return means, deviations


def telling(weights: torch.Tensor, means: torch.Tensor, deviations: torch.Tensor) -> list[int]:
    """The columns that tell the rows of a table apart best, at most `MOST_COLUMNS`, in their own order.

    They are those in which the largest share of the variance is between means. weights: (K,).
    """
    middle = weights @ means
    between = weights @ (means - middle).square()
    whole = between + weights @ deviations.square()
    share = torch.where(whole > 0, between / whole, 0.0)
    return sorted(share.argsort(descending=True, stable=True)[:MOST_COLUMNS].tolist())


def named(names: Sequence[str], count: int) -> list[str]:
    """The names of `count` columns or symbols; their numbers where nobody named them."""
    return list(names) if len(names) == count else [str(number) for number in range(count)]


def unlike(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Names of columns as headings of a table that has other headings already: no two alike."""
    found: list[str] = []
    for name in names:
        heading = name
        while heading in taken or heading in found:
            heading += "_"
        found.append(heading)
    return found


def titled(what: str, shown: int, of: int, columns: int, of_columns: int) -> str:
    """The title of a table of which some rows or columns may be left out."""
    parts = [f"the {shown} largest of {of}"] if shown < of else []
    parts += [f"the {columns} most telling of {of_columns} columns"] if columns < of_columns else []
    return ": ".join([what, ", ".join(parts)]) if parts else what
