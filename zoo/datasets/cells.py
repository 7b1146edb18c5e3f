"""Cells of text files: which are numbers, which are missing, and what a column without numbers holds instead."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nat"})
"""Words for no value, in small letters, as pandas, R and spreadsheets write them."""

_TRUTH = {"true": 1.0, "false": 0.0}
_DATE = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})([T ]\d{1,2}:\d{2}.*)?")
_MOST_CATEGORIES = 50


def number(text: str, decimal: str = ".") -> float:
    """A cell as a number; True and False are 1 and 0. Not a number (nan) for anything else, and for what is missing.

    decimal: the sign before the decimals; the other one, which may divide thousands, makes a cell no number.
    """
    if decimal == ",":
        text = "" if "." in text else text.replace(",", ".")
    try:
        return math.nan if "_" in text else float(text)  # float takes 1_000
    except ValueError:
        return _TRUTH.get(text.strip().lower(), math.nan)


def is_number(text: str, decimal: str = ".") -> bool:
    """Whether a cell is a number, perhaps infinite."""
    return not math.isnan(number(text, decimal))


def is_truth(text: str) -> bool:
    """Whether a cell is True or False."""
    return text.strip().lower() in _TRUTH


def is_missing(text: str) -> bool:
    """Whether a cell says that there is no value."""
    return text.strip().lower() in MISSING


def kind(cells: Sequence[str], decimal: str = ".") -> str:
    """What a column holds by its first cells: "numbers" if one of them is, or all are missing; else no numbers.

    Then "dates"; "runs" of equal text, as of names of sequences; "categories" that come again; or "text".
    """
    given = [cell.strip() for cell in cells if not is_missing(cell)]
    if not given or any(is_number(cell, decimal) for cell in given):
        return "numbers"
    if all(_DATE.fullmatch(cell) for cell in given):
        return "dates"
    different = len(set(given))
    runs = 1 + sum(one != other for one, other in itertools.pairwise(given))
    if len(given) >= 4 and different <= len(given) / 2:
        return "runs" if runs == different else "categories" if different <= _MOST_CATEGORIES else "text"
    return "text"


def examples(cells: Sequence[str]) -> str:
    """The first different values, quoted, for an error."""
    given = list(dict.fromkeys(cell.strip() for cell in cells if not is_missing(cell)))
    shown = ", ".join(repr(cell[:40]) for cell in given[:3])
    return shown + (", ..." if len(given) > 3 else "")
