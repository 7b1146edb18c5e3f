"""A hostile or broken Hub: what it sends never becomes a path, a terminal command or an endless wait."""

import json
import os
import warnings

import pytest

from hub.fixtures import pinned, snapshot, unpinned
from hub.loopback import Fault, LoopbackHub
from zoo import paths
from zoo.errors import HubError, UsageError
from zoo.weights import hub as zoo_hub

FILES = {"config.json": b"{}", "model.safetensors": os.urandom(70_000)}
NAME = "model.safetensors"

HOSTILE_NAMES = [
    "../../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "a//b",
    "./a",
    "..",
    "",
    "C:\\Windows\\a",
    "C:a",
    "a\\b",
    "a\x1b[31mb",
    "a\x00b",
    "a\nb",
    "invoice\u202efdp.exe",
    "x" * 300,
    "\N{LATIN SMALL LETTER E WITH ACUTE}" * 150,
]


def refused(weights) -> HubError:
    with pytest.raises(HubError, match=r"^refused ") as told:
        zoo_hub.fetch(weights)
    assert str(told.value).isprintable()
    assert not snapshot(weights, NAME).exists()
    return told.value


def files_below(folder) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "commit", ["../../../../evil", "main", "0" * 39, "0" * 40 + "\x1b[31m", "G" * 40, "0" * 40]
)
def test_a_commit_that_is_not_the_pinned_one_in_plain_hex_is_refused(hub, waits, tmp_path, commit):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    hub.fault(NAME, Fault(headers={"X-Repo-Commit": commit}))
    refused(weights)
    assert hub.gets(NAME) == 0
    assert "evil" not in {path.name for path in tmp_path.rglob("*")}


@pytest.mark.parametrize("header", ["ETag", "X-Linked-Etag", "X-Xet-Hash"])
@pytest.mark.parametrize(
    "value", ['"../../../evil"', '"a/b"', '"abc"', "W/\\..\\evil", '"\x1b]0;evil\x07"', "f" * 500]
)
def test_an_etag_that_is_not_plain_hex_is_refused(hub, waits, tmp_path, header, value):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    headers = {header: value} if header != "ETag" else {"ETag": value, "X-Linked-Etag": None}
    hub.fault(NAME, Fault(headers=headers))
    refused(weights)
    assert hub.gets(NAME) == 0
    assert "evil" not in str(sorted(tmp_path.rglob("*")))


@pytest.mark.parametrize("location", [None, "http://127.0.0.1:9/elsewhere"])
def test_the_etag_of_a_redirect_becomes_no_path(hub, waits, tmp_path, location):
    commit = hub.add_repo("user/name", FILES)
    headers = {"X-Repo-Commit": commit, "ETag": '"../../../evil"', "Location": location}
    hub.fault(NAME, Fault(status=302, headers=headers))
    with pytest.raises(HubError):
        zoo_hub.fetch(pinned("user/name", commit, FILES))
    assert "evil" not in str(sorted(tmp_path.rglob("*")))
    assert hub.gets(NAME) == 0


@pytest.mark.parametrize("form", ['W/"{}"', '"{}"', "{}"])
def test_the_usual_forms_of_an_etag_are_accepted(hub, waits, form):
    weights = unpinned("user/name", hub.add_repo("user/name", FILES), "config.json")
    etag = form.format(hub.hashes(FILES["config.json"])[1])
    hub.fault("config.json", Fault(headers={"ETag": etag}))
    assert zoo_hub.fetch(weights)["config.json"].read_bytes() == b"{}"


def test_a_redirect_within_the_hub_may_have_an_etag_of_its_own(hub, waits):
    commit = hub.add_repo("user/name", FILES)
    hub.add_repo("user/renamed", FILES)
    hub.fault(
        "/user/name/",
        Fault(
            status=307,
            headers={
                "Location": f"/user/renamed/resolve/{commit}/config.json",
                "X-Repo-Commit": commit,
                "ETag": 'W/"58-text"',
            },
        ),
    )
    weights = unpinned("user/name", commit, "config.json")
    assert zoo_hub.fetch(weights)["config.json"].read_bytes() == b"{}"


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_file_name_in_a_listing_is_refused(hub, waits, tmp_path, name):
    hub.add_repo("user/name", FILES)
    hub.extra_entries = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40}]
    with pytest.raises(HubError, match=r"^refused the file name .* of user/name: it ") as told:
        zoo_hub.listing("user/name")
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 200
    assert files_below(tmp_path) <= {"main"}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_file_name_in_a_registry_file_is_refused(hub, name):
    with pytest.raises(HubError, match="refused the file name"):
        zoo_hub.fetch(unpinned("user/name", "0" * 40, name))
    assert hub.requests == []


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "file", "size": 1},
        {"type": "file", "path": 7, "size": 1},
        {"type": "file", "path": "a", "size": -1},
        {"type": "file", "path": "a", "size": "1"},
        {"type": "file", "path": "a", "size": 1, "lfs": {"oid": "../evil"}},
        {"type": "file", "path": "a", "size": 1, "lfs": []},
        {"type": "file", "path": "config.json", "size": 1},
    ],
)
def test_a_malformed_listing_is_refused(hub, waits, entry):
    hub.add_repo("user/name", FILES)
    hub.extra_entries = [entry]
    with pytest.raises(HubError, match=r"^refused the listing of user/name: "):
        zoo_hub.listing("user/name")


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"\xff", b"{}"])
def test_an_answer_that_is_no_listing_is_said_so(hub, waits, body):
    hub.add_repo("user/name", FILES)
    hub.fault("/tree/", Fault(change=lambda _: body))
    with pytest.raises(HubError, match=r"is not JSON; is HF_ENDPOINT a Hub|is no list"):
        zoo_hub.listing("user/name")


def test_an_endless_answer_is_cut_off(hub, waits, monkeypatch):
    monkeypatch.setattr("zoo.weights.listing._MOST_BYTES", 1000)
    hub.add_repo("user/name", FILES)
    hub.fault("/tree/", Fault(change=lambda _: b" " * 5000))
    with pytest.raises(HubError, match="is larger than 1000 bytes"):
        zoo_hub.listing("user/name")


def test_a_listing_without_an_end_is_cut_off(hub, waits, monkeypatch):
    monkeypatch.setattr("zoo.weights.listing._MOST_FILES", 3)
    hub.add_repo("user/name", {f"{number}.json": b"{}" for number in range(9)})
    hub.page = 2
    with pytest.raises(HubError, match="has more than 3 files"):
        zoo_hub.listing("user/name")


def test_the_next_page_of_a_listing_is_asked_of_no_other_host(hub, waits, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.add_repo("user/name", FILES)
    with LoopbackHub() as elsewhere:
        link = f'<{elsewhere.endpoint}/api/models/user/name/tree/main>; rel="next"'
        hub.fault("/tree/", Fault(headers={"Link": link}))
        with pytest.raises(
            HubError, match=r"^refused the listing of user/name: its next page is on another host"
        ):
            zoo_hub.listing("user/name")
        assert elsewhere.requests == []


@pytest.mark.parametrize("sha", ["../evil", "", None, "main"])
def test_a_revision_that_resolves_to_no_commit_is_refused(hub, waits, sha):
    hub.add_repo("user/name", FILES)
    hub.fault("/revision/", Fault(change=lambda _: json.dumps({"sha": sha}).encode()))
    with pytest.raises(HubError, match=r"^refused revision main of user/name"):
        zoo_hub.listing("user/name")
    assert not (paths.hub_cache() / "models--user--name" / "refs").exists()


@pytest.mark.parametrize("revision", ["../evil", "a\x1b[0m", "a//b", "-\\x", "x" * 300])
def test_a_hostile_revision_is_a_usage_error(hub, revision):
    with pytest.raises(UsageError, match="is not a revision") as told:
        zoo_hub.listing("user/name", revision)
    assert str(told.value).isprintable()
    assert hub.requests == []


@pytest.mark.parametrize(
    "repo",
    [
        "",
        "a/b/c",
        "../a",
        "a/..",
        "a--b/c",
        "a/b.git",
        "a b/c",
        "a/b\n",
        "-a/b",
        "a/b-",
        "a./b",
        "é/b",
        "x" * 200,
    ],
)
def test_what_is_no_repo_name_is_a_usage_error(hub, repo):
    with pytest.raises(UsageError, match="is not a Hub repo"):
        zoo_hub.listing(repo)
    assert hub.requests == []


MESSAGE = "no \x1b[2J\x1b]0;owned\x07 entry \u202e here " + "x" * 5000


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 500])
def test_escape_sequences_in_a_message_of_the_server_are_stripped(hub, waits, capfd, status):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    message = MESSAGE.encode().decode("latin-1")
    hub.fault("name/resolve", Fault(status=status, headers={"X-Error-Message": message}))
    with pytest.raises(HubError) as told:
        zoo_hub.fetch(weights)
    shown = f"{told.value}{told.value.hint}"
    assert shown.isprintable()
    assert len(shown) < 450
    assert "entry" in shown
    assert capfd.readouterr() == ("", "")


def test_a_warning_of_the_server_is_not_shown(hub, waits, capfd, caplog):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    hub.fault("/resolve/", Fault(headers={"X-HF-Warning": "topic; \x1b[2Jupgrade now"}))
    with caplog.at_level("WARNING", logger="huggingface_hub"):
        zoo_hub.fetch(weights)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes x-y/z"},
        {"Location": "http://[", "X-Linked-Etag": None},
        {"Content-Encoding": "gzip"},
        {"Retry-After": "soon"},
        {"X-Linked-Size": "many"},
        {"Link": "<<<>>>; rel=;;;"},
    ],
)
@pytest.mark.parametrize("status", [0, 302, 429])
def test_nonsense_in_a_header_is_a_hub_error_or_nothing(hub, waits, headers, status):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    hub.fault(NAME, Fault(status=status, headers=headers))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told: HubError | None = None
        try:
            zoo_hub.fetch(weights)
        except HubError as error:
            told = error
    assert (told is None) == snapshot(weights, NAME).exists()
    if told is None:
        assert snapshot(weights, NAME).read_bytes() == FILES[NAME]
    else:
        assert str(told).isprintable()


def test_a_redirect_without_end_is_said_so(hub, waits):
    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    hub.fault(
        "/resolve/", Fault(status=307, headers={"Location": f"{hub.endpoint}/user/name/resolve/main/{NAME}"})
    )
    with pytest.raises(HubError, match=r"could not get .*: Exceeded"):
        zoo_hub.fetch(weights)
    assert len(hub.requests) < 50


def test_other_users_of_the_client_are_left_alone(hub, waits):
    import huggingface_hub

    weights = pinned("user/name", hub.add_repo("user/name", FILES), FILES)
    zoo_hub.fetch(weights)
    hub.fault("config.json", Fault(headers={"ETag": '"an-etag-of-another-kind"'}))
    hub.requests.clear()
    address = huggingface_hub.hf_hub_url("user/name", "config.json", endpoint=hub.endpoint)
    assert huggingface_hub.get_hf_file_metadata(address).etag == "an-etag-of-another-kind"
