"""What typer says of words it cannot read, in the voice of the zoo's own errors: option, value, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import typer

from zoo_cli import terminal

_MOST_CHARACTERS = 40  # of a value that is shown
_LARGE = 10_000
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}


def message(error: typer.TyperException) -> str:
    """The line that says what is wrong with the command line."""
    if isinstance(error, typer.BadParameter):
        return _bad_value(error) or _plain(error)
    return _plain(error)


def _bad_value(error: typer.BadParameter) -> str:
    """The message for a value out of range or of another kind, and for a missing one; "" for what is neither."""
    name = _name(error)
    if not name:
        return ""
    if error.__cause__ is None:
        return "" if error.message else f"{name} is missing"
    faults: Any = getattr(error.__cause__, "errors", list)()  # pydantic's, which reads typer's values
    if not faults:
        return ""
    allowed = _allowed(error.param, faults[0])
    return f"{name} is {_shown(faults[0])}, but must be {allowed}" if allowed else ""


def _name(error: typer.BadParameter) -> str:
    """The option as it is written in full, or the argument's name in capitals."""
    written: Any = [*getattr(error.param, "opts", ())]
    if not written:
        return ""
    long = [each for each in written if each.startswith("--")]
    argument = getattr(error.param, "metavar", None) or written[0].upper()
    return str(long[0] if long else written[0] if written[0].startswith("-") else argument)


def _shown(fault: Mapping[str, Any]) -> str:
    value = fault.get("input")
    number = fault["type"] in _LIMITS and isinstance(value, str)
    return terminal.cut(str(value) if number else repr(value), _MOST_CHARACTERS)


def _allowed(parameter: Any, fault: Mapping[str, Any]) -> str:
    """What the parameter takes: its whole range, or where the upper limit is large the one that was passed."""
    kind = str(fault["type"])
    if kind in _LIMITS:
        words, key = _LIMITS[kind]
        low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
        if low is not None and high is not None and (key in ("le", "lt") or high < _LARGE):
            return f"at least {low:,} and at most {high:,}"
        return f"{words} {fault['ctx'][key]:g}"
    return _KINDS.get(kind.partition("_")[0], "")


def _plain(error: typer.TyperException) -> str:
    """typer's own sentence, begun and ended as ours are."""
    near = getattr(error, "possibilities", None)
    option = getattr(error, "option_name", "")
    if near is not None or (option and "No such option" in str(error)):
        suggestion = f"; did you mean {' or '.join(sorted(near))}?" if near else ""
        return f"there is no option {option}{suggestion}"
    text = error.format_message()
    for theirs, ours in _SENTENCES.items():
        text = re.sub(theirs, ours, text)
    return (text[:1].lower() + text[1:]).removesuffix(".")


_SENTENCES = {
    r"\. Did you mean": "; did you mean",
    r"No such command": "there is no command",
    r"Got unexpected extra argument\(s\) \((.*)\)": r"too many arguments: \1",
    r"Option '(.*)' requires an argument": r"\1 needs a value",
    r"Option '(.*)' does not take a value": r"\1 takes no value",
}
