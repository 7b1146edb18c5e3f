"""Pinned files arrive once, are checked once, and then cost nothing."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hub.fixtures import pinned, snapshot, unpinned
from zoo import paths
from zoo.errors import IntegrityError, NoWeightsError, OfflineError, UsageError
from zoo.registry.entry import File, Weights
from zoo.weights import hub as zoo_hub
from zoo.weights import layout, records

FILES = {"config.json": b'{"model_type": "gpt2"}', "model.safetensors": os.urandom(300_000)}


def test_files_arrive_in_the_standard_cache_and_a_second_fetch_asks_for_nothing(hub):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    found = zoo_hub.fetch(weights)
    assert {name: path.read_bytes() for name, path in found.items()} == FILES
    standard = paths.hub_cache() / "models--user--name" / "snapshots" / weights.revision / "config.json"
    assert found["config.json"] == standard
    hub.requests.clear()
    assert zoo_hub.fetch(weights) == found
    assert hub.requests == []


def test_a_verified_file_is_not_read_again(hub, monkeypatch):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    zoo_hub.fetch(weights)
    monkeypatch.setattr(records, "hashes", lambda *_, **__: pytest.fail("read again"))
    zoo_hub.fetch(weights)


def test_only_the_asked_files_are_fetched(hub):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    assert list(zoo_hub.fetch(weights, only={"config.json"})) == ["config.json"]
    assert hub.gets("model.safetensors") == 0
    with pytest.raises(UsageError, match=r"has no file 'vocab.json'; it has config.json, model.safetensors"):
        zoo_hub.fetch(weights, only={"vocab.json"})


def test_progress_goes_from_the_first_byte_to_the_last(hub):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    seen = []
    zoo_hub.fetch(weights, report=seen.append)
    for name, body in FILES.items():
        steps = [step for step in seen if step.file == name]
        assert {step.total for step in steps} == {len(body)}
        assert [step.done for step in steps] == sorted(step.done for step in steps)
        assert steps[-1].done == len(body)


def test_a_file_another_program_downloaded_is_checked_and_used_without_a_request(hub):
    import huggingface_hub

    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    for name in FILES:
        huggingface_hub.hf_hub_download(
            "user/name",
            name,
            revision=weights.revision,
            cache_dir=paths.hub_cache(),
            endpoint=hub.endpoint,
        )
    hub.requests.clear()
    assert set(zoo_hub.fetch(weights)) == set(FILES)
    assert hub.requests == []
    assert all(records.is_verified(snapshot(weights, file.name), file.sha256) for file in weights.files)


def test_offline_with_a_full_cache_works_and_asks_for_nothing(hub):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    found = zoo_hub.fetch(weights)
    hub.requests.clear()
    assert zoo_hub.fetch(weights, offline=True) == found
    assert hub.requests == []


@pytest.mark.parametrize("by", ["argument", "HF_HUB_OFFLINE"])
def test_offline_without_the_file_says_zoo_pull_and_asks_for_nothing(hub, monkeypatch, by):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    if by == "HF_HUB_OFFLINE":
        monkeypatch.setenv(by, "1")
    with pytest.raises(
        OfflineError, match=r"config.json \(and 1 more\) of user/name is not in the cache"
    ) as told:
        zoo_hub.fetch(weights, offline=by == "argument", name="gpt2-small")
    assert told.value.hint == "with the network, run `zoo pull gpt2-small`"
    assert hub.requests == []


def test_the_hint_names_the_repo_when_no_model_name_is_known(hub):
    weights = pinned("user/name", "0" * 40, FILES)
    with pytest.raises(OfflineError) as told:
        zoo_hub.fetch(weights, offline=True)
    assert told.value.hint.endswith(f"`zoo pull hf:user/name@{'0' * 40}`")


def test_an_unpinned_file_is_locked_at_its_first_download(hub):
    weights = unpinned("user/name", hub.add_repo("user/name", FILES), *FILES)
    zoo_hub.fetch(weights)
    locked = json.loads((paths.home() / "lock.json").read_text())["files"]
    pins = {file.name: file.sha256 for file in pinned("user/name", weights.revision, FILES).files}
    assert locked == {f"user/name@{weights.revision}/{name}": sha256 for name, sha256 in pins.items()}


def test_a_later_download_must_match_the_locked_hash(hub, waits):
    commit = hub.add_repo("user/name", {"vocab.json": b"first"})
    weights = unpinned("user/name", commit, "vocab.json")
    zoo_hub.fetch(weights)
    layout_folder = layout.repo_folder("user/name")
    snapshot(weights, "vocab.json").unlink()
    for blob in (layout_folder / "blobs").iterdir():
        blob.unlink()
    hub._repos["user/name"].commits[commit]["vocab.json"] = b"other"
    with pytest.raises(IntegrityError, match=r"vocab\.json"):
        zoo_hub.fetch(weights)
    assert not snapshot(weights, "vocab.json").exists()


def test_a_damaged_record_costs_one_reading_and_nothing_else(hub):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    found = zoo_hub.fetch(weights)
    (paths.home() / "verified.json").write_text("{")
    hub.requests.clear()
    assert zoo_hub.fetch(weights) == found
    assert hub.requests == []
    assert records.is_verified(found["config.json"])


def test_a_cached_file_that_changed_is_quarantined_and_downloaded_again(hub):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    path = zoo_hub.fetch(weights)["model.safetensors"]
    path.write_bytes(bytes(300_000))
    notes = []
    zoo_hub.fetch(weights, report=lambda step: notes.append(step.note))
    assert path.read_bytes() == FILES["model.safetensors"]
    assert "the cached bytes were wrong; downloading them again" in notes
    assert [aside.read_bytes() for aside in records.quarantined()] == [bytes(300_000)]


def test_offline_a_cached_file_that_changed_is_an_error_and_is_not_used(hub):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    path = zoo_hub.fetch(weights)["model.safetensors"]
    path.write_bytes(bytes(300_000))
    expected = weights.files[1].sha256
    with pytest.raises(
        IntegrityError, match=f"model.safetensors of user/name@.*expected {expected}, got "
    ) as told:
        zoo_hub.fetch(weights, offline=True, name="gpt2-small")
    assert told.value.hint.endswith("`zoo pull gpt2-small`")
    assert not path.exists()


@pytest.mark.parametrize("offline", [False, True])
def test_a_wrong_file_that_cannot_be_taken_out_of_the_cache_is_an_error_and_is_not_used(
    hub, monkeypatch, offline
):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    path = zoo_hub.fetch(weights)["model.safetensors"]
    path.write_bytes(bytes(300_000))
    unlink = Path.unlink

    def read_only(self: Path, *, missing_ok: bool = False) -> None:
        if self.is_relative_to(paths.hub_cache()):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(IntegrityError, match="the file could not be moved to quarantine") as told:
        zoo_hub.fetch(weights, offline=offline)
    assert told.value.hint == f"delete {path}, or let HF_HUB_CACHE name a folder you may write"
    assert path.read_bytes() == bytes(300_000)


def test_bytes_outside_the_cache_are_never_moved(hub, tmp_path):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    path = zoo_hub.fetch(weights)["config.json"]
    outside, link = tmp_path / "outside.json", tmp_path / "link.json"
    outside.write_bytes(b"mine")
    link.symlink_to(outside)
    path.unlink()
    path.symlink_to(link)
    zoo_hub.fetch(weights)
    assert link.read_bytes() == b"mine"
    assert path.read_bytes() == FILES["config.json"]


def test_a_file_that_another_process_fetches_is_waited_for(hub):
    told = threading.Event()
    order = []

    def second() -> None:
        with records.only_process("user/name", told.set):
            order.append("second")

    with records.only_process("user/name", lambda: pytest.fail("nobody has it")):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert told.wait(10)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


def test_plan_says_what_is_cached_and_asks_for_sizes_nobody_knows(hub):
    commit = hub.add_repo("user/name", FILES)
    zoo_hub.fetch(unpinned("user/name", commit, *FILES), only={"config.json"})
    planned = zoo_hub.plan(unpinned("user/name", commit, *FILES))
    assert [(item.file.name, item.file.bytes, item.cached) for item in planned] == [
        ("config.json", len(FILES["config.json"]), True),
        ("model.safetensors", 300_000, False),
    ]
    hub.requests.clear()
    assert [item.file.bytes for item in zoo_hub.plan(unpinned("a/b", commit, "x"), offline=True)] == [None]
    assert hub.requests == []


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        (Weights("none"), NoWeightsError),
        (Weights("original", repo="user/name", revision="main", files=(File("a"),)), UsageError),
        (Weights("original", repo="user/../name", revision="0" * 40, files=(File("a"),)), UsageError),
    ],
)
def test_weights_without_a_repo_a_full_commit_or_a_repo_name_are_refused(hub, weights, error):
    with pytest.raises(error):
        zoo_hub.fetch(weights)
    assert hub.requests == []


def test_the_modules_for_looking_import_no_client():
    code = "import sys, zoo.weights.hub, zoo.weights.cache; print([m for m in sys.modules if 'hugging' in m])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
