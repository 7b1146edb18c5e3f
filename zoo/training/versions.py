"""What a run ran on: versions and device, so that a difference can be told from a mistake."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import ZooWarning
from zoo.training import processes

_SCHEMA = 1
_PACKAGES = ("zoo-core", "torch", "accelerate", "safetensors", "numpy")


def about(plugin: str, device: str, fingerprint: str, summary: str) -> dict[str, Any]:
    """The content of run.json."""
    state = processes.state(device)
    return {
        "schema": _SCHEMA,
        "versions": _versions(plugin),
        "device": str(state.device),
        "processes": state.num_processes,
        "data": {"fingerprint": fingerprint, "summary": summary},
    }


def read(path: Path) -> dict[str, Any]:
    """What run.json says. A run can do without: it is there for people and to compare."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        said = None
    if isinstance(said, dict):
        return said
    warnings.warn(f"{path} cannot be read: versions and data are not compared", ZooWarning, stacklevel=3)
    return {}


def warn_of_change(said: Mapping[str, Any], plugin: str) -> None:
    """A ZooWarning when a run goes on with other versions than it began with: its weights may then differ in bits."""
    then, now = said.get("versions", {}), _versions(plugin)
    changed = [
        f"{name} {then[name]} -> {now[name]}" for name in now if name in then and then[name] != now[name]
    ]
    if changed:
        warnings.warn(
            f"the run began with other versions, so it may not go on to the same bits: {', '.join(changed)}",
            ZooWarning,
            stacklevel=3,
        )


def _versions(plugin: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in dict.fromkeys((*_PACKAGES, plugin)):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # a plugin that tests define has no distribution
    return found
