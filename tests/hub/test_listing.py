"""What a Hub repo holds: asked of the Hub, and again from the cache."""

import hashlib
import os

import pytest

from hub.loopback import Fault
from zoo.errors import HubError, IntegrityError, OfflineError
from zoo.registry.entry import File
from zoo.weights import hub as zoo_hub
from zoo.weights import layout

FILES = {"config.json": b"{}", "model.safetensors": os.urandom(1000), "sub/vocab.json": b"[]"}
LARGE = hashlib.sha256(FILES["model.safetensors"]).hexdigest()


def test_a_listing_has_the_commit_the_sizes_and_the_hashes_of_large_files(hub, waits):
    commit = hub.add_repo("user/name", FILES)
    weights = zoo_hub.listing("user/name")
    assert (weights.status, weights.repo, weights.revision) == ("original", "user/name", commit)
    assert weights.files == (
        File("config.json", bytes=2),
        File("model.safetensors", sha256=LARGE, bytes=1000),
        File("sub/vocab.json", bytes=2),
    )
    assert {name: path.read_bytes() for name, path in zoo_hub.fetch(weights).items()} == FILES


def test_folders_in_a_listing_are_passed_over(hub, waits):
    hub.add_repo("user/name", FILES)
    hub.extra_entries = [{"type": "directory", "path": "sub", "oid": "0" * 40, "size": 0}]
    assert len(zoo_hub.listing("user/name").files) == 3


def test_a_long_listing_is_read_page_by_page(hub, waits):
    files = {f"{number:03}.json": b"{}" for number in range(25)}
    hub.add_repo("user/name", files)
    hub.page = 10
    assert [file.name for file in zoo_hub.listing("user/name").files] == sorted(files)


def test_branches_tags_and_pull_requests_resolve_to_their_commits(hub, waits):
    first = hub.add_repo("user/name", {"a.json": b"1"}, revision="v1.0")
    second = hub.add_repo("user/name", {"a.json": b"2"}, revision="refs/pr/1")
    assert zoo_hub.listing("user/name", "v1.0").revision == first
    assert zoo_hub.listing("user/name", "refs/pr/1").revision == second


def test_a_full_commit_needs_no_resolving(hub, waits):
    commit = hub.add_repo("user/name", FILES)
    assert zoo_hub.listing("user/name", commit).revision == commit
    assert [seen.path.split("/")[5] for seen in hub.requests] == ["tree"]


def test_offline_a_revision_seen_before_is_listed_from_the_cache(hub, waits):
    hub.add_repo("user/name", FILES, revision="v1.0")
    online = zoo_hub.listing("user/name", "v1.0")
    found = zoo_hub.fetch(online)
    hub.requests.clear()
    offline = zoo_hub.listing("user/name", "v1.0", offline=True)
    assert offline.revision == online.revision
    assert {file.name: file.sha256 for file in offline.files} == {
        name: hashlib.sha256(body).hexdigest() for name, body in FILES.items()
    }
    assert zoo_hub.listing("user/name", online.revision, offline=True) == offline
    assert zoo_hub.fetch(offline, offline=True) == found
    assert hub.requests == []


@pytest.mark.parametrize("revision", ["main", "0" * 40])
def test_offline_a_revision_that_is_not_cached_says_zoo_pull(hub, revision):
    with pytest.raises(OfflineError, match=f"user/name@{revision} is not in the cache") as told:
        zoo_hub.listing("user/name", revision, offline=True)
    assert told.value.hint == f"with the network, run `zoo pull hf:user/name@{revision}`"
    assert hub.requests == []


def test_offline_a_revision_file_that_leads_elsewhere_is_not_followed(hub, waits):
    hub.add_repo("user/name", FILES)
    zoo_hub.fetch(zoo_hub.listing("user/name"))
    layout.reference_file("user/name", "main").write_text("../../../../elsewhere")
    with pytest.raises(OfflineError):
        zoo_hub.listing("user/name", offline=True)


def test_a_repo_or_revision_that_is_not_there_is_said_so(hub, waits):
    hub.add_repo("user/name", FILES)
    with pytest.raises(HubError, match="there is no repo user/other"):
        zoo_hub.listing("user/other")
    with pytest.raises(HubError, match="user/name has no revision v2"):
        zoo_hub.listing("user/name", "v2")


def test_a_hub_that_fails_or_asks_to_wait_is_asked_again(hub, waits):
    hub.add_repo("user/name", FILES)
    hub.fault("/revision/", Fault(status=500), times=1)
    hub.fault("/tree/", Fault(status=429, headers={"Retry-After": "5"}), times=1)
    assert len(zoo_hub.listing("user/name").files) == 3
    assert waits == [0.5, 5]


def test_a_hash_that_differs_from_the_one_locked_before_is_refused_after_the_download(hub, waits):
    commit = hub.add_repo("user/name", FILES)
    zoo_hub.fetch(zoo_hub.listing("user/name"))
    folder = layout.repo_folder("user/name")
    for path in [*(folder / "snapshots" / commit).rglob("*.safetensors"), folder / "blobs" / LARGE]:
        path.unlink()
    hub._repos["user/name"].commits[commit]["model.safetensors"] = bytes(1000)
    with pytest.raises(IntegrityError, match=f"expected {LARGE}, got "):
        zoo_hub.fetch(zoo_hub.listing("user/name"))
