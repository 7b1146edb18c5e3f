"""A push that fails at any request: the repo stays as it was, and the error says what failed and how it stands."""

from __future__ import annotations

import pytest

from hub.loopback import Fault
from publish.conftest import LICENCES
from zoo.errors import HubError
from zoo.publish import push as pushing
from zoo.publish import remote

WRITES = ("POST", "PUT")
ROUTES = {
    "create": (r"/api/repos/create", "the new repo user/verse", "nothing was changed in user/verse"),
    "preupload": (r"/preupload/", "the upload of README.md", "user/verse was made and is still empty"),
    "batch": (r"/objects/batch", "the upload of model.safetensors", "user/verse was made and is still empty"),
    "put": (r"/lfs/upload/", "the upload of model.safetensors", "user/verse was made and is still empty"),
    "verify": (r"/lfs/verify", "the upload of model.safetensors", "user/verse was made and is still empty"),
    "card": (r"/api/validate-yaml", "the commit to user/verse", "nothing of it is in user/verse"),
    "commit": (r"/commit/main", "the commit to user/verse", "nothing of it is in user/verse"),
}


@pytest.fixture
def bundle(run):
    return pushing.prepare(run, "user/verse", LICENCES)


def send(bundle, **asked):
    return pushing.send(bundle, pushing.changes(bundle), pushing.Asked(**asked))


def fails(hub, bundle, **asked):
    """The error of a push, after the checks that hold for each: the repo is as it was, or new and empty."""
    before = hub.head("user/verse")
    with pytest.raises(HubError) as told:
        send(bundle, **asked)
    if before:
        assert hub.head("user/verse") == before
    elif hub.head("user/verse"):
        assert hub.files("user/verse").keys() == {".gitattributes"}
    message = str(told.value)
    assert message.isprintable()
    assert len(message) < 400
    return told.value


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fault", ["500", "cut"])
def test_a_failure_at_any_request_leaves_nothing_half_written(writable, bundle, waits, route, fault):
    path, what, state = ROUTES[route]
    broken = Fault(status=500, methods=WRITES) if fault == "500" else Fault(take=100, methods=WRITES)
    writable.fault(path, broken)
    error = fails(writable, bundle)
    assert what in str(error)
    assert str(error).endswith(state)
    assert "500" in str(error) or "cut" in str(error) or "does not hold" in str(error)
    tries = sum(path.strip("/") in seen.path for seen in writable.requests if seen.method in WRITES)
    assert 2 <= tries <= 7
    assert sum(waits) < 60
    writable.heal()
    assert send(bundle).commit == writable.head("user/verse")


@pytest.mark.parametrize("route", ROUTES)
def test_one_failure_that_passes_is_not_noticed(writable, bundle, route):
    writable.fault(ROUTES[route][0], Fault(status=503, methods=WRITES), times=1)
    assert send(bundle).commit == writable.head("user/verse")


@pytest.mark.parametrize("route", ["create", "commit"])
def test_an_answer_that_is_lost_is_no_failure_when_the_thing_was_done(writable, bundle, route):
    writable.fault(ROUTES[route][0], Fault(cut_after=0, announce=100, methods=WRITES), times=1)
    pushed = send(bundle)
    assert pushed.commit == writable.head("user/verse")
    assert set(pushed.files) <= writable.files("user/verse").keys()


@pytest.mark.parametrize(
    ("route", "status", "message", "said"),
    [
        ("create", 401, "Invalid credentials", "the token is not valid: Invalid credentials"),
        ("create", 403, "no rights", "this account or token may not write to user/verse: no rights"),
        ("preupload", 403, "read only", "may not write to user/verse: read only"),
        ("batch", 403, "Private repository storage limit reached", "user/verse: Private repository storage limit"),
        ("batch", 413, "too large", "the Hub answered 413 for the upload of model.safetensors: too large"),
        ("put", 400, "Bad digest", "the Hub answered 400 for the upload of model.safetensors: Bad digest"),
        ("verify", 404, "", "the upload of model.safetensors"),
        ("card", 400, '"license" must be one of', 'the Hub answered 400 for the commit to user/verse: "license"'),
        ("commit", 402, "Payment required", "may not write to user/verse: Payment required"),
        ("commit", 412, "A commit has happened", "was changed by someone else meanwhile: A commit has happened"),
    ],
)  # fmt: skip
def test_a_refusal_is_said_as_what_it_is_and_not_repeated(writable, bundle, route, status, message, said):
    writable.add_repo("user/verse", {".gitattributes": b""}) if route != "create" else None
    headers = {"X-Error-Message": message}
    writable.fault(ROUTES[route][0], Fault(status=status, headers=headers, methods=WRITES))
    assert said in str(fails(writable, bundle))
    path = ROUTES[route][0].strip("/")
    assert sum(path in seen.path for seen in writable.requests if seen.method in WRITES) == 1


def test_a_commit_of_another_that_came_between_is_not_overwritten(writable, bundle):
    writable.add_repo("user/verse", {".gitattributes": b""})
    found = pushing.changes(bundle)
    other = writable.add_repo("user/verse", {"notes.md": b"theirs"})
    with pytest.raises(
        HubError, match=r"412: user/verse was changed by someone else meanwhile.*; nothing of it is"
    ):
        pushing.send(bundle, found, pushing.Asked())
    assert writable.head("user/verse") == other


def test_bytes_that_were_spoilt_on_their_way_are_refused(writable, bundle):
    content = bundle.files["model.safetensors"]
    writable._large[content.sha256] = b"short"  # stored before, and wrong
    with pytest.raises(HubError, match="does not hold all that was sent; user/verse is at that commit now"):
        send(bundle)


def test_a_hub_that_asks_to_wait_for_a_day_is_not_waited_for(writable, bundle, waits):
    writable.fault("/commit/", Fault(status=429, headers={"Retry-After": "86400"}, methods=WRITES))
    assert "asks to wait 86400 s; the zoo waits at most 60 s" in str(fails(writable, bundle))
    assert waits == []


def test_a_hub_that_never_answers_is_given_up(writable, bundle, monkeypatch):
    monkeypatch.setattr(remote, "_SILENCE", 0.05)
    writable.fault("/commit/", Fault(delay=0.3, status=500, methods=WRITES))
    assert "did not answer in time for the commit to user/verse" in str(fails(writable, bundle))


@pytest.mark.parametrize("times", [1, 9])
def test_an_answer_that_names_no_commit_is_not_believed(writable, bundle, times):
    """The branch is asked instead: it is there, and holds what was sent."""
    unnamed = Fault(change=lambda body: body.replace(b'"commitOid": "', b'"commitOid": "../'), methods=WRITES)
    writable.fault("/commit/main", unnamed, times)
    assert send(bundle).commit == writable.head("user/verse")


def test_a_hub_that_cannot_be_reached_is_said_at_once(writable, bundle, monkeypatch, waits):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        HubError, match=r"cannot reach 127\.0\.0\.1:9 for the branch main of user/verse"
    ) as told:
        pushing.changes(bundle)
    assert told.value.hint == "check the network"
    assert sum(waits) < 5


def test_a_failed_pull_request_does_not_claim_to_know(writable, bundle):
    writable.add_repo("user/verse", {".gitattributes": b""})
    writable.fault("/commit/", Fault(status=500, methods=WRITES))
    assert "whether the pull request was made is not known" in str(fails(writable, bundle, pull_request=True))
    writable.heal()
    writable.fault("/commit/", Fault(status=403, methods=WRITES))
    assert "nothing was changed in user/verse" in str(fails(writable, bundle, pull_request=True))


def test_nothing_is_pushed_to_a_server_that_is_no_hub(writable, bundle):
    writable.add_repo("user/verse", {".gitattributes": b""})
    writable.fault("/api/", Fault(change=lambda body: b"<html>"))
    with pytest.raises(HubError, match="the branch main of user/verse"):
        pushing.changes(bundle)
