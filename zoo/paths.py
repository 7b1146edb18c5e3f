"""Where the zoo keeps its own files, and where the Hub's client keeps downloaded ones."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The zoo's own folder: ZOO_HOME, else XDG_DATA_HOME/zoo, else ~/.local/share/zoo. It may not exist yet."""
    if chosen := os.environ.get("ZOO_HOME"):
        return _expanded(chosen)
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share") / "zoo"


def hub_cache() -> Path:
    """The standard cache of Hub files, found as huggingface_hub finds it. It may not exist yet.

    HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else
    ~/.cache/huggingface/hub.
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if chosen := os.environ.get(name):
            return _expanded(chosen)
    if chosen := os.environ.get("HF_HOME"):
        return _expanded(chosen) / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return _expanded(cache) / "huggingface" / "hub"


def _expanded(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser().absolute()
