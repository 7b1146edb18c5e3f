"""The guard among other users of the Hub's client: their imports, their sessions, their threads."""

import os
import threading
import time

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download
from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache
from huggingface_hub.utils import _http

from hub.fixtures import failure, pinned
from hub.loopback import Fault
from zoo.weights import hub as zoo_hub
from zoo.weights import layout, network

NAME = "model.safetensors"
FILES = {NAME: os.urandom(70_000)}
guard = network.load_guard()


@pytest.fixture
def weights(hub, waits):
    return pinned("user/name", hub.add_repo("user/name", FILES), FILES)


@pytest.fixture
def no_factory():
    """The client as it is before the zoo's first question."""
    before, installed = _http._GLOBAL_CLIENT_FACTORY, list(guard._installed)
    huggingface_hub.set_client_factory(_http.default_client_factory)
    guard._installed.clear()
    yield
    huggingface_hub.set_client_factory(before)
    guard._installed[:] = installed


@pytest.mark.parametrize("told_by", ["header", "listing kept by snapshot_download"])
def test_a_client_that_was_imported_before_downloads_over_http_all_the_same(
    hub, weights, monkeypatch, told_by
):
    monkeypatch.setattr(file_download, "xet_get", lambda **_: pytest.fail("went round the guard"))
    if told_by == "header":
        hub.fault(NAME, Fault(headers={"X-Xet-Hash": "a" * 64, "X-Xet-Refresh-Route": f"{hub.endpoint}/xet"}))
    else:
        [file] = weights.files
        entry = TreeCacheEntry(70_000, "b" * 40, file.sha256, 70_000, "a" * 64)
        write_tree_cache(str(layout.repo_folder("user/name")), weights.revision, {NAME: entry})
    assert not constants.HF_HUB_DISABLE_XET, "as a program finds it that never heard of the zoo"
    zoo_hub.fetch(weights)
    assert hub.gets(NAME) == 1
    assert not constants.HF_HUB_DISABLE_XET, "and as it leaves it"


def test_one_thread_that_is_done_does_not_let_another_go_round_the_guard(hub, waits):
    first, second = (guard.guarding(guard.Guard("user/name", hub.endpoint)) for _ in range(2))
    first.__enter__()
    with second:
        assert constants.HF_HUB_DISABLE_XET
    assert constants.HF_HUB_DISABLE_XET
    first.__exit__(None, None, None)
    assert not constants.HF_HUB_DISABLE_XET


def test_threads_that_begin_at_once_hook_the_client_once(hub, no_factory, monkeypatch):
    installed = []

    def slowly(factory):
        time.sleep(0.05)
        installed.append(factory)
        huggingface_hub.set_client_factory(factory)

    monkeypatch.setattr(guard, "set_client_factory", slowly)
    threads = [threading.Thread(target=guard._hook_sessions) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(installed) == 1


def test_a_client_that_does_not_show_its_factory_is_given_one_with_the_hooks_once(
    hub, no_factory, monkeypatch
):
    given = []
    monkeypatch.setattr(guard, "set_client_factory", given.append)
    monkeypatch.delattr(_http, "_GLOBAL_CLIENT_FACTORY")
    for _ in range(2):
        guard._hook_sessions()
    [factory] = given
    with factory() as session:
        assert guard._check in session.event_hooks["response"]
        assert session.follow_redirects, "as the client's own sessions"


def test_a_factory_of_another_program_around_the_guards_hooks_each_session_once(hub, waits, no_factory):
    with guard.guarding(guard.Guard("user/name", hub.endpoint)):
        ours = _http._GLOBAL_CLIENT_FACTORY
    huggingface_hub.set_client_factory(lambda: ours())
    with guard.guarding(guard.Guard("user/name", hub.endpoint)):
        assert huggingface_hub.get_session().event_hooks["response"].count(guard._check) == 1


def test_a_command_that_asks_three_times_waits_a_minute_in_all(hub, weights, waits):
    hub.fault("/api/models/", Fault(status=429, headers={"Retry-After": "29"}), times=2)
    assert zoo_hub.listing("user/name").revision == weights.revision
    hub.fault("/resolve/", Fault(status=429, headers={"Retry-After": "29"}))
    assert "answered 429 after 60 s of waiting and asks to wait 29 s" in str(failure(weights))
    assert waits == [29, 29]


def test_an_hour_later_it_may_wait_again(hub, weights, waits, monkeypatch):
    monkeypatch.setattr(guard, "_waits", [(time.monotonic() - 3601, 60.0)])
    hub.fault(NAME, Fault(status=429, headers={"Retry-After": "29"}), times=1)
    zoo_hub.fetch(weights)
    assert waits == [29]
