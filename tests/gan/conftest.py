"""The plugin of the two GANs, as if pip had installed it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from zoo import plugins


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder on sys.path with the plugin's metadata; its package is found as other helpers of tests are."""
    site = tmp_path / "site"
    info = site / "zoo_tiny_gan-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: zoo-tiny-gan\nVersion: 1.0\nSummary: Two GANs.\n"
    )
    (info / "entry_points.txt").write_text("[zoo.plugins]\ntiny-gan = gan.plugin\n")
    monkeypatch.syspath_prepend(str(site))
    plugins.discover.cache_clear()
    yield site
    plugins.discover.cache_clear()
