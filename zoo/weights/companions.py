"""The small files beside weights (config.json, tokenizer files, templates): strangers wrote them; read in bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo import bounds
from zoo.errors import WeightsError
from zoo.os_words import reason

MOST_BYTES = 4_000_000
"""Of a JSON object or a template; the largest in use have a quarter of it."""
MOST_TOKENIZER_BYTES = 150_000_000
"""Of a vocabulary; those of a quarter of a million tokens have 35 MB."""


def check_size(path: Path, most: int, *, name: str = "") -> None:
    """Raises WeightsError when the file is larger than `most` bytes, or cannot be looked at. name: the model."""
    try:
        size = bounds.regular(path).stat().st_size
    except OSError as error:
        raise WeightsError(f"{_said(path, name)} cannot be read: {reason(error)}") from None
    if size > most:
        raise WeightsError(f"{_said(path, name)} has {size:,} bytes, but at most {most:,} are allowed")


def read_text(path: Path, *, name: str = "") -> str:
    """The file's text. name: the model, for the error. Raises WeightsError: too large, unreadable, not UTF-8."""
    check_size(path, MOST_BYTES, name=name)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise WeightsError(f"{_said(path, name)} is not UTF-8 text: {error.reason}") from None
    except OSError as error:
        raise WeightsError(f"{_said(path, name)} cannot be read: {reason(error)}") from None


def read_json(path: Path, *, name: str = "") -> dict[str, Any]:
    """The JSON object in the file. Raises WeightsError as `read_text` does, and for anything else than an object."""
    text = read_text(path, name=name)
    try:
        content = json.loads(text)
    except RecursionError:
        raise WeightsError(f"{_said(path, name)} is not JSON: it is nested too deep") from None
    except ValueError as error:
        raise WeightsError(f"{_said(path, name)} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{_said(path, name)} must hold an object, but holds {type(content).__name__}")
    return content


def _said(path: Path, name: str) -> str:
    return f"{name}: {path.name}" if name else path.name
