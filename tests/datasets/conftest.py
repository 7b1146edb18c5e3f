"""The small things to train that three folders of tests share, and a place of their own for the zoo's files."""

from __future__ import annotations

import pytest

from training_fixtures import letters, pairs, tokenizer, works

__all__ = ["letters", "pairs", "tokenizer", "works"]


@pytest.fixture(autouse=True)
def zoo_home(tmp_path, monkeypatch):
    """ZOO_HOME of this test, where its token cache is."""
    home = tmp_path / "zoo-home"
    monkeypatch.setenv("ZOO_HOME", str(home))
    return home
