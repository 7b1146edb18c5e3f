"""What MODEL may be: folders, files and Hub repos; which of their files are taken; what is refused, and how."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest

from hub.fixtures import hub, waits
from zoo import plugins, targets
from zoo.errors import NoWeightsError, UnknownModelError, UsageError, WeightsError

__all__ = ["hub", "waits"]

GPT2 = {"model_type": "gpt2", "vocab_size": 40, "n_positions": 8, "n_embd": 4, "n_layer": 1, "n_head": 2}


def repo(hub: Any, *names: str, config: object = GPT2) -> str:
    """A repo on the loopback Hub with these files and a config.json; its name as a target."""
    hub.add_repo("user/name", {"config.json": json.dumps(config).encode(), **{n: n.encode() for n in names}})
    return "hf:user/name"


def taken(target: targets.Target) -> set[str]:
    return {file.name for file in target.weights.files}


def test_a_safetensors_file_is_found_with_what_lies_beside_it(tiny_gpt2):
    found = targets.find(str(tiny_gpt2 / "model.safetensors"))
    assert found.config == targets.find(str(tiny_gpt2)).config
    assert targets.files(found).keys() == {"model.safetensors", "tokenizer.json"}


def test_the_named_one_of_several_files_is_taken(tiny_gpt2, tmp_path, monkeypatch):
    shutil.copy(tiny_gpt2 / "model.safetensors", tmp_path / "other.safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for text in ("other.safetensors", "./other.safetensors"):
        assert targets.files(targets.find(text)).keys() == {"other.safetensors"}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.gguf"])
def test_weights_of_another_format_are_answered_with_the_command_that_converts_them(
    tmp_path, name, monkeypatch
):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for text in (f"./{name}", name):
        with pytest.raises(WeightsError, match=name) as caught:
            targets.find(text)
        assert f"zoo convert {name} -o FOLDER" in caught.value.hint


def test_a_path_where_nothing_is_and_a_file_that_is_no_model_are_refused(tmp_path):
    with pytest.raises(UnknownModelError, match="no such folder or file"):
        targets.find(str(tmp_path / "absent"))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(NoWeightsError, match=r"notes\.txt has no safetensors file"):
        targets.find(str(tmp_path / "notes.txt"))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (
            {"model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"},
            {"model.safetensors"},
        ),
        (
            {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "adapter.safetensors"},
            {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"},
        ),
        ({"weights.safetensors", "sub/model.safetensors"}, {"weights.safetensors"}),
        ({"diffusion_pytorch_model.safetensors", "a.safetensors"}, {"diffusion_pytorch_model.safetensors"}),
    ],
)
def test_of_a_repo_one_checkpoint_is_taken_with_the_small_files(hub, waits, names, chosen):
    names |= {"model.safetensors.index.json"} if "model-00002-of-00002.safetensors" in names else set()
    found = taken(targets.find(repo(hub, *names, "tokenizer.json", "pytorch_model.bin", "README.md")))
    assert {name for name in found if name.endswith(".safetensors")} == chosen
    assert {"config.json", "tokenizer.json"} <= found
    assert found.isdisjoint({"pytorch_model.bin", "README.md", "sub/model.safetensors"})


def test_shards_without_their_index_are_told_by_the_index_s_name(hub, waits):
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    with pytest.raises(WeightsError, match=r"in shards, but no model\.safetensors\.index\.json"):
        targets.find(repo(hub, *names))


def test_only_the_files_that_the_family_reads_are_taken_of_a_repo(hub, waits):
    names = [
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
        "vocab.txt",
        "columns.json",
        "notes.json",
    ]
    found = taken(targets.find(repo(hub, *names)))
    assert found == {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}


def test_a_repo_without_one_checkpoint_is_refused(hub, waits):
    with pytest.raises(WeightsError, match=r"no model\.safetensors"):
        targets.find(repo(hub, "a.safetensors", "b.safetensors"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_embd": None}, "width is None, but must be a whole number"),
        ({"n_layer": 10**9}, "layers is 1000000000, but must be at least 1 and at most 1,000"),
        ({"n_head": 3}, "heads is 3, but must divide width, 4"),
        ({"model_type": "llama", "layer_types": [{}]}, "only full attention is built here"),
        ({"model_type": "bert"}, "no installed plugin builds a model of type 'bert'"),
        ({"model_type": ["bert"] * 1000}, "no installed plugin builds a model"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused_with_the_repos_name(hub, waits, changes, said):
    with pytest.raises(WeightsError, match=said) as caught:
        targets.find(repo(hub, "model.safetensors", config=GPT2 | changes))
    assert str(caught.value).startswith("hf:user/name@")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[1]", "config.json must hold an object"),
        (b"{", "config.json is not JSON"),
        (b'{"a": "\xff"}', "config.json is not UTF-8"),
        (b"[" * 100_000, "nested too deep"),
        (b" " * 5_000_000, "config.json has 5,000,000 bytes, but at most"),
    ],
)
def test_a_config_that_is_no_sound_json_is_refused_with_the_folders_name(tmp_path, content, said):
    (tmp_path / "config.json").write_bytes(content)
    header = json.dumps({}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(WeightsError, match=said) as caught:
        targets.find(str(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path}: ")


def refuses(content: object) -> None:
    raise UsageError("not built here")


def breaks(content: object) -> None:
    raise KeyError("hidden")


def test_a_family_that_refuses_does_not_keep_another_from_building(monkeypatch):
    gpt2 = ("zoo-gpt", plugins.family("zoo-gpt", "gpt2"))
    refusing, broken = (
        ("zoo-mine", replace(gpt2[1], name=read.__name__, from_hub=f"{read.__module__}:{read.__name__}"))
        for read in (refuses, breaks)
    )
    for asked, said in (
        ([refusing, broken], r"^hf:a/b: not built here$"),
        ([broken], r"^hf:a/b: breaks of zoo-mine cannot read its config\.json: 'hidden'$"),
    ):
        monkeypatch.setattr(plugins, "all_families", lambda asked=asked: asked)
        with pytest.raises(WeightsError, match=said):
            targets._built_by(dict(GPT2), "hf:a/b")
    monkeypatch.setattr(plugins, "all_families", lambda: [refusing, broken, gpt2])
    assert targets._built_by(dict(GPT2), "hf:a/b")[:2] == gpt2


def test_a_revision_of_what_has_none_is_refused(tiny_gpt2, hub, waits):
    with pytest.raises(UsageError, match=r"revision is 'v1', but .* has no revisions"):
        targets.find(str(tiny_gpt2), revision="v1")
    bare = next(entry for entry in targets.catalogue().match("*") if not entry.weights.repo)
    with pytest.raises(UsageError, match=f"{bare.name} has no revisions"):
        targets.find(bare.name, revision="v1")
    found = targets.find(tiny_gpt2.as_posix())
    with pytest.raises(UsageError, match="was found without it"):
        targets.find(found, revision="v1")
    assert targets.find(found) is found


def test_a_revision_is_named_once(hub, waits):
    name = repo(hub, "model.safetensors")
    hub.add_repo(
        "user/name", {"config.json": json.dumps(GPT2).encode(), "model.safetensors": b"2"}, revision="v1"
    )
    with pytest.raises(UsageError, match="revision is 'v1', but hf:user/name@main names another"):
        targets.find(f"{name}@main", revision="v1")
    assert targets.find(name, revision="v1").revision == targets.find(f"{name}@v1").revision
    assert targets.find(name, revision="v1").revision != targets.find(name).revision
