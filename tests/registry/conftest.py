"""A small valid registry file to bend, and a folder to write registry files into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

VALID = """\
schema: 1
plugin: zoo-tiny
models:
  - name: tiny
    aliases: [tiny-one]
    family: tiny
    task: text-generation
    can: [sample, score]
    summary: A model for tests.
    parameters: 12
    config: {layers: 1, rates: [0.5, 1.0], dropout: null, mode: fast}
    weights:
      status: original
      repo: someone/tiny
      revision: 0123456789abcdef0123456789abcdef01234567
      dtype: float32
      files:
        - {name: model.safetensors, bytes: 48,
           sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
        - {name: sub/tokenizer.json}
    licences: {code: Apache-2.0, weights: MIT, data: unknown}
    paper: {title: A paper, url: https://example.org/paper, year: 2020}
    metrics:
      - {name: perplexity, value: 3, data: a text, source: a command}
  - name: tiny-shape
    family: tiny
    task: text-generation
    can: [train]
    summary: A shape without weights.
    parameters: 1.2e3
    weights: {status: none}
    licences: {code: Apache-2.0, weights: none, data: unknown}
  - name: tiny-packaged
    family: tiny
    task: text-generation
    can: [sample]
    summary: A model that ships with its plugin.
    parameters: 12
    weights:
      status: trained here
      package: weights/tiny
      files:
        - {name: model.safetensors, bytes: 0,
           sha256: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb}
    licences: {code: Apache-2.0, weights: Apache-2.0, data: unknown}
"""


@pytest.fixture
def valid() -> str:
    return VALID


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "registry.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write
