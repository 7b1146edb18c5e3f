"""A Hub on loopback, with a cache and a zoo home of the test's own; elsewhere: `from hub.fixtures import hub`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub.loopback import LoopbackHub

_UNSET = ("HF_TOKEN", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """The server; this process and those it starts use it, with HF_HUB_CACHE and ZOO_HOME below tmp_path."""
    with LoopbackHub() as server:
        for name in _UNSET:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setenv("ZOO_HOME", str(tmp_path / "zoo"))
        if "huggingface_hub" in sys.modules:  # it read the environment when it was imported
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
        yield server
    if "huggingface_hub" in sys.modules:
        sys.modules["huggingface_hub"].close_session()
