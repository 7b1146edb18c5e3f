"""A run pushed to a loopback Hub: what arrives, that it loads back to the same samples, and what is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

import zoo
from publish.conftest import LICENCES, TOKEN, make_run
from zoo import targets
from zoo.errors import HubError, OfflineError, UsageError, WeightsError
from zoo.registry.reading import read_registry

pytestmark = pytest.mark.usefixtures("one_thread")

ASKED = {"prompt": "ROMEO:", "count": 2, "seed": 7, "max_tokens": 8}


def push(run, repo="user/verse", **asked):
    return zoo.push(run, repo, licences=LICENCES, **asked)


def texts(target):
    return list(zoo.load(target, device="cpu").sample(**ASKED))


def test_a_pushed_run_samples_the_same_texts(writable, run):
    pushed = push(run)
    assert pushed.commit == writable.head("user/verse")
    assert pushed.url == f"{writable.endpoint}/user/verse/tree/{pushed.commit}"
    assert texts(f"hf:user/verse@{pushed.commit}") == texts("hf:user/verse") == texts(str(run))
    with pytest.raises(dataclasses.FrozenInstanceError):
        pushed.commit = ""


def test_the_repo_holds_the_model_and_none_of_the_runs_own_notes(writable, run):
    pushed = push(run)
    files = writable.files("user/verse")
    assert set(pushed.files) == files.keys() - {".gitattributes"} == {
        "README.md", "config.json", "model.safetensors", "recipe.yaml", "registry.yaml", "tokenizer.json"
    }  # fmt: skip
    for name in ("model.safetensors", "tokenizer.json"):
        assert files[name] == (run / name).read_bytes()
    assert b"ada" not in files["recipe.yaml"] + files["README.md"]
    assert json.loads(files["config.json"])["zoo"]["family"] == "gpt2"


def test_all_of_it_is_one_commit(writable, run):
    push(run)
    posts = [seen.path for seen in writable.requests if seen.method == "POST" and "/commit/" in seen.path]
    assert posts == ["/api/models/user/verse/commit/main"]


def test_the_registry_file_is_read_and_makes_the_pushed_model_a_registered_one(
    writable, run, tmp_path, monkeypatch
):
    pushed = push(run)
    (tmp_path / "registry.yaml").write_text(pushed.registry, encoding="utf-8")
    [entry] = read_registry(tmp_path / "registry.yaml", plugin="zoo-gpt", installed=True)
    assert (entry.name, entry.weights.repo, entry.weights.revision) == ("verse", "user/verse", pushed.commit)
    assert entry.can == ("sample", "train", "score")
    assert (entry.task, entry.weights.dtype) == ("text-generation", "float32")
    assert dataclasses.asdict(entry.licences) == LICENCES
    assert [(metric.name, metric.value, metric.samples) for metric in entry.metrics] == [
        ("bits per byte", 2.25, 1234)
    ]
    target = targets.from_entry(entry)
    assert texts(target) == texts(str(run))
    (tmp_path / "unpinned.yaml").write_bytes(writable.files("user/verse")["registry.yaml"])
    with pytest.raises(zoo.errors.RegistryError, match="revision: is missing"):
        read_registry(tmp_path / "unpinned.yaml")


def test_the_same_push_again_makes_no_second_commit(writable, run):
    first = push(run)
    assert push(run).commit == first.commit


def test_other_files_are_replaced_or_removed_only_when_that_is_asked_for(writable, run):
    before = writable.add_repo("user/verse", {"README.md": b"Mine.", "pytorch_model.bin": b"0" * 9})
    with pytest.raises(UsageError, match=r"replaces README\.md and removes pytorch_model\.bin") as told:
        push(run)
    assert "--yes" in told.value.hint
    assert writable.head("user/verse") == before
    pushed = push(run, replace=True)
    assert set(pushed.files) == writable.files("user/verse").keys()


def test_a_private_repo_is_made_and_a_public_one_is_not_taken_for_it(writable, run):
    push(run, "user/hidden", private=True)
    assert writable.is_private("user/hidden")
    assert texts("hf:user/hidden")
    push(run, "user/shown")
    with pytest.raises(UsageError, match="is there and is public, but a private one was asked for"):
        push(run, "user/shown", private=True)


def test_a_pull_request_leaves_the_branch_as_it_is(writable, run):
    before = writable.add_repo("user/verse", {"README.md": b"Mine."})
    pushed = push(run, pull_request=True)
    assert writable.head("user/verse") == before
    assert pushed.pull_request == f"{writable.endpoint}/user/verse/discussions/1"
    assert writable.files("user/verse", "refs/pr/1").keys() == set(pushed.files)


def test_a_branch_is_pushed_to_where_it_is_there(writable, run):
    main = writable.add_repo("user/verse", {"README.md": b"Mine."})
    writable.add_repo("user/verse", {}, revision="v2")
    pushed = push(run, revision="v2")
    assert (writable.head("user/verse"), writable.head("user/verse", "v2")) == (main, pushed.commit)
    with pytest.raises(HubError, match="has no revision v3"):
        push(run, revision="v3")
    with pytest.raises(UsageError, match="no repo user/other yet, so it has no branch 'v2'"):
        push(run, "user/other", revision="v2")


def test_large_files_go_in_the_parts_that_the_hub_asks_for(writable, run):
    writable.part = 4096
    reported = []
    pushed = push(run, report=reported.append)
    assert (
        writable.files("user/verse", pushed.commit)["model.safetensors"]
        == (run / "model.safetensors").read_bytes()
    )
    sizes = [step.done for step in reported if step.file == "model.safetensors"]
    assert sizes == sorted(sizes)
    assert sizes[-1] == (run / "model.safetensors").stat().st_size


def test_without_a_token_or_a_network_nothing_is_asked(writable, run, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="pushing needs the network"):
        push(run)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="no token to push with") as told:
        push(run)
    assert "hf auth login" in told.value.hint
    assert writable.requests == []


@pytest.mark.parametrize("repo", ["verse", "a/b/c", "user/", "../x", "user/a--b", "user/ve rse", "hf:user/x"])
def test_a_name_that_is_no_repo_is_refused(writable, run, repo):
    with pytest.raises(UsageError, match="repo"):
        push(run, repo)
    assert writable.requests == []


def test_a_file_that_changes_meanwhile_is_not_pushed(writable, run, monkeypatch):
    from zoo.publish import push as module

    def late(bundle, **asked):
        (run / "model.safetensors").write_bytes(b"other")
        return module.Changes("")

    monkeypatch.setattr(module, "changes", late)
    with pytest.raises(WeightsError, match=r"model\.safetensors was changed while it was being pushed"):
        push(run)
    assert writable.files("user/verse").keys() == {".gitattributes"}


def test_a_config_that_is_not_that_of_the_weights_is_refused_when_it_is_loaded(writable, run):
    push(run)
    files = writable.files("user/verse")
    said = json.loads(files["config.json"])
    said["zoo"]["config"]["heads"] = 1  # the shapes are the same
    writable.add_repo("user/verse", {**files, "config.json": json.dumps(said).encode()})
    with pytest.raises(WeightsError, match=r"another model than the header of model\.safetensors"):
        zoo.load("hf:user/verse")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"schema": 2}, "schema 2, but this zoo reads schema 1"),
        ([], "must be an object"),
        ({"schema": 1, "family": "gpt2", "plugin": "zoo-gpt", "config": {"layer": 2}}, "no setting 'layer'"),
        ({"schema": 1, "family": "gpt9", "plugin": "zoo-gpt", "config": {}}, "has no family 'gpt9'"),
        ({"schema": 1, "family": "gpt2", "plugin": "os", "config": {}}, "plugin os is not installed"),
    ],
)
def test_a_config_of_the_zoo_that_cannot_be_is_refused(writable, said, problem):
    files = {"config.json": json.dumps({"zoo": said}).encode(), "model.safetensors": b""}
    writable.add_repo("user/odd", files)
    with pytest.raises(zoo.errors.ZooError, match=problem):
        targets.find("hf:user/odd")


def test_a_token_is_in_no_file_and_no_error(writable, run):
    from hub.loopback import Fault

    echo = Fault(status=403, headers={"X-Error-Message": f"bad {TOKEN}"}, methods=("POST",))
    writable.fault("create", echo)
    with pytest.raises(HubError) as told:
        push(run)
    assert "may not write to user/verse: bad ***" in str(told.value)
    assert TOKEN not in str(told.value) + told.value.hint
    writable.heal()
    push(run)
    assert not any(TOKEN.encode() in body for body in writable.files("user/verse").values())


def test_a_model_of_a_folder_without_a_recipe_is_pushed_too(writable, tiny_gpt2):
    pushed = push(tiny_gpt2 / "model.safetensors")
    assert "recipe.yaml" not in pushed.files
    assert "status: original" in pushed.registry
    assert texts("hf:user/verse") == texts(str(tiny_gpt2))


def test_a_chat_model_says_that_it_chats(writable, tiny_chat, tmp_path):
    pushed = push(make_run(tiny_chat, tmp_path / "chat"))
    assert "- chat\n" in pushed.registry
    assert zoo.load("hf:user/verse", device="cpu").tokenizer.chat_template
