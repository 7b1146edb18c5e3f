"""Whether the Hub may be asked, where it is, and how its client is brought in: as late as possible, and quiet."""

from __future__ import annotations

import os
from types import ModuleType

from zoo.errors import UsageError

_TRUE = {"1", "ON", "YES", "TRUE"}
_CLIENT_SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",  # the guard says what there is to say
}


def is_offline() -> bool:
    """Whether the environment forbids requests to the Hub."""
    return any(
        os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def endpoint() -> str:
    """The Hub's address: HF_ENDPOINT, else the public one. Raises UsageError when it is no web address."""
    address = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    if not address.startswith(("https://", "http://")):
        raise UsageError("HF_ENDPOINT must start with https:// or http://")
    return address


def load_guard() -> ModuleType:
    """`zoo.weights.guard`, which imports huggingface_hub; what the person set for the client stays as it is."""
    for name, value in _CLIENT_SETTINGS.items():
        os.environ.setdefault(name, value)
    from zoo.weights import guard

    return guard
