"""Finding plugins' metadata: the same as importlib.metadata finds, from pip's folders alone."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from zoo.distributions import GROUP, claims


def dist_info(folder: Path, name: str, entry_points: str, metadata: str | None = None) -> None:
    info = folder / name
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(entry_points)
    if metadata is not None:
        (info / "METADATA").write_text(metadata)


def test_it_finds_what_importlib_metadata_finds_here() -> None:
    theirs = {
        (point.name, point.value, point.dist.name, point.dist.version, point.dist.metadata["Summary"])
        for point in importlib.metadata.entry_points(group=GROUP)
        if point.dist is not None
    }
    ours = {(c.name, c.value, c.distribution, c.version, c.summary) for c in claims()}
    assert ours == theirs
    assert "zoo-gpt" in {claim.distribution for claim in claims()}


def test_names_are_normalised_and_only_the_plugin_group_and_the_header_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = "[console_scripts]\nx = y:z\n\n[zoo.plugins]\n# a comment\n two = b.c \n[other]\nthree = d\n"
    dist_info(
        tmp_path,
        "Zoo_Two-3.1.dist-info",
        points,
        "Name: Zoo.Two\nVersion: 3.1\nSummary: Two.\n More.\n\nSummary: of the README\n",
    )
    dist_info(tmp_path, "bare-0.1.dist-info", "[zoo.plugins]\nbare = bare.plugin\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert [claim[:5] for claim in claims()] == [
        ("two", "b.c", "zoo-two", "3.1", "Two."),
        ("bare", "bare.plugin", "bare", "0.1", ""),
    ]


def test_a_folder_named_twice_pips_leftovers_and_what_is_no_folder_count_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = "[zoo.plugins]\na = a.plugin\n"
    dist_info(tmp_path / "site", "a-1.dist-info", points)
    dist_info(tmp_path / "site", "~a-1.dist-info", points)
    dist_info(tmp_path / "site", "a.egg-info", points)
    (tmp_path / "link").symlink_to(tmp_path / "site")
    (tmp_path / "archive.zip").write_bytes(b"")
    places = ("site", "link", "absent", "archive.zip", "site")
    monkeypatch.setattr(sys, "path", [str(tmp_path / place) for place in places])
    assert [claim.folder for claim in claims()] == [tmp_path / "site" / "a-1.dist-info"]
