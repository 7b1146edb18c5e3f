"""Each thing that can go wrong with a download: what is said, and that nothing wrong is used."""

import errno
import os
import socket
from dataclasses import replace
from email.utils import formatdate
from time import time

import pytest
from hub.fixtures import pinned, snapshot, unpinned
from hub.loopback import Fault, LoopbackHub

from zoo import paths
from zoo.errors import DiskSpaceError, HubError, IntegrityError, UsageError, WeightsError, ZooError
from zoo.registry.entry import File
from zoo.weights import hub as zoo_hub
from zoo.weights import layout, records

NAME = "model.safetensors"
BODY = os.urandom(400_000)
FILES = {NAME: BODY}


@pytest.fixture
def weights(hub, waits):
    return pinned("user/name", hub.add_repo("user/name", FILES), FILES)


def failure(weights) -> ZooError:
    """The error that a fetch ends in, after the checks that hold for every one of them."""
    with pytest.raises(ZooError) as told:
        zoo_hub.fetch(weights)
    message = str(told.value)
    assert message.isprintable(), "one line, without control characters"
    assert len(message) < 400
    for file in weights.files:
        assert not snapshot(weights, file.name).exists()
    return told.value


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
    seen = []
    assert zoo_hub.fetch(weights, report=seen.append)[NAME].read_bytes() == body
    assert asked_ranges(hub) == [None, f"bytes={STEP}-"]
    assert max(step.done for step in seen) == len(body)


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
    assert "needs 400.0 kB and 400.0 kB are free" in str(error)
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


@pytest.mark.parametrize("asked", ["86400", formatdate(time() + 86_400, usegmt=True)])
def test_a_retry_after_of_a_day_is_not_waited_for(hub, weights, waits, asked):
    hub.fault(NAME, Fault(status=429, headers={"Retry-After": asked}))
    error = failure(weights)
    assert isinstance(error, HubError)
    assert str(error).startswith("the Hub answered 429 and asks to wait 86")
    assert "the zoo waits at most 60 s in all" in str(error)
    assert waits == []


def test_a_short_retry_after_is_waited_for_and_said(hub, weights, waits):
    hub.fault(NAME, Fault(status=429, headers={"Retry-After": "7"}), times=2)
    notes = []
    assert zoo_hub.fetch(weights, report=lambda step: notes.append(step.note))[NAME].read_bytes() == BODY
    assert waits == [7, 7]
    assert notes.count("the Hub asks to wait 7 s") == 2


def test_many_short_retry_afters_are_waited_for_a_minute_in_all(hub, weights, waits):
    hub.fault(NAME, Fault(status=429, headers={"Retry-After": "19"}))
    error = failure(weights)
    assert "answered 429 after 60 s of waiting and asks to wait 19 s" in str(error)
    assert waits == [19, 19, 19]


def test_a_rate_limit_header_counts_as_asking_to_wait(hub, weights, waits):
    hub.fault(NAME, Fault(status=429, headers={"RateLimit": '"api";r=0;t=290'}))
    assert "asks to wait 290 s" in str(failure(weights))


def test_waiting_while_downloading_is_bounded_too(hub, weights, waits):
    hub.fault(NAME, Fault(status=429, headers={"Retry-After": "3600"}, methods=("GET",)))
    assert "asks to wait 3600 s" in str(failure(weights))


@pytest.mark.parametrize("methods", [("HEAD",), ("GET",)])
@pytest.mark.parametrize("status", [500, 503])
def test_a_hub_that_always_fails_is_said_to_after_a_few_tries(hub, weights, waits, status, methods):
    hub.fault(NAME, Fault(status=status, methods=methods))
    error = failure(weights)
    assert f"the Hub answered {status} to 3 requests in a row for {NAME} of user/name@" in str(error)
    assert sum(waits) < 5
    assert len(hub.requests) < 12


def test_a_hub_that_fails_once_is_asked_again(hub, weights):
    hub.fault(NAME, Fault(status=500, methods=("HEAD",)), times=1)
    hub.fault(NAME, Fault(status=502, methods=("GET",)), times=1)
    assert zoo_hub.fetch(weights)[NAME].read_bytes() == BODY


def test_401_says_log_in(hub, waits):
    commit = hub.add_repo("user/private", FILES, token="hf_right")
    error = failure(pinned("user/private", commit, FILES))
    assert "the Hub answered 401: user/private is private or does not exist" in str(error)
    assert error.hint == "log in: `hf auth login`, or set HF_TOKEN"


def test_a_token_opens_a_private_repo_and_is_never_shown(hub, waits, monkeypatch):
    commit = hub.add_repo("user/private", FILES, token="hf_rightSecret")
    weights = pinned("user/private", commit, FILES)
    monkeypatch.setenv("HF_TOKEN", "wrongSecret")
    hub.fault(NAME, Fault(status=401, headers={"X-Error-Message": "Bearer wrongSecret is hf_OtherSecret"}))
    error = failure(weights)
    assert "Secret" not in f"{error} {error.hint}"
    hub.heal()
    monkeypatch.setenv("HF_TOKEN", "hf_rightSecret")
    assert zoo_hub.fetch(weights)[NAME].read_bytes() == BODY


def test_the_token_goes_to_no_other_host(hub, waits, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_rightSecret")
    with LoopbackHub() as elsewhere:
        for server in (hub, elsewhere):
            commit = server.add_repo("user/private", FILES, token="hf_rightSecret")
        hub.cdn = elsewhere.endpoint
        assert zoo_hub.fetch(pinned("user/private", commit, FILES))[NAME].read_bytes() == BODY
        assert [seen.path.split("/")[1] for seen in elsewhere.requests] == ["lfs"]
        assert all("authorization" not in seen.headers for seen in elsewhere.requests)


def test_a_storage_host_that_refuses_is_named(hub, weights):
    with LoopbackHub() as elsewhere:
        elsewhere.add_repo("user/name", FILES)
        hub.cdn = elsewhere.endpoint
        elsewhere.fault("/lfs/", Fault(status=403))
        assert f"127.0.0.1 answered 403 for {NAME} of user/name@" in str(failure(weights))


def test_403_of_a_gated_repo_says_accept_the_terms(hub, waits):
    commit = hub.add_repo("user/gated", FILES, gated=True)
    error = failure(pinned("user/gated", commit, FILES))
    assert "user/gated is gated" in str(error)
    assert error.hint.startswith(f"accept the terms at {hub.endpoint}/user/gated, then log in")


def test_403_otherwise_says_what_the_hub_said(hub, weights):
    hub.fault(NAME, Fault(status=403, headers={"X-Error-Message": "Access to this resource is disabled."}))
    error = failure(weights)
    assert "may not read user/name: Access to this resource is disabled." in str(error)


def test_404_names_what_is_not_there(hub, waits):
    commit = hub.add_repo("user/name", FILES)
    assert "there is no repo user/other, or it is private" in str(
        failure(pinned("user/other", commit, FILES))
    )
    error = failure(pinned("user/name", "0" * 40, FILES))
    assert f"user/name has no revision {'0' * 40}" in str(error)
    error = failure(unpinned("user/name", commit, "absent.json"))
    assert f"there is no absent.json of user/name@{commit[:8]}" in str(error)


def test_a_refused_connection_is_said_so(hub, weights, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    error = failure(weights)
    assert f"cannot reach 127.0.0.1:{port} for {NAME} of user/name@" in str(error)
    assert "connection refused" in str(error)
    assert "--offline" in error.hint


def test_a_silent_server_is_said_so(hub, weights, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        error = failure(weights)
    assert "did not answer in time" in str(error)


def test_a_server_that_is_no_hub_is_said_so(hub, weights):
    hub.fault(NAME, Fault(headers={"X-Repo-Commit": None}))
    error = failure(weights)
    assert "does not name its commit and ETag" in str(error)
    assert error.hint == "is HF_ENDPOINT a Hub?"


def test_an_endpoint_that_is_no_address_is_a_usage_error(hub, weights, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    assert isinstance(failure(weights), UsageError)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_cache_that_may_not_be_written_is_said_so(hub, weights, tmp_path):
    (tmp_path / "hf").mkdir(mode=0o500)
    error = failure(weights)
    assert isinstance(error, WeightsError)
    assert "HF_HUB_CACHE" in error.hint


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
