"""What is said of columns and cells that are no numbers, and what to do about each.

A column is offered to be left out only where that changes no more than which columns there are: a name that stays the
same over runs of rows says that these are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.datasets import cells
from zoo.datasets.dialect import Dialect
from zoo.datasets.file_rules import DELIMITERS, to_set
from zoo.datasets.source import Member
from zoo.errors import DataError

_SAID = {
    "dates": "dates",
    "runs": "text that stays the same over runs of rows",
    "categories": "categories",
    "text": "text",
}
_INSTEAD = {
    "dates": "dates can be written as numbers, such as days since the first",
    "categories": "a category can be written as a column of 0 and 1",
}


def not_numbers(member: Member, written: Dialect, odd: Mapping[str, str], *, leave: bool) -> DataError:
    """The error for columns without any number. odd: name to kind, as `cells.kind` tells it.

    leave: whether they may be left out; else they were asked for.
    """
    told = [
        f"{name!r} holds {_SAID[kind]} ({cells.examples(written.column(name))})" for name, kind in odd.items()
    ]
    more = f", and {len(told) - 4} more columns" if len(told) > 4 else ""
    return DataError(
        f"{member}: column {', '.join(told[:4])}{more}, not numbers", hint=_what_to_do(odd, leave=leave)
    )


def of_another_type(member: Member, name: str, values: Any, *, leave: bool) -> DataError:
    """The error for a column of Parquet, values of pyarrow, that holds no numbers by its type."""
    import pyarrow

    held, types = values.type, pyarrow.types
    kind = "dates" if types.is_temporal(held) else "text"
    if types.is_string(held) or types.is_large_string(held) or types.is_dictionary(held):
        kind = cells.kind([str(value) for value in values[:1000].to_pylist() if value is not None])
    return DataError(
        f"{member}: column {name!r} holds {held}, not numbers", hint=_what_to_do({name: kind}, leave=leave)
    )


def no_number(
    member: Member, row: int, column: str, text: str, *, leave: bool, quoted: bool = True
) -> DataError:
    """The error for one cell of a column of numbers. quoted: whether it is written so, else it is a number's text."""
    said = f"is {text[:40]!r}" if quoted else f"is {text}"
    said = said if text.strip() else "is empty"
    hint = "correct it" + (f", or leave its column out: {to_set('exclude', column)}" if leave else "")
    if cells.is_missing(text):
        hint = "fill it in, or leave such rows out: --set data.skip_missing=true"
    elif divided := [name for name, sign in DELIMITERS.items() if sign in column and sign in text]:
        hint = f"if that divides the columns: {to_set('delimiter', divided[0])}"
    elif cells.is_number(text, ","):
        hint = "if that is a decimal sign: --set data.decimal=,"
    return DataError(f"{member}: row {row}, column {column!r} {said}, not a finite number", hint=hint)


def _what_to_do(odd: Mapping[str, str], *, leave: bool) -> str:
    runs = [name for name, kind in odd.items() if kind == "runs"]
    without = to_set("exclude", *odd)
    if runs:
        chain = f"zoo train hmm {to_set('sequence', runs[0])}"
        hint = f"if {runs[0]!r} names sequences, their rows are not independent: {chain}"
        return f"{hint}; if it names kinds of independent rows: {without}" if leave else hint
    instead = [said for kind, said in _INSTEAD.items() if kind in odd.values()]
    return "; ".join([f"{without} leaves {'it' if len(odd) == 1 else 'them'} out"] * leave + instead)
