"""The JSON shapes that docs/json.md documents, for tests to hold the command's output against."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_PAGE = Path(__file__).parents[2] / "docs" / "json.md"


def documented(command: str) -> Any:
    """The shape of the example in the section of that command."""
    section = _PAGE.read_text(encoding="utf-8").partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    example = re.search(r"```json\n(.*?)```", section, re.DOTALL)
    assert example, f"docs/json.md has no example of {command}"
    return shape(json.loads(example[1]))


def shape(value: Any) -> Any:
    """The keys of a JSON value, and those of the first element of each list; None stands for all other values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return None
