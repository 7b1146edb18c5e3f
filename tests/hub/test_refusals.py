"""What the Hub may say instead of bytes: waiting that is bounded, and refusals said as what they are."""

import os
import socket
from email.utils import formatdate
from time import time

import pytest

from hub.fixtures import failure, pinned, unpinned
from hub.loopback import Fault, LoopbackHub
from zoo.errors import HubError, UsageError
from zoo.weights import hub as zoo_hub

NAME = "model.safetensors"
BODY = os.urandom(70_000)
FILES = {NAME: BODY}


@pytest.fixture
def weights(hub, waits):
    return pinned("user/name", hub.add_repo("user/name", FILES), FILES)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_retry_after_of_a_day_is_not_waited_for(hub, weights, waits, form):
    asked = "86400" if form == "seconds" else formatdate(time() + 86_400, usegmt=True)
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
    hub.fault(
        NAME,
        Fault(status=401, headers={"X-Error-Message": "wrongSecret, Bearer otherSecret, hf_thirdSecret"}),
    )
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


def test_whatever_the_client_asks_of_another_host_goes_without_the_token(hub, waits):
    import huggingface_hub

    from zoo.weights import network

    guard = network.load_guard()
    with LoopbackHub() as elsewhere, guard.guarding(guard.Guard("user/name", hub.endpoint)):
        for server in (hub, elsewhere):
            server.add_repo("user/name", FILES)
            address = f"{server.endpoint}/lfs/{server.hashes(BODY)[0]}"
            huggingface_hub.get_session().get(address, headers={"Authorization": "Bearer hf_secret"})
        assert [seen.headers.get("authorization") for seen in hub.requests] == ["Bearer hf_secret"]
        assert [seen.headers.get("authorization") for seen in elsewhere.requests] == [None]


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


def test_a_connection_that_never_holds_is_given_up(hub, waits, monkeypatch):
    monkeypatch.setattr("zoo.weights.guard._MOST_REQUESTS", 4)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    step = 10 * 1024 * 1024
    files = {NAME: bytes(step + 1)}
    hub.fault(NAME, Fault(cut_after=1, methods=("GET",)))
    error = failure(pinned("user/long", hub.add_repo("user/long", files), files))
    assert "gave up on model.safetensors of user/long@" in str(error)
    assert "after 4 requests: the connection does not hold" in str(error)


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
