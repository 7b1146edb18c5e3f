"""What is kept of data below ZOO_HOME: counted, marked when it is used, and removed when nobody needs it."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
from filelock import FileLock

from zoo import paths
from zoo.datasets import kept, token_cache
from zoo_cli.main import main

ID = np.dtype("<u2")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "home"


def made(folder, name, size=100, days=0.0):
    path = paths.home() / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    then = time.time() - days * 24 * 3600
    os.utime(path, (then, then))
    return path


def said(capsys, *words):
    assert main(["cache", *words]) == 0
    return capsys.readouterr()


def test_nothing_is_kept_at_first(home):
    assert kept.scan() == ()
    assert kept.collect() == ()
    assert not home.exists()


def test_what_was_not_used_for_long_or_never_finished_goes_with_its_locks():
    old = [made("tokens", f"a{suffix}", days=31) for suffix in (".tokens", ".json", ".lock", ".vocabulary")]
    old += [made("datasets", f"b{suffix}", days=400) for suffix in (".zip", ".commit", ".csv")]
    unfinished = [
        made("tokens", "c.partial"),
        made("tokens", "c.lock"),
        made("tokens", ".d.json.0f.partial", days=2),
    ]
    new = [made("tokens", "e.tokens", days=29), made("tokens", "e.lock", days=99), made("datasets", "f.csv")]
    new += [made("tokens", ".g.json.0f.partial")]
    doomed = kept.collect(dry_run=True)
    assert {item.path for item in doomed} == {*old, *unfinished}
    assert all(item.path.exists() for item in doomed)
    assert kept.collect() == doomed
    assert not any(item.path.exists() for item in doomed)
    assert all(path.exists() for path in new)
    assert kept.collect() == ()


def test_what_a_process_is_making_stays():
    partial, lock = made("tokens", "a.partial", days=40), made("tokens", "a.lock", days=40)
    with FileLock(lock):
        assert kept.collect() == ()
        assert kept.remove("tokens") == 0
    assert partial.exists()
    assert [item.path for item in kept.collect()] == [partial, lock]


def test_tokens_that_are_used_again_are_not_old(capsys):
    token_cache.cached("a", ID, [[1, 2, 3]])
    path = paths.home() / "tokens" / "a.tokens"
    os.utime(path, (0, 0))
    assert [item.reason.partition(" for")[0] for item in kept.collect(dry_run=True)] == [
        "not used",
        "it locks nothing",
    ]
    assert token_cache.find("a", ID).tolist() == [1, 2, 3]
    assert kept.collect() == ()


def test_a_link_is_left_alone_with_what_it_leads_to(tmp_path):
    mine = tmp_path / "mine.tokens"
    mine.write_bytes(b"mine")
    (paths.home() / "tokens").mkdir(parents=True)
    (paths.home() / "tokens" / "a.tokens").symlink_to(mine)
    os.utime(mine, (0, 0))
    assert kept.collect() == ()
    assert kept.remove("tokens") == 0
    assert mine.read_bytes() == b"mine"


def test_the_command_lists_collects_and_removes_them(capsys):
    made("tokens", "a.tokens", 1000)
    made("tokens", "b.partial", 10)
    made("datasets", "c.zip", 500, days=40)
    found = json.loads(said(capsys, "list", "--json").out)
    assert [(part["repo"], part["files"], part["bytes"], part["interrupted"]) for part in found] == [
        ("tokens", 1, 1000, 10),
        ("datasets", 1, 500, 0),
    ]
    doomed = json.loads(said(capsys, "gc", "--dry-run", "--json").out)
    assert [(item["bytes"], item["reason"]) for item in doomed] == [
        (10, "it was never finished"),
        (500, "not used for 40 days; it can be made again"),
    ]
    ran = said(capsys, "gc")
    assert "510 B freed" in ran.out
    assert "tokens have 1 kB; `zoo cache rm tokens` removes all of them" in ran.err
    assert said(capsys, "rm", "tokens", "--yes").out == "removed tokens: 1 kB freed\n"
    assert said(capsys, "list").out == ""
