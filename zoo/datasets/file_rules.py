"""The settings of how files of rows are written, which tables and sequences share."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from zoo.settings import Settings, setting

DELIMITERS = {",": ",", ";": ";", "tab": "\t", "bar": "|"}
"""How a setting names what divides the cells of a line."""


@dataclass(frozen=True)
class FileRules(Settings):
    """What is not said is found from the first rows of each file, if there is one way to read them."""

    exclude: tuple[str, ...] = setting(
        (), help="names of columns to leave out, when all the others are wanted"
    )
    delimiter: str | None = setting(
        None, help="what divides the cells of a line of text; found when unset", choices=tuple(DELIMITERS)
    )
    decimal: str | None = setting(
        None, help="the decimal sign of numbers in text; found when unset", choices=(".", ",")
    )
    encoding: str | None = setting(
        None, help="of text, such as latin-1; when unset UTF-8, or what its first bytes say"
    )
    header: bool | None = setting(
        None,
        help="whether the first line of text names the columns; found when unset. Without names: c0, c1, ...",
    )
    skip_missing: bool = setting(False, help="leave out rows in which a wanted value is missing")


PLAIN = FileRules()
"""Nothing is said."""


def to_set(name: str, *values: str) -> str:
    """How a setting of data is given on a command line, for a hint."""
    return f"--set {shlex.quote(f'data.{name}=' + ','.join(values))}"
