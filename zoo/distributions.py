"""Which installed distributions say they are zoo plugins, read from their metadata files; no code of theirs runs.

Reads the `*.dist-info` folders on sys.path as pip writes them. `importlib.metadata` would tell the same, but its
import alone costs a fifth of the time that `zoo list` may take.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GROUP = "zoo.plugins"

_MOST_BYTES = 1 << 18  # of a metadata file that is read; the fields wanted stand at its start


class Claim(NamedTuple):
    """One entry point in the group `zoo.plugins`: a distribution's claim that `value` is a plugin's module.

    distribution: its name, normalised (zoo-gpt). folder: the dist-info folder that says so.
    """

    name: str
    value: str
    distribution: str
    version: str
    summary: str
    folder: Path


def normalised(name: str) -> str:
    """A distribution's name as PyPI compares it: Zoo_GPT and zoo-gpt are one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def claims() -> Iterator[Claim]:
    """Every claim, in the order of sys.path and then of the folders' names."""
    seen: set[str] = set()
    for entry in sys.path:
        place = os.path.realpath(entry or ".")
        if place not in seen:
            seen.add(place)
            for folder in _dist_infos(place):
                yield from _of(folder)


def _dist_infos(place: str) -> list[str]:
    try:
        names = os.listdir(place)  # noqa: PTH208 - a Path for each of hundreds of names would cost milliseconds
    except OSError:  # an entry of sys.path need not be a folder, nor be there
        return []
    found = sorted(
        name for name in names if name.endswith(".dist-info") and not name.startswith("~")
    )  # ~: pip's leftovers
    return [os.path.join(place, name) for name in found]  # noqa: PTH118


def _of(folder: str) -> Iterator[Claim]:
    try:
        with open(os.path.join(folder, "entry_points.txt"), encoding="utf-8", errors="replace") as file:  # noqa: PTH118, PTH123
            text = file.read(_MOST_BYTES)
    except OSError:
        return
    if GROUP not in text:
        return
    points = list(_entry_points(text))
    if points:
        path = Path(folder)
        said = _metadata(path)
        stem, _, version = path.name.removesuffix(".dist-info").partition("-")
        distribution = normalised(said.get("name", stem))
        for name, value in points:
            yield Claim(
                name, value, distribution, said.get("version", version), said.get("summary", ""), path
            )


def _entry_points(text: str) -> Iterator[tuple[str, str]]:
    """The (name, value) pairs of the group in an entry_points.txt."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == GROUP and line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _metadata(folder: Path) -> dict[str, str]:
    """The header fields of a METADATA file, by lower-case name; the first of each, without continuation lines."""
    found: dict[str, str] = {}
    try:
        with (folder / "METADATA").open(encoding="utf-8", errors="replace") as file:
            text = file.read(_MOST_BYTES)
    except OSError:
        return found
    for line in text.splitlines():
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            found.setdefault(name.lower(), value.strip())
    return found
