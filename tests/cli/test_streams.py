"""Closed and full streams: no traceback, the command's own exit code; what strangers print is kept apart."""

import json
import os
import subprocess
import sys

import pytest

ZOO = f"{sys.executable} -m zoo_cli"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("list >&-", 0),
        ("list 2>&-", 0),
        ("list <&- >&- 2>&-", 0),
        ("info nosuch 2>&-", 1),
        ("info nosuch >&-", 1),
        ("--help >&-", 0),
        ("list 2>/dev/full", 0),
        ("info nosuch 2>/dev/full", 1),
    ],
)
def test_a_closed_stream_counts_as_dev_null(line, code):
    ran = shell(f"{ZOO} {line}")
    assert ran.returncode == code
    assert "Traceback" not in ran.stderr


def test_output_that_cannot_be_written_is_a_failure_in_words():
    full = (
        "error: standard output: No space left on device\nhint: make room, or name a place on another disk\n"
    )
    ran = shell(f"{ZOO} list > /dev/full")
    assert (ran.returncode, ran.stderr) == (1, full)
    ran = shell(f"{ZOO} --help > /dev/full")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[0].endswith(": No space left on device")


APART = """
import ctypes, os, subprocess, sys
from zoo_cli import streams, terminal
streams.prepare()
with streams.apart():
    print("python")
    os.write(1, b"descriptor\\n")
    subprocess.run(["echo", "child"])
    ctypes.CDLL(None).puts(b"C")
    ctypes.CDLL(None).fflush(None)
    terminal.out_json({"result": 1})
    with streams.together():
        subprocess.run(["echo", "ours"])
print("after")
"""


def test_what_is_printed_below_python_too_never_mixes_with_results():
    ran = subprocess.run([sys.executable, "-c", APART], capture_output=True, text=True, check=True)
    assert ran.stdout == '{"result": 1}\nours\nafter\n'
    assert sorted(ran.stderr.split()) == ["C", "child", "descriptor", "python"]


def test_what_a_model_prints_while_it_samples_is_not_in_the_json(zoo, scripted):
    def said(_index: int) -> str:
        print("from the model")
        return "hello"

    scripted(said)
    ran = zoo("sample", "gpt2", "--json", "--seed", "1")
    assert json.loads(ran.out)["text"] == "hello"
    assert "from the model" in ran.err


@pytest.mark.parametrize("name", ["a.jsonl", "folder"])
def test_a_full_disk_names_the_file_and_what_to_do_and_leaves_no_part(
    zoo, scripted, tmp_path, monkeypatch, name
):
    scripted("hello")

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / name
    ran = zoo("sample", "gpt2", "--seed", "1", "-o", str(path))
    assert (ran.code, ran.err.splitlines()[-2:]) == (
        1,
        [f"error: {path}: No space left on device", "hint: make room, or name a place on another disk"],
    )
    assert list((tmp_path / "out").iterdir()) == []
