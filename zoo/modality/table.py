"""Tables: what may be asked of a table model. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.errors import UsageError
from zoo.settings import Settings, setting


@dataclass(frozen=True)
class TableControls(Settings):
    """What may be asked of a table model when sampling.

    A network's own `sample` gets `given` with the numbers of columns, from 0, and values as it computes with them.
    """

    given: tuple[str, ...] = setting(
        (), help="a column that is known, as NAME=VALUE; the others are drawn given it; may be given again"
    )


def assignments(given: Sequence[str], names: Sequence[str]) -> dict[int, float]:
    """What is given, as {number of the column: value}, in the order it was given.

    Raises UsageError for what is not NAME=VALUE, for a name that is none of `names` or comes twice, and for a value
    that is not a finite number.
    """
    import difflib
    import math

    found: dict[int, float] = {}
    for text in given:
        name, sign, value = text.rpartition("=")  # a name may have the sign too
        if not sign:
            raise UsageError(f"given is {text!r}, but must be NAME=VALUE", hint=f"as in {names[0]}=1.5")
        name = name if name in names else name.strip()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            raise UsageError(
                f"given names the column {name!r}, but the columns are {shown}",
                hint=f"did you mean {near[0]!r}?" if near else "",
            )
        number = names.index(name)
        if number in found:
            raise UsageError(f"given has two values for the column {name!r}")
        try:
            found[number] = float(value)
        except ValueError:
            found[number] = math.nan
        if not math.isfinite(found[number]):
            raise UsageError(f"given is {value!r} for the column {name!r}, but must be a finite number")
    if len(found) == len(names):
        raise UsageError("given names every column: nothing is left to draw")
    return found
