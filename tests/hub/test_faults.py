"""Each thing that can go wrong with a download: what is said, and that nothing wrong is used."""

import errno
import os
from dataclasses import replace

import pytest

from hub.fixtures import failure, pinned, unpinned
from hub.loopback import Fault, LoopbackHub
from zoo import paths
from zoo.errors import DiskSpaceError, IntegrityError, WeightsError
from zoo.registry.entry import File
from zoo.weights import hub as zoo_hub
from zoo.weights import layout, records

NAME = "model.safetensors"
BODY = os.urandom(400_000)
FILES = {NAME: BODY}


@pytest.fixture
def weights(hub, waits):
    return pinned("user/name", hub.add_repo("user/name", FILES), FILES)


def flip(body: bytes) -> bytes:
    return body[:1000] + bytes([body[1000] ^ 1]) + body[1001:]


def test_a_flipped_bit_is_quarantined_and_the_file_asked_for_once_more(hub, weights):
    hub.fault(NAME, Fault(change=flip, methods=("GET",)), times=1)
    assert zoo_hub.fetch(weights)[NAME].read_bytes() == BODY
    assert hub.gets(NAME) == 2
    assert [path.read_bytes() for path in records.quarantined()] == [flip(BODY)]


def test_bytes_that_are_wrong_twice_are_an_error_with_both_hashes(hub, weights):
    hub.fault(NAME, Fault(change=flip, methods=("GET",)))
    error = failure(weights)
    assert isinstance(error, IntegrityError)
    assert f"expected {weights.files[0].sha256}, got {hub.hashes(flip(BODY))[0]}" in str(error)
    assert hub.gets(NAME) == 2


def test_a_flipped_bit_in_an_unpinned_file_is_found_by_the_name_git_gives_it(hub, waits):
    files = {"vocab.json": bytes(2000)}
    hub.fault("vocab.json", Fault(change=flip, methods=("GET",)))
    error = failure(unpinned("user/name", hub.add_repo("user/name", files), "vocab.json"))
    assert isinstance(error, IntegrityError)
    assert not (paths.home() / "lock.json").exists()


def test_a_wrong_pin_of_a_large_file_is_found_before_its_first_byte(hub, weights):
    wrong = replace(weights, files=(replace(weights.files[0], sha256="0" * 64),))
    error = failure(wrong)
    assert isinstance(error, IntegrityError)
    assert f"expected {'0' * 64}, the Hub has {weights.files[0].sha256}" in str(error)
    assert hub.gets(NAME) == 0


def test_a_wrong_pin_of_a_small_file_is_found_after_its_download(hub, waits):
    commit = hub.add_repo("user/name", {"vocab.json": b"{}"})
    pins = (File("vocab.json", sha256="0" * 64),)
    error = failure(replace(unpinned("user/name", commit), files=pins))
    assert f"expected {'0' * 64}, got {hub.hashes(b'{}')[0]}" in str(error)


def test_a_size_other_than_the_pinned_one_is_found_before_the_first_byte(hub, weights):
    error = failure(replace(weights, files=(File(NAME, bytes=7),)))
    assert isinstance(error, IntegrityError)
    assert "expected 7 bytes, the Hub has 400000" in str(error)
    assert hub.gets(NAME) == 0


def test_a_body_shorter_than_announced_by_the_hub_is_an_error(hub, weights):
    hub.fault(NAME, Fault(change=lambda body: body[:1000], methods=("GET",)))
    error = failure(weights)
    assert isinstance(error, IntegrityError)
    assert "expected 400000 bytes, got 1000" in str(error)


def test_a_body_that_goes_on_is_cut_off(hub, weights):
    hub.fault(NAME, Fault(change=lambda body: body * 30, methods=("GET",)))
    error = failure(weights)
    assert "expected 400000 bytes, the Hub goes on sending" in str(error)


STEP = 10 * 1024 * 1024  # the client writes, and so resumes, in steps of this many bytes


@pytest.fixture
def long_body(hub, waits):
    """A file that is cut in its second step, and the weights that pin it."""
    body = os.urandom(STEP + 400_000)
    hub.fault(NAME, Fault(cut_after=STEP + 100_000, methods=("GET",)), times=1)
    return body, pinned("user/long", hub.add_repo("user/long", {NAME: body}), {NAME: body})


def asked_ranges(hub: LoopbackHub) -> list[str | None]:
    return [seen.headers.get("range") for seen in hub.requests if seen.method == "GET"]


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_connection_is_resumed(hub, long_body, reset):
    body, weights = long_body
    hub.heal()
    hub.fault(NAME, Fault(cut_after=STEP + 100_000, reset=reset, methods=("GET",)), times=1)
    steps = []
    assert zoo_hub.fetch(weights, report=steps.append)[NAME].read_bytes() == body
    assert asked_ranges(hub) == [None, f"bytes={STEP}-"]
    assert [seen.method for seen in hub.requests] == ["HEAD", "HEAD", "GET", "GET"], (
        "the client resumes itself"
    )
    assert max(step.done for step in steps) == len(body)


def test_a_cut_connection_to_a_server_without_ranges_starts_anew(hub, long_body):
    body, weights = long_body
    hub.ranges = False
    assert zoo_hub.fetch(weights)[NAME].read_bytes() == body
    assert hub.gets(NAME) == 2


def test_a_download_given_up_is_resumed_by_the_next_fetch(hub, long_body, monkeypatch):
    body, weights = long_body
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    hub.fault(NAME, Fault(cut_after=0, methods=("GET",)))
    assert "was cut" in str(failure(weights))
    hub.heal()
    hub.requests.clear()
    assert zoo_hub.fetch(weights)[NAME].read_bytes() == body
    assert asked_ranges(hub) == [f"bytes={STEP}-"]
    assert layout.incomplete_files(layout.repo_folder("user/long")) == []


def test_a_download_given_up_is_not_resumed_where_the_server_cannot(hub, long_body, monkeypatch):
    body, weights = long_body
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    hub.fault(NAME, Fault(cut_after=0, methods=("GET",)))
    failure(weights)
    hub.heal()
    hub.ranges = False
    assert zoo_hub.fetch(weights)[NAME].read_bytes() == body
    assert layout.incomplete_files(layout.repo_folder("user/long")) == []


def test_a_resumed_download_of_wrong_bytes_starts_anew(hub, weights):
    blobs = layout.repo_folder("user/name") / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{weights.files[0].sha256}.12345678.incomplete").write_bytes(bytes(100_000))
    assert zoo_hub.fetch(weights)[NAME].read_bytes() == BODY
    assert asked_ranges(hub) == ["bytes=100000-", None]
    assert layout.incomplete_files(layout.repo_folder("user/name")) == []


def test_a_page_of_another_size_in_place_of_the_file_is_not_resumed_from(hub, weights):
    hub.fault(NAME, Fault(change=lambda _: bytes(100_000), methods=("GET",)), times=1)
    assert zoo_hub.fetch(weights)[NAME].read_bytes() == BODY
    assert asked_ranges(hub) == [None, None]


def test_an_answer_for_another_range_than_the_asked_one_is_refused(hub, weights):
    blobs = layout.repo_folder("user/name") / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{weights.files[0].sha256}.12345678.incomplete").write_bytes(BODY[:100_000])
    hub.fault(NAME, Fault(headers={"Content-Range": "bytes 5-399999/400000"}, methods=("GET",)))
    assert "other bytes than the asked ones, from 100000 on" in str(failure(weights))


def test_too_small_a_disk_is_found_before_the_first_byte(hub, weights, monkeypatch):
    monkeypatch.setattr(layout, "free_bytes", lambda folder: 399_999)
    error = failure(weights)
    assert isinstance(error, DiskSpaceError)
    assert "user/name needs 400,000 bytes and 399,999 are free in " in str(error)
    assert hub.gets(NAME) == 0


def test_what_is_on_the_disk_already_needs_no_room(hub, weights, monkeypatch):
    zoo_hub.fetch(weights)
    other = hub.add_repo("user/name", {**FILES, "new.json": b"{}"})
    monkeypatch.setattr(layout, "free_bytes", lambda folder: 1000)
    again = pinned("user/name", other, FILES)
    assert zoo_hub.fetch(again)[NAME].read_bytes() == BODY


def test_dead_partial_files_make_room_before_the_disk_is_called_too_small(hub, weights, monkeypatch):
    blobs = layout.repo_folder("user/name") / "blobs"
    blobs.mkdir(parents=True)
    dead = blobs / f"{'a' * 64}.12345678.incomplete"
    dead.write_bytes(bytes(1000))
    monkeypatch.setattr(layout, "free_bytes", lambda folder: 399_500 if dead.exists() else 400_500)
    zoo_hub.fetch(weights)
    assert not dead.exists()


def test_a_disk_that_fills_up_in_the_middle_leaves_nothing_to_be_used(hub, weights, monkeypatch):
    from huggingface_hub import file_download

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(file_download, "http_get", full)
        error = failure(weights)
    assert isinstance(error, DiskSpaceError)
    assert str(error).startswith("the disk is full")
    assert zoo_hub.fetch(weights)[NAME].read_bytes() == BODY


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_cache_that_may_not_be_written_is_said_so(hub, weights, tmp_path):
    (tmp_path / "hf").mkdir(mode=0o500)
    error = failure(weights)
    assert isinstance(error, WeightsError)
    assert "HF_HUB_CACHE" in error.hint


@pytest.mark.parametrize(
    ("failed", "hint"),
    [
        ("home/.local", "let ZOO_HOME name a folder you may write"),
        ("home/.local/share/zoo/locks", "let ZOO_HOME name a folder you may write"),
        ("home/.local/share/zoo2", "let HF_HUB_CACHE name a folder you may write"),
        ("home/.cache/huggingface", "let HF_HUB_CACHE name a folder you may write"),
        ("home", "let ZOO_HOME and HF_HUB_CACHE name folders you may write"),
    ],
)
def test_the_hint_names_the_folder_that_could_not_be_made(tmp_path, monkeypatch, failed, hint):
    for name in (
        "ZOO_HOME",
        "XDG_DATA_HOME",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_HOME",
        "XDG_CACHE_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    error = OSError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / failed))
    assert records.storage_error(error).hint == hint


def test_a_fault_of_one_file_leaves_the_others_to_be_used(hub, waits):
    files = {"config.json": b"{}", NAME: BODY}
    weights = pinned("user/name", hub.add_repo("user/name", files), files)
    hub.fault(NAME, Fault(change=flip, methods=("GET",)))
    with pytest.raises(IntegrityError):
        zoo_hub.fetch(weights)
    hub.heal()
    hub.requests.clear()
    zoo_hub.fetch(weights)
    assert hub.gets("config.json") == 0
