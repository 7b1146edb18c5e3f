"""zoo pull and zoo cache against a loopback Hub: what arrives, what is said, and every fault's exit code."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import entry
from cli.json_shapes import documented, shape
from hub.fixtures import hub, pinned, waits
from hub.loopback import Fault
from zoo.registry.entry import File, Weights
from zoo.weights import layout, records

__all__ = ["hub", "waits"]

TINY = {"vocabulary": 259, "context": 64, "layers": 2, "width": 16, "heads": 2}
ZOO = [sys.executable, "-W", "error", "-c", "import sys; from zoo_cli.main import main; sys.exit(main())"]


@pytest.fixture
def files(tiny_gpt2):
    """The files of the tiny model, as bytes by name."""
    return {path.name: path.read_bytes() for path in tiny_gpt2.iterdir()}


@pytest.fixture
def pins(hub, waits, files, registry):
    """The weights of the registered model `tiny`, pinned to a repo of the loopback Hub."""
    weights = pinned("user/tiny", hub.add_repo("user/tiny", files), files)
    registry(entry(plugin="zoo-gpt", config=TINY, weights=weights))
    return weights


def test_pull_downloads_checks_and_says_where(zoo, hub, pins, files):
    ran = zoo("pull", "tiny")
    assert (ran.code, ran.err) == (0, "")
    found = {
        name: Path(path).read_bytes() for name, path in (line.split("\t") for line in ran.out.splitlines())
    }
    assert found == files
    hub.requests.clear()
    assert zoo("pull", "tiny") == ran
    assert hub.requests == []


def test_json_has_the_documented_shape(zoo, pins, files, tmp_path):
    said = json.loads(zoo("pull", "tiny", "--json").out)
    assert shape(said) == documented("zoo pull MODEL --json")
    snapshot = tmp_path / "hf" / "hub" / "models--user--tiny" / "snapshots" / pins.revision
    assert said == {
        "model": "tiny",
        "revision": pins.revision,
        "files": [{"name": n, "path": str(snapshot / n), "bytes": len(files[n])} for n in files],
    }


def test_a_person_reads_one_line_and_sees_bars(zoo, pins):
    ran = zoo("pull", "tiny", terminal=True)
    assert ran.out.startswith("tiny: 2 files, ")
    assert "model.safetensors" in ran.err
    assert "model.safetensors" not in zoo("pull", "tiny", "--quiet", terminal=True).err


def test_a_dry_run_downloads_nothing_and_shows_sizes_and_room(zoo, hub, pins, files):
    said = json.loads(zoo("pull", "tiny", "--dry-run", "--json").out)
    assert shape(said) == documented("zoo pull MODEL --dry-run --json")
    assert said["files"] == [{"name": n, "bytes": len(files[n]), "cached": False} for n in files]
    assert said["download"] == sum(map(len, files.values()))
    assert said["free"] > 0
    assert hub.requests == []
    zoo("pull", "tiny")
    ran = zoo("pull", "tiny", "--dry-run")
    assert "here already" in ran.out
    assert "0 B to download, " in ran.out


def test_a_dry_run_warns_of_too_small_a_disk(zoo, pins, monkeypatch):
    monkeypatch.setattr(layout, "free_bytes", lambda folder: 10)
    assert "the disk is too small" in zoo("pull", "tiny", "--dry-run").err


def test_another_revision_is_resolved_and_locked(zoo, hub, pins, files):
    other = hub.add_repo("user/tiny", {**files, "config.json": b"{}"}, revision="v2")
    said = json.loads(zoo("pull", "tiny", "--revision", "v2", "--json").out)
    assert said["revision"] == other
    assert records.locked_hashes()[records.key("user/tiny", other, "config.json")]


def test_another_cache_may_be_named(zoo, pins, tmp_path):
    ran = zoo("pull", "tiny", "--cache-dir", str(tmp_path / "elsewhere"))
    assert str(tmp_path / "elsewhere" / "models--user--tiny") in ran.out


def test_a_pulled_model_samples_offline_without_a_request(zoo, hub, pins, tiny_gpt2):
    zoo("pull", "tiny")
    hub.requests.clear()
    words = ["--prompt", "A", "--seed", "1", "--max-tokens", "8", "--json"]
    offline = zoo("sample", "tiny", *words, "--offline")
    assert offline.code == 0, offline.err
    assert hub.requests == []
    assert offline.out == zoo("sample", str(tiny_gpt2), *words).out


def test_a_hub_repo_samples_by_its_own_config(zoo, hub, waits, hub_gpt2):
    repo = {path.name: path.read_bytes() for path in hub_gpt2.iterdir()}
    commit = hub.add_repo("user/fine-tune", repo)
    words = ["--prompt", "A", "--seed", "1", "--max-tokens", "8", "--json"]
    ran = zoo("sample", "hf:user/fine-tune", *words)
    assert ran.code == 0, ran.err
    assert ran.out == zoo("sample", f"hf:user/fine-tune@{commit}", *words, "--offline").out
    assert ran.out == zoo("sample", str(hub_gpt2), *words).out
    assert zoo("sample", "hf:user/fine-tune", "--help").out.count("--temperature") == 1


@pytest.fixture(scope="session")
def hub_gpt2(tmp_path_factory):
    """A GPT-2 as transformers saves it for the Hub."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from conftest import byte_tokenizer

    folder = tmp_path_factory.mktemp("hub-gpt2")
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=259, n_positions=64, n_embd=16, n_layer=2, n_head=2, eos_token_id=256)
    GPT2LMHeadModel(config).save_pretrained(folder)
    byte_tokenizer(folder / "tokenizer.json", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return folder


def flip(body):
    return body[:-1] + bytes([body[-1] ^ 1])


BY_GET = {"methods": ("GET",)}
FAULTS = {
    "bit flip": (Fault(change=flip, **BY_GET), "expected", "nothing wrong was used"),
    "short body": (
        Fault(change=lambda body: body[:1000], **BY_GET),
        "bytes, got 1000",
        "nothing wrong was used",
    ),
    "401": (Fault(status=401), "the Hub answered 401: user/tiny is private", "log in: `hf auth login`"),
    "403": (
        Fault(status=403, headers={"X-Error-Code": "GatedRepo"}),
        "the Hub answered 403: user/tiny is gated",
        "accept the terms",
    ),
    "404 repo": (
        Fault(status=404, headers={"X-Error-Code": "RepoNotFound"}),
        "the Hub answered 404: there is no repo user/tiny, or it is private",
        "check its name",
    ),
    "404 revision": (
        Fault(status=404, headers={"X-Error-Code": "RevisionNotFound"}),
        "the Hub answered 404: user/tiny has no revision ",
        "",
    ),
    "429": (
        Fault(status=429, headers={"Retry-After": "86400"}),
        "the Hub answered 429 and asks to wait 86400 s; the zoo waits at most 60 s in all",
        "try again later",
    ),
    "500": (
        Fault(status=500),
        "the Hub answered 500 to 3 requests in a row for model.safetensors of user/tiny@",
        "try again later",
    ),
    "hostile commit": (
        Fault(headers={"X-Repo-Commit": "../../etc"}),
        "the Hub calls its commit '../../etc', not 40 hex digits",
        "",
    ),
    "hostile etag": (
        Fault(headers={"ETag": '"../../x"', "X-Linked-Etag": '"../../x"'}),
        """its ETag is '"../../x"', not 40 or 64 hex digits""",
        "",
    ),
    "escape in a message": (
        Fault(status=418, headers={"X-Error-Message": "a\x1b[2Jb"}),
        "the Hub answered 418 for model.safetensors of user/tiny@",
        "",
    ),
}


@pytest.mark.parametrize("command", ["pull", "sample"])
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_line_exit_code_1_and_nothing_is_used(zoo, hub, pins, fault, command):
    given, said, hint = FAULTS[fault]
    hub.fault("model.safetensors", given)
    ran = zoo(command, "tiny", "--quiet")
    assert ran.code == 1
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert lines[0].startswith("error: ")
    assert said in lines[0]
    assert len(lines) == (2 if hint else 1)
    assert hint == "" or lines[1].startswith(f"hint: {hint}")
    assert "Traceback" not in ran.err
    assert "\x1b" not in ran.err
    assert not layout.snapshot_file("user/tiny", pins.revision, "model.safetensors").exists()


def test_a_wrong_pin_says_expected_and_actual(zoo, hub, pins, registry, files):
    wrong = tuple(File(file.name, sha256="0" * 64, bytes=file.bytes) for file in pins.files)
    registry(entry(plugin="zoo-gpt", weights=Weights("original", "user/tiny", pins.revision, files=wrong)))
    ran = zoo("pull", "tiny")
    assert ran.code == 1
    assert "0" * 64 in ran.err
    assert (
        hub.hashes(files["model.safetensors"])[0] in ran.err
        or hub.hashes(files["tokenizer.json"])[0] in ran.err
    )


def test_too_small_a_disk_is_found_before_the_first_byte(zoo, hub, pins, monkeypatch):
    monkeypatch.setattr(layout, "free_bytes", lambda folder: 1000)
    ran = zoo("pull", "tiny")
    assert ran.code == 1
    assert "1,000 are free" in ran.err
    assert not any(seen.method == "GET" for seen in hub.requests)


def test_offline_without_the_files_asks_for_nothing_and_says_pull(zoo, hub, pins):
    for words in (["sample", "tiny", "--offline"], ["pull", "tiny", "--offline"]):
        ran = zoo(*words)
        assert ran.code == 1
        assert "hint: with the network, run `zoo pull tiny`" in ran.err
    assert hub.requests == []


def test_a_cut_connection_is_resumed(zoo, hub, pins):
    hub.fault("model.safetensors", Fault(cut_after=100, **BY_GET), times=1)
    assert zoo("pull", "tiny").code == 0


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_leaves_nothing_to_be_used_and_runs_again(hub, by):
    body = os.urandom(15_000_000)
    commit = hub.add_repo("user/big", {"model.safetensors": body, "config.json": b'{"model_type": "gpt2"}'})
    hub.fault("model.safetensors", Fault(pause=0.1, **BY_GET))
    command = [*ZOO, "pull", f"hf:user/big@{commit}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not hub.gets("model.safetensors"):
        assert process.poll() is None, process.communicate()
    process.send_signal(by)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if by == signal.SIGINT else -by)
    assert "Traceback" not in err
    assert not layout.snapshot_file("user/big", commit, "model.safetensors").exists()
    hub.heal()
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, again.stderr) == (0, "")
    assert layout.snapshot_file("user/big", commit, "model.safetensors").read_bytes() == body


def test_two_processes_at_once_download_once(hub):
    files = {"model.safetensors": os.urandom(3_000_000), "config.json": b'{"model_type": "gpt2"}'}
    commit = hub.add_repo("user/big", files)
    hub.fault("model.safetensors", Fault(pause=0.3, **BY_GET))
    command = [*ZOO, "pull", f"hf:user/big@{commit}"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in both:
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    assert hub.gets("model.safetensors") == 1


class TestCache:
    def test_list_shows_what_is_there(self, zoo, pins, files):
        assert json.loads(zoo("cache", "list", "--json").out) == []
        zoo("pull", "tiny")
        [repo] = found = json.loads(zoo("cache", "list", "--json").out)
        assert shape(found) == documented("zoo cache list --json")
        size = sum(map(len, files.values()))
        assert repo.pop("last_used") > 0
        assert repo == {
            "repo": "user/tiny", "revisions": [pins.revision], "files": 2, "bytes": size,
            "interrupted": 0, "quarantined": 0,
        }  # fmt: skip
        assert zoo("cache", "list").out == f"user/tiny\t{size}\t2\t0\t0\t{pins.revision}\n"
        assert "user/tiny" in zoo("cache", "list", terminal=True).out

    def test_verify_finds_a_flipped_bit_offline(self, zoo, hub, pins):
        zoo("pull", "tiny")
        hub.requests.clear()
        ran = zoo("cache", "verify")
        assert (ran.code, ran.err) == (0, "2 files checked, 0 wrong\n")
        blob = layout.snapshot_file("user/tiny", pins.revision, "model.safetensors").resolve()
        blob.write_bytes(flip(blob.read_bytes()))
        ran = zoo("cache", "verify", "--json")
        assert ran.code == 1
        assert shape(json.loads(ran.out)) == documented("zoo cache verify --json")
        wrong = [file for file in json.loads(ran.out) if file["problem"]]
        assert [file["file"] for file in wrong] == ["model.safetensors"]
        assert "expected" in wrong[0]["problem"]
        assert hub.requests == []

    def test_rm_asks_and_then_removes(self, zoo, pins):
        zoo("pull", "tiny")
        assert zoo("cache", "rm", "tiny").code == 2
        assert zoo("cache", "rm", "tiny", terminal=True, stdin="n\n").err.endswith(
            "nothing was removed\x1b[0m\n"
        )
        assert len(json.loads(zoo("cache", "list", "--json").out)) == 1
        ran = zoo("cache", "rm", "tiny", terminal=True, stdin="y\n")
        assert (ran.code, "freed" in ran.out) == (0, True)
        assert json.loads(zoo("cache", "list", "--json").out) == []

    def test_rm_of_a_revision_keeps_the_others(self, zoo, hub, pins, files):
        other = hub.add_repo("user/tiny", {**files, "config.json": b"{}"}, revision="v2")
        zoo("pull", "tiny")
        zoo("pull", "tiny", "--revision", "v2")
        ran = zoo("cache", "rm", "hf:user/tiny@v2", "--yes")
        assert (ran.code, ran.out.split(":")[0]) == (0, f"removed user/tiny@{other[:8]}")
        assert [repo["revisions"] for repo in json.loads(zoo("cache", "list", "--json").out)] == [
            [pins.revision]
        ]
        for revision in ("v2", "v9", ""):
            assert zoo("cache", "rm", f"hf:user/tiny@{revision}", "--yes").code == 2
        assert zoo("cache", "rm", "hf:user/tiny", "--yes").code == 0
        assert json.loads(zoo("cache", "list", "--json").out) == []

    def test_verify_says_which_files_it_could_not_check(self, zoo, pins):
        zoo("pull", "tiny")
        layout.snapshot_file("user/tiny", pins.revision, "notes.txt").write_bytes(b"no link to a blob")
        ran = zoo("cache", "verify")
        assert (ran.code, ran.err) == (0, "2 files checked, 0 wrong, 1 without a known hash not checked\n")
        assert f"unknown\tuser/tiny\t{pins.revision[:8]}\tnotes.txt\n" in ran.out

    @pytest.mark.parametrize(
        ("what", "code"), [("tiny", 2), ("hf:user/tiny", 2), ("hf:../..", 2), ("tinny", 1)]
    )
    def test_rm_of_what_is_not_there_fails(self, zoo, pins, what, code):
        assert zoo("cache", "rm", what, "--yes").code == code

    def test_gc_says_what_goes_and_why(self, zoo, hub, pins):
        hub.fault("model.safetensors", Fault(change=flip, **BY_GET))
        zoo("pull", "tiny")
        doomed = json.loads(zoo("cache", "gc", "--dry-run", "--json").out)
        assert shape(doomed) == documented("zoo cache gc --json")
        assert "would be freed" in zoo("cache", "gc", "--dry-run").out
        assert " freed\n" in zoo("cache", "gc").out
        assert json.loads(zoo("cache", "gc", "--json").out) == []


def test_convert_makes_a_folder_that_samples(zoo, hub_gpt2, tmp_path):
    import torch
    from safetensors.torch import load_file

    source = tmp_path / "pickled"
    source.mkdir()
    for path in hub_gpt2.iterdir():
        if path.suffix == ".json":
            (source / path.name).write_bytes(path.read_bytes())
    torch.save(load_file(hub_gpt2 / "model.safetensors"), source / "pytorch_model.bin")
    assert zoo("sample", str(source)).code == 1
    ran = zoo("convert", str(source), "-o", str(tmp_path / "made"))
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'made'}\n")
    words = ["--seed", "1", "--max-tokens", "8", "--json"]
    assert zoo("sample", str(tmp_path / "made"), *words).out == zoo("sample", str(hub_gpt2), *words).out
    assert zoo("convert", str(source), "-o", str(tmp_path / "made")).code == 2
    assert zoo("convert", str(source)).code == 2
