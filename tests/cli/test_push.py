"""zoo push on a terminal and in a pipe: licences, questions, what is said, and the line that pushes again."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cli.json_shapes import documented, shape
from hub.fixtures import hub, waits
from hub.loopback import Fault
from publish.conftest import LICENCES, TOKEN, run, writable
from zoo_cli import human

__all__ = ["hub", "run", "waits", "writable"]

pytestmark = pytest.mark.usefixtures("one_thread")

LICENSED = [word for part, licence in LICENCES.items() for word in (f"--licence-{part}", licence)]
SENT = [*LICENSED, "--yes"]
ZOO = [sys.executable, "-W", "error", "-c", "import sys; from zoo_cli.main import main; sys.exit(main())"]


def test_in_a_pipe_one_line_says_where_it_is(zoo, writable, run):
    ran = zoo("push", str(run), "user/verse", *SENT, "--quiet")
    commit = writable.head("user/verse")
    assert ran.out == f"hf:user/verse@{commit}\t{writable.endpoint}/user/verse/tree/{commit}\n"
    assert (ran.code, ran.err) == (0, "")


def test_a_pushed_run_is_sampled_shown_and_pulled_like_another_repo(zoo, writable, run):
    zoo("push", str(run), "user/verse", *SENT)
    words = ("--prompt", "ROMEO:", "--seed", "3", "--max-tokens", "6", "--json")
    here, there = zoo("sample", str(run), *words), zoo("sample", "hf:user/verse", *words)
    assert (there.code, there.out) == (0, here.out)
    card = json.loads(zoo("info", "hf:user/verse", "--json").out)
    assert (card["family"], card["plugin"], card["config"]["layers"]) == ("gpt2", "zoo-gpt", 2)
    pulled = zoo("pull", "hf:user/verse")
    names = {line.split("\t")[0] for line in pulled.out.splitlines()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json"}


def test_json_has_the_documented_shapes(zoo, writable, run, tmp_path):
    said = json.loads(zoo("push", str(run), "user/verse", *SENT, "--json").out)
    assert shape(said) == documented("zoo push RUN USER/REPO --json")
    assert said["commit"] == writable.head("user/verse")
    entry = yaml.safe_load(said["registry"])["models"][0]
    assert entry["weights"]["revision"] == said["commit"]
    dry = ("push", str(run), "user/verse", *LICENSED, "--dry-run", "-o", str(tmp_path / "out"), "--json")
    written = json.loads(zoo(*dry).out)
    assert shape(written) == documented("zoo push RUN USER/REPO --dry-run --json")
    assert written["files"] == said["files"]


def test_a_dry_run_writes_the_folder_and_asks_nobody(zoo, hub, run, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    ran = zoo("push", str(run), "user/verse", *LICENSED, "--dry-run", "-o", str(tmp_path / "out"))
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'out'}\n")
    assert (tmp_path / "out" / "README.md").read_text().startswith("---\nlicense: mit\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = Path(zoo("push", str(run), "user/verse", *LICENSED, "--dry-run").out.strip())
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "out").iterdir()}
    assert zoo("push", str(run), "user/verse", *LICENSED, "-o", str(tmp_path / "b")).code == 2
    assert hub.requests == []


def test_in_a_pipe_all_missing_licences_are_named_and_nothing_is_asked(zoo, writable, run):
    ran = zoo("push", str(run), "user/verse", "--licence-code", "MIT")
    assert (ran.code, ran.out) == (2, "")
    assert "the licences of weights and data are missing" in ran.err
    assert "--licence-weights SPDX, --licence-data SPDX" in ran.err
    assert zoo("push", str(run), "user/verse", "--licence-weights", "Apache2").code == 2
    assert writable.requests == []


def test_on_a_terminal_missing_licences_are_asked_for(zoo, writable, run):
    ran = zoo(
        "push",
        str(run),
        "user/verse",
        "--licence-code",
        "MIT",
        terminal=True,
        stdin="mine\n\nmit\nunknown\ny\n",
    )
    assert ran.code == 0
    assert ran.err.count("licence of the weights (SPDX") == 3
    assert "'mine' is not an SPDX licence" in ran.err
    entry = yaml.safe_load(writable.files("user/verse")["registry.yaml"])["models"][0]
    assert entry["licences"] == {"code": "MIT", "weights": "MIT", "data": "unknown"}
    assert f"revision: {writable.head('user/verse')}\n" in ran.out


def test_who_answers_nothing_pushes_nothing(zoo, writable, run):
    ran = zoo("push", str(run), "user/verse", terminal=True, stdin="")
    assert ran.code == 2
    assert ran.err.count("(SPDX") == 1
    assert writable.requests == []


def test_what_is_replaced_is_named_and_needs_a_yes(zoo, writable, run):
    before = writable.add_repo("user/verse", {"README.md": b"Mine.", "old.bin": b"0"})
    words = ("push", str(run), "user/verse", *LICENSED)
    ran = zoo(*words)
    assert (ran.code, writable.head("user/verse")) == (2, before)
    assert "this push replaces README.md and removes old.bin\nhint: add --yes" in ran.err
    ran = zoo(*words, terminal=True, stdin="n\n")
    assert "this push replaces README.md and removes old.bin. Go on? [y/N]" in ran.err
    assert (ran.code, writable.head("user/verse")) == (1, before)
    assert zoo(*words, terminal=True, stdin="y\n").code == 0
    assert "old.bin" not in writable.files("user/verse")
    writable.add_repo("user/verse", {"old.bin": b"0"})
    assert zoo(*words, "--yes").code == 0


def listed(err):
    """The files that a push shows before it asks, with their sizes as bytes."""
    return {name: size for size, name in re.findall(r"^ *(\d.*?B)  (\S+)$", err, re.MULTILINE)}


def test_before_the_first_upload_all_files_are_listed_with_their_sizes_and_need_a_yes(
    zoo, writable, run, monkeypatch
):
    monkeypatch.setenv("NO_COLOR", "1")
    ran = zoo("push", str(run), "user/verse", *LICENSED)
    assert (ran.code, ran.out) == (2, "")
    assert "error: this needs a yes, and there is no terminal to ask on\nhint: add --yes" in ran.err
    dry = zoo("push", str(run), "user/verse", *LICENSED, "--dry-run")
    folder = Path(dry.out.strip())
    assert (
        listed(ran.err)
        == listed(dry.err)
        == {path.name: human.size(path.stat().st_size) for path in folder.iterdir()}
    )
    ran = zoo("push", str(run), "user/verse", *LICENSED, terminal=True, stdin="n\n")
    assert (ran.code, ran.out) == (1, "")
    assert "to user/verse? [y/N] nothing was sent" in ran.err
    assert not writable.head("user/verse")
    ran = zoo("push", str(run), "user/verse", *LICENSED, "--quiet", terminal=True, stdin="y\n")
    assert (ran.code, listed(ran.err)) == (0, listed(dry.err))
    assert zoo("push", str(run), "user/verse", *LICENSED).code == 0  # nothing new: nobody is asked


def test_what_a_card_recipe_and_header_say_of_the_data_is_said(zoo, run):
    ran = zoo("push", str(run), "user/verse", *LICENSED, "--dry-run")
    assert (
        "'works', the name of the data, is in its card, its recipe and the header of its weights" in ran.err
    )


def test_a_failed_push_says_the_line_that_pushes_again(zoo, writable, run):
    writable.fault("/commit/", Fault(status=403, headers={"X-Error-Message": "no"}, methods=("POST",)))
    given = ("push", str(run), "user/verse", *SENT, "--private", "--message", "It's here")
    ran = zoo(*given)
    assert (ran.code, ran.out) == (1, "")
    assert "may not write to user/verse: no; nothing of it is in user/verse" in ran.err
    again = shlex.split(ran.err.partition("run again: ")[2])
    assert again[:4] == ["zoo", "push", str(run), "user/verse"]
    writable.heal()
    assert zoo(*again[1:]).code == 0
    assert writable.is_private("user/verse")


def test_without_a_token_it_says_how_to_log_in(zoo, hub, run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    ran = zoo("push", str(run), "user/verse", *LICENSED)
    assert ran.code == 1
    assert "hf auth login" in ran.err
    assert "HF_TOKEN" in ran.err
    assert hub.requests == []


def test_quiet_says_only_the_result(zoo, writable, run):
    ran = zoo("push", str(run), "user/verse", *SENT, "--quiet", terminal=True)
    assert (ran.code, ran.err) == (0, "")


def test_in_a_real_terminal_it_asks_and_shows_no_token(writable, run):
    command = [*ZOO, "push", str(run), "user/verse", "--licence-data", "CC0-1.0", "--licence-code", "MIT"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, b"MIT\ny\n")
        shown = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other end was closed
                break
    os.close(ours)
    assert process.returncode == 0, shown
    assert b"licence of the weights (SPDX" in shown
    assert b"revision: " + writable.head("user/verse").encode() in shown
    assert TOKEN.encode() not in shown
