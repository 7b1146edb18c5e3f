"""A Hub on loopback, with a cache and a zoo home of the test's own; elsewhere: `from hub.fixtures import hub`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hub.loopback import LoopbackHub
from zoo.errors import ZooError
from zoo.registry.entry import File, Weights

_UNSET = ("HF_TOKEN", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """The server; this process and those it starts use it, with HF_HUB_CACHE and ZOO_HOME below tmp_path."""
    with LoopbackHub() as server:
        for name in _UNSET:
            monkeypatch.delenv(name, raising=False)
        for name in ("HF_HUB_VERBOSITY", "HF_HUB_DISABLE_XET"):
            monkeypatch.setenv(name, "")  # so that what the zoo sets is undone after the test
            monkeypatch.delenv(name)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setenv("ZOO_HOME", str(tmp_path / "zoo"))
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        # nobody speaks TLS here, and reading the certificates takes 0.1 s a session
        monkeypatch.setattr("ssl.SSLContext.load_verify_locations", lambda *_, **__: None, raising=False)
        if "huggingface_hub" in sys.modules:  # it read the environment when it was imported
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
        yield server
    if "huggingface_hub" in sys.modules:
        sys.modules["huggingface_hub"].close_session()


@pytest.fixture
def waits(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds the guard would have waited, instead of waiting them."""
    from zoo.weights import network

    waited: list[float] = []
    monkeypatch.setattr(network.load_guard(), "_sleep", waited.append)
    monkeypatch.setattr(network.load_guard(), "_waits", [])  # other tests' waiting is not this one's
    return waited


def pinned(repo: str, commit: str, files: Mapping[str, bytes]) -> Weights:
    """Weights as a registry file pins them: every file with its sha256 and size."""
    pins = tuple(
        File(name, sha256=hashlib.sha256(body).hexdigest(), bytes=len(body)) for name, body in files.items()
    )
    return Weights("original", repo=repo, revision=commit, files=pins)


def unpinned(repo: str, commit: str, *names: str) -> Weights:
    """Weights of which the registry knows neither hashes nor sizes."""
    return Weights("original", repo=repo, revision=commit, files=tuple(File(name) for name in names))


def snapshot(weights: Weights, name: str) -> Path:
    """Where the file would be used from."""
    from zoo.weights import layout

    return layout.snapshot_file(weights.repo, weights.revision, name)


def failure(weights: Weights) -> ZooError:
    """The error that a fetch ends in, after the checks that hold for every one of them."""
    from zoo.weights.hub import fetch

    with pytest.raises(ZooError) as told:
        fetch(weights)
    message = str(told.value)
    assert message.isprintable(), "one line, without control characters"
    assert len(message) < 400
    for file in weights.files:
        assert not snapshot(weights, file.name).exists()
    return told.value
