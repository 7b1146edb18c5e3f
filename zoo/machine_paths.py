"""Paths of this machine in what leaves it, such as a recipe or a header: reduced to their last name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_START = r"(?:file://)?(?:~[\w.-]*|[A-Za-z]:|(?=/|\\\\))[/\\]+(?=\S)"
_PATH = re.compile(rf"""(?<![\w.:/\\~-]){_START}(?P<path>[^\n"'`<>|,;]*)""")
"""A path of a machine, which may hold spaces: not within a name, a relative path or an address."""


def without_paths(value: Any) -> Any:
    """Plain data in which every path of a machine is reduced to its last name, in texts of any depth."""
    if isinstance(value, str):
        if re.match(_START, value) and "\n" not in value:
            return base_name(value)
        return _PATH.sub(lambda found: base_name(found["path"]), value)
    if isinstance(value, Mapping):
        return {without_paths(key): without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item) for item in value]
    return value


def base_name(path: str) -> str:
    """The last name of a path, relative ones included."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
