"""The cache listed, read again, and cleaned, without leaving it."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from hub.fixtures import pinned, snapshot, unpinned
from zoo import paths
from zoo.errors import UsageError, WeightsError
from zoo.weights import cache, layout, records
from zoo.weights import hub as zoo_hub

FILES = {"config.json": b"{}", "model.safetensors": os.urandom(5000)}


@pytest.fixture
def weights(hub, waits):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    zoo_hub.fetch(weights)
    return weights


@pytest.fixture
def newer(hub, weights):
    """A second revision of the same repo, which shares the large file."""
    files = {**FILES, "config.json": b'{"a": 1}'}
    newer = pinned("user/name", hub.add_repo("user/name", files), files)
    zoo_hub.fetch(newer)
    return newer


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def interrupted(repo: str, etag: str = "a" * 64, size: int = 700) -> Path:
    path = layout.repo_folder(repo) / "blobs" / f"{etag}.12345678.incomplete"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_an_empty_cache_is_listed_verified_and_collected_as_nothing(hub):
    assert cache.scan() == ()
    assert list(cache.verify()) == []
    assert cache.collect() == ()


def test_a_scan_counts_shared_bytes_once(hub, weights, newer):
    [repo] = cache.scan()
    assert (repo.repo, set(repo.revisions)) == ("user/name", {weights.revision, newer.revision})
    assert (repo.files, repo.bytes) == (4, 5000 + 2 + 8)
    assert abs(repo.last_used - time.time()) < 60
    assert (repo.interrupted, repo.quarantined) == (0, 0)


def test_a_scan_tells_of_interrupted_downloads_and_quarantined_bytes(hub, weights):
    interrupted("user/name")
    path = snapshot(weights, "config.json")
    records.quarantine(path, repo="user/name", actual="0" * 64)
    records.quarantine(interrupted("user/gone", size=30), repo="user/gone", actual="0" * 64)
    gone, name = cache.scan()
    assert (gone.repo, gone.quarantined, gone.files) == ("user/gone", 30, 0)
    assert (name.repo, name.interrupted, name.quarantined, name.bytes) == ("user/name", 700, 2, 5000)


def test_verify_reads_every_known_file_again(hub, weights):
    hub.requests.clear()
    assert list(cache.verify()) == [
        cache.Checked("user/name", weights.revision, "config.json"),
        cache.Checked("user/name", weights.revision, "model.safetensors"),
    ]
    assert hub.requests == []


def test_verify_finds_a_bit_flipped_behind_the_records_back(hub, weights):
    path = snapshot(weights, "model.safetensors")
    before = path.stat()
    path.write_bytes(bytes([FILES["model.safetensors"][0] ^ 1]) + FILES["model.safetensors"][1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert records.is_verified(path), "size and time are what they were"
    results = {found.file: found.problem for found in cache.verify()}
    assert results["config.json"] == ""
    assert f"expected {weights.files[1].sha256}, got " in results["model.safetensors"]
    assert not path.exists()
    assert len(records.quarantined()) == 1
    assert zoo_hub.fetch(weights)["model.safetensors"].read_bytes() == FILES["model.safetensors"]


def test_verify_compares_with_the_registrys_pins(hub, waits):
    commit = hub.add_repo("user/name", FILES)
    zoo_hub.fetch(unpinned("user/name", commit, *FILES))
    (paths.home() / "lock.json").unlink()
    (paths.home() / "verified.json").unlink()
    pins = pinned("user/name", commit, {**FILES, "config.json": b"[]"})
    assert {found.file: bool(found.problem) for found in cache.verify([pins])} == {
        "config.json": True,
        "model.safetensors": False,
    }


@pytest.mark.parametrize("name", FILES)
def test_verify_knows_files_of_other_programs_by_what_their_blobs_are_named(hub, weights, name):
    for record in ("lock.json", "verified.json"):
        (paths.home() / record).unlink()
    assert [found.problem for found in cache.verify()] == ["", ""]
    for record in ("lock.json", "verified.json"):
        (paths.home() / record).unlink()
    path = snapshot(weights, name)
    path.write_bytes(b"[" + FILES[name][1:])
    assert {found.file: bool(found.problem) for found in cache.verify()} == {
        file: file == name for file in FILES
    }
    assert not path.exists()


def test_verify_tells_of_files_without_a_known_hash_and_locks_nothing(hub, weights):
    plain = layout.snapshot_file("user/name", weights.revision, "notes.txt")
    plain.write_bytes(b"no link to a blob")
    locked = records.locked_hashes()
    assert [(found.file, found.known, found.problem) for found in cache.verify()] == [
        ("config.json", True, ""),
        ("model.safetensors", True, ""),
        ("notes.txt", False, ""),
    ]
    assert records.locked_hashes() == locked


def test_verify_tells_of_bytes_that_are_gone(hub, weights):
    snapshot(weights, "config.json").resolve().unlink()
    assert [found.problem for found in cache.verify()] == ["its bytes are gone from the cache", ""]


def test_removing_a_repo_frees_its_bytes_and_keeps_what_its_hashes_were(hub, weights):
    locked = records.locked_hashes()
    assert cache.remove("user/name") == 5002
    assert everything(paths.hub_cache()) <= {".locks", "CACHEDIR.TAG"}
    assert cache.scan() == ()
    assert records.locked_hashes() == locked


def test_removing_a_revision_keeps_what_others_need(hub, weights, newer):
    assert cache.remove(weights) == 2
    assert [repo.revisions for repo in cache.scan()] == [(newer.revision,)]
    hub.requests.clear()
    zoo_hub.fetch(newer, offline=True)
    assert cache.remove(newer) == 5008
    assert cache.scan() == ()


def test_a_cached_revision_is_found_by_commit_first_digits_or_branch(hub, weights, newer):
    for commit in (weights.revision, newer.revision):
        assert cache.find("user/name", commit).revision == commit
        assert cache.find("user/name", commit[:8]).revision == commit
    layout.reference_file("user/name", "v1").parent.mkdir(exist_ok=True)
    layout.reference_file("user/name", "v1").write_text(weights.revision)
    cache.remove(cache.find("user/name", "v1"))
    assert [repo.revisions for repo in cache.scan()] == [(newer.revision,)]


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("", "'' is not a revision: it is empty"),
        ("../../x", "is not a revision"),
        ("v9", "user/name@v9 is not in the cache"),
        ("0" * 40, f"user/name@{'0' * 40} is not in the cache"),
        ("abcdef", "user/name@abcdef is not in the cache"),
        ("abcdef0", "user/name has 2 revisions in the cache that begin with abcdef0"),
    ],
)
def test_a_revision_that_is_not_cached_or_not_clear_is_a_usage_error(hub, revision, said):
    for commit in ("abcdef0" + "1" * 33, "abcdef0" + "2" * 33):
        path = layout.snapshot_file("user/name", commit, "config.json")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"{}")
    with pytest.raises(UsageError, match=re.escape(said)):
        cache.find("user/name", revision)


def test_removing_a_revision_forgets_the_branches_that_name_it(hub, waits):
    hub.add_repo("user/name", FILES, revision="v1")
    first = zoo_hub.listing("user/name", "v1")
    zoo_hub.fetch(first)
    hub.add_repo("user/name", {"config.json": b"[]"}, revision="v2")
    zoo_hub.fetch(zoo_hub.listing("user/name", "v2"))
    cache.remove(first)
    assert not layout.reference_file("user/name", "v1").exists()
    assert layout.reference_file("user/name", "v2").exists()


def test_what_is_not_in_the_cache_cannot_be_removed(hub, weights):
    with pytest.raises(UsageError, match="user/other is not in the cache"):
        cache.remove("user/other")
    with pytest.raises(UsageError, match="user/name is not in the cache"):
        cache.remove(pinned("user/name", "0" * 40, FILES))
    with pytest.raises(UsageError, match="is not a Hub repo"):
        cache.remove("../name")


def test_a_repo_that_is_being_downloaded_is_not_removed_or_collected(hub, weights):
    path = interrupted("user/name")
    lock = layout.lock_file(layout.repo_folder("user/name"), "a" * 64)
    with FileLock(lock):
        with pytest.raises(WeightsError, match="is being downloaded by another process"):
            cache.remove("user/name")
        assert cache.collect() == ()
    assert path.exists()
    assert [item.path for item in cache.collect()] == [path]


def test_collect_removes_what_nobody_needs_and_nothing_else(hub, weights):
    folder = layout.repo_folder("user/name")
    orphan = interrupted("user/name")
    blob = folder / "blobs" / ("b" * 64)
    blob.write_bytes(bytes(90))
    link = folder / "snapshots" / weights.revision / "gone.json"
    link.symlink_to("../../blobs/nowhere")
    records.quarantine(interrupted("user/name", "c" * 64, size=30), repo="user/name", actual="0" * 64)
    expected = {
        (orphan, 700, "its download was interrupted"),
        (blob, 90, "no snapshot points at it"),
        (link, 0, "it leads nowhere"),
        (records.quarantined()[0], 30, "its bytes were not the expected ones"),
    }
    assert {(item.path, item.bytes, item.reason) for item in cache.collect(dry_run=True)} == expected
    assert orphan.exists()
    assert {(item.path, item.bytes, item.reason) for item in cache.collect()} == expected
    assert cache.collect() == ()
    assert list(cache.verify())
    zoo_hub.fetch(weights, offline=True)


def test_nothing_is_deleted_through_a_link_that_leaves_the_cache(hub, weights, tmp_path):
    outside = tmp_path / "outside"
    (outside / "blobs").mkdir(parents=True)
    (outside / "snapshots" / ("0" * 40)).mkdir(parents=True)
    precious = outside / "blobs" / ("d" * 64)
    precious.write_bytes(b"precious")
    (paths.hub_cache() / "models--user--linked").symlink_to(outside)
    half = paths.hub_cache() / "models--user--half"
    half.mkdir()
    for part in ("blobs", "snapshots"):
        (half / part).symlink_to(outside / part)
    assert cache.collect() == ()
    for repo in ("user/linked", "user/half"):
        with pytest.raises(WeightsError, match="leads out of the cache"):
            cache.remove(repo)
    (layout.repo_folder("user/name") / "snapshots" / weights.revision / "link.json").symlink_to(precious)
    cache.remove("user/name")
    assert precious.read_bytes() == b"precious"


def test_the_cache_is_looked_after_without_the_client(hub, weights):
    code = (
        "import sys; from zoo.weights import cache; cache.scan(); list(cache.verify()); cache.collect();"
        "print([name for name in ('huggingface_hub', 'httpx2', 'torch', 'numpy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
