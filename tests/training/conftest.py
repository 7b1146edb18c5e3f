"""The small things to train that three folders of tests share, and a place of the tests' own for what is cached."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from training_fixtures import letters, pairs, tokenizer, works

__all__ = ["letters", "pairs", "tokenizer", "works"]


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the person's caches and of accelerate's settings is seen, by processes that tests start neither."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("zoo-home")))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf-home")))
        for name in ("ZOO_DEBUG", "ZOO_PLUGINS", "NO_COLOR", "FORCE_COLOR", "RANK", "WORLD_SIZE"):
            patch.delenv(name, raising=False)
        yield
