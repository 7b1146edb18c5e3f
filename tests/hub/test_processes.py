"""Downloads by real processes: killed and run again, two at once, beside another program, on a full disk."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hub.fixtures import pinned, snapshot
from hub.loopback import Fault
from zoo.weights import hub as zoo_hub
from zoo.weights import layout, records

NAME = "model.safetensors"
STEP = 10 * 1024 * 1024  # the client writes in steps of this many bytes
BODY = os.urandom(STEP + 6_000_000)

FETCH = """
import json, signal, sys
from zoo.errors import ZooError
from zoo.registry.entry import File, Weights
from zoo.weights import hub

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a shell's background job
said = json.loads(sys.argv[1])
weights = Weights("original", repo=said["repo"], revision=said["revision"], files=(File(**said["file"]),))
try:
    [path] = hub.fetch(weights).values()
except ZooError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(path, "huggingface_hub" in sys.modules)
"""
OTHER_PROGRAM = """
import json, sys
import huggingface_hub

said = json.loads(sys.argv[1])
huggingface_hub.hf_hub_download(said["repo"], said["file"]["name"], revision=said["revision"])
"""


@pytest.fixture
def weights(hub):
    """The weights of a file that takes a while to arrive."""
    hub.fault(NAME, Fault(pause=0.05, methods=("GET",)))
    return pinned("user/name", hub.add_repo("user/name", {NAME: BODY}), {NAME: BODY})


def start(weights, code=FETCH, **options) -> subprocess.Popen[str]:
    [file] = weights.files
    said = {"repo": weights.repo, "revision": weights.revision, "file": vars(file)}
    command = [sys.executable, "-W", "error", "-c", code, json.dumps(said)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_for_first_step(process: subprocess.Popen[str]) -> None:
    folder = layout.repo_folder("user/name")
    limit = time.monotonic() + 30
    while not any(path.stat().st_size >= STEP for path in layout.incomplete_files(folder)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_download_that_is_killed_is_resumed_by_the_next(hub, weights, by):
    process = start(weights)
    wait_for_first_step(process)
    process.send_signal(by)
    process.communicate(timeout=30)
    assert not snapshot(weights, NAME).exists()
    hub.requests.clear()
    out, err = start(weights).communicate(timeout=60)
    assert err == ""
    assert Path(out.split()[0]).read_bytes() == BODY
    [get] = [seen for seen in hub.requests if seen.method == "GET"]
    assert get.headers["range"] == f"bytes={STEP}-"
    assert layout.incomplete_files(layout.repo_folder("user/name")) == []


def test_two_processes_at_once_download_once_and_both_succeed(hub, weights):
    processes = [start(weights) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert err == ""
        assert Path(out.split()[0]).read_bytes() == BODY
    assert hub.gets(NAME) == 1


def test_two_processes_at_once_quarantine_wrong_bytes_once_and_both_succeed(hub, weights):
    hub.heal()
    hub.fault(NAME, Fault(change=lambda body: bytes(len(body)), pause=0.02, methods=("GET",)), times=1)
    processes = [start(weights) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert err == ""
        assert Path(out.split()[0]).read_bytes() == BODY
    assert hub.gets(NAME) == 2
    assert [path.read_bytes() for path in records.quarantined()] == [bytes(len(BODY))]


def test_what_another_program_is_downloading_is_waited_for_and_checked(hub, weights):
    other = start(weights, OTHER_PROGRAM)
    wait_for_first_step(other)
    [path] = layout.incomplete_files(layout.repo_folder("user/name"))
    assert layout.being_downloaded(path)
    out, err = start(weights).communicate(timeout=60)
    assert (other.wait(timeout=30), err) == (0, "")
    other.communicate()
    assert Path(out.split()[0]).read_bytes() == BODY
    assert hub.gets(NAME) == 1


def test_a_process_that_finds_all_in_the_cache_does_not_import_the_client(hub, weights):
    hub.heal()
    zoo_hub.fetch(weights)
    hub.requests.clear()
    out, err = start(weights).communicate(timeout=60)
    assert (out.split()[1], err) == ("False", "")
    assert hub.requests == []


def test_a_file_larger_than_the_disk_lets_be_leaves_nothing_to_be_used(hub, weights):
    hub.heal()

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))

    process = start(weights, preexec_fn=little_room)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("DiskSpaceError: the disk is full")
    assert err.count("\n") == 1
    assert not snapshot(weights, NAME).exists()
    assert zoo_hub.fetch(weights)[NAME].read_bytes() == BODY


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=500), "HubError: the Hub answered 500 to 3 requests in a row"),
        (
            Fault(status=429, headers={"Retry-After": "86400"}),
            "HubError: the Hub answered 429 and asks to wait",
        ),
        (Fault(change=lambda body: body[:-1], methods=("GET",)), "IntegrityError: "),
    ],
)
def test_a_failure_is_one_line_and_the_client_adds_nothing(hub, fault, said):
    weights = pinned("user/name", hub.add_repo("user/name", {NAME: b"1234"}), {NAME: b"1234"})
    hub.fault(NAME, fault)
    process = start(weights)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_a_download_that_goes_on_after_a_cut_shows_nothing_of_it(hub):
    weights = pinned("user/name", hub.add_repo("user/name", {NAME: b"1234"}), {NAME: b"1234"})
    hub.fault(NAME, Fault(cut_after=1, methods=("GET",)), times=1)
    out, err = start(weights).communicate(timeout=60)
    assert Path(out.split()[0]).read_bytes() == b"1234"
    assert err == ""
    assert hub.gets(NAME) == 2
