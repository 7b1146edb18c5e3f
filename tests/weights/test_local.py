"""Files in a package or a folder: which ones make up the model, and which are refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from zoo.errors import IntegrityError, NoWeightsError, PluginError, WeightsError
from zoo.registry.entry import File, Licences, ModelEntry, Weights
from zoo.weights import local


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def index(folder: Path, *shards: object) -> None:
    content = {"weight_map": {str(number): shard for number, shard in enumerate(shards)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def test_a_folder_gives_its_files_by_name(tmp_path: Path) -> None:
    fill(tmp_path, "config.json", "model.safetensors")
    (tmp_path / "below").mkdir()
    assert local.folder(tmp_path) == {name: tmp_path / name for name in ("config.json", "model.safetensors")}


def test_links_as_in_a_snapshot_of_the_hub_cache_are_followed(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    fill(tmp_path / "blobs", "abc")
    (tmp_path / "snapshot" / "model.safetensors").symlink_to("../blobs/abc")
    assert local.folder(tmp_path / "snapshot")["model.safetensors"].read_bytes() == b"abc"


def test_the_only_safetensors_file_is_the_model_whatever_its_name(tmp_path: Path) -> None:
    assert local.folder(fill(tmp_path, "weights.safetensors")).keys() == {"weights.safetensors"}


def test_the_usual_name_comes_before_others(tmp_path: Path) -> None:
    fill(tmp_path, "adapter.safetensors", "model.safetensors", "model-00001-of-00002.safetensors")
    assert local.folder(tmp_path).keys() == {"model.safetensors"}


def test_of_several_safetensors_files_none_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"2 safetensors files and none named model.safetensors: a.*, b"):
        local.folder(fill(tmp_path, "a.safetensors", "b.safetensors"))


def test_a_weights_file_is_given_with_its_companions(tmp_path: Path) -> None:
    fill(tmp_path, "a.safetensors", "b.safetensors", "tokenizer.json")
    assert local.folder(tmp_path / "b.safetensors").keys() == {"b.safetensors", "tokenizer.json"}


def test_an_index_names_the_shards(tmp_path: Path) -> None:
    fill(tmp_path, "model-1.safetensors", "model-2.safetensors", "other.safetensors")
    index(tmp_path, "model-1.safetensors", "model-2.safetensors", "model-1.safetensors")
    assert local.folder(tmp_path).keys() == {
        "model-1.safetensors",
        "model-2.safetensors",
        "model.safetensors.index.json",
    }


@pytest.mark.parametrize("numbers", [(1,), (1, 2), (2,)])
def test_shards_without_their_index_are_told_by_the_index_s_name(
    tmp_path: Path, numbers: tuple[int, ...]
) -> None:
    fill(tmp_path, "config.json", *(f"model-0000{number}-of-00002.safetensors" for number in numbers))
    with pytest.raises(
        WeightsError, match=r"has model-0000\d-of-00002.*, but not model\.safetensors\.index\.json"
    ):
        local.folder(tmp_path)


def test_the_only_shard_of_one_is_the_model(tmp_path: Path) -> None:
    fill(tmp_path, "model-00001-of-00001.safetensors")
    assert local.folder(tmp_path).keys() == {"model-00001-of-00001.safetensors"}


def test_an_absent_shard_is_named(tmp_path: Path) -> None:
    index(fill(tmp_path, "model-1.safetensors"), "model-1.safetensors", "model-2.safetensors")
    with pytest.raises(WeightsError, match=r"model-2\.safetensors is not there"):
        local.folder(tmp_path)


@pytest.mark.parametrize(
    "shard",
    [
        "../model.safetensors",
        "/etc/model.safetensors",
        "a/b.safetensors",
        "a\\b.safetensors",
        ".safetensors",
        "a\x1b.safetensors",
        "a\0.safetensors",
        "config.json",
        "",
        7,
        [[]],
    ],
)
def test_an_index_may_name_plain_safetensors_files_only(tmp_path: Path, shard: object) -> None:
    index(tmp_path, shard)
    with pytest.raises(WeightsError, match="but only names like") as refused:
        local.folder(tmp_path)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map":{}}', '{"weight_map":{"a":"b","a":"b"}}'])
def test_a_malformed_index_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(WeightsError, match=r"index.json (is not sound JSON|has no weight_map)"):
        local.folder(tmp_path)


def test_an_endless_index_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.weights.local.MOST_HEADER_BYTES", 10)
    index(tmp_path, "model-1.safetensors")
    with pytest.raises(WeightsError, match="at most 10 are allowed"):
        local.folder(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl", "last.ckpt"])
def test_pickled_weights_are_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    for target in (fill(tmp_path, name, "config.json"), tmp_path / name):
        with pytest.raises(WeightsError, match=f"only as {name}") as refused:
            local.folder(target)
        assert "zoo convert" in refused.value.hint


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoWeightsError, match="no safetensors file"):
        local.folder(fill(tmp_path, "config.json"))


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        local.folder(tmp_path / "none" / "none")


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelEntry:
    """A model whose package fails when it is imported."""
    inside = tmp_path / "zoo_toy" / "nano"
    inside.mkdir(parents=True)
    (tmp_path / "zoo_toy" / "__init__.py").write_text("raise SystemExit")
    (inside / "model.safetensors").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    file = File("model.safetensors", hashlib.sha256(b"weights").hexdigest(), 7)
    weights = Weights("trained here", package="nano", files=(file,))
    licences = Licences("Apache-2.0", "Apache-2.0", "unknown")
    return ModelEntry(
        "nano", "zoo-toy", "toy", "text", (), 1, weights, licences, package="zoo_toy", installed=True
    )


def test_packaged_files_are_found_without_running_the_package(entry: ModelEntry, tmp_path: Path) -> None:
    assert local.packaged(entry) == {"model.safetensors": tmp_path / "zoo_toy/nano/model.safetensors"}


def test_packaged_bytes_that_changed_are_refused(entry: ModelEntry, tmp_path: Path) -> None:
    path = tmp_path / "zoo_toy/nano/model.safetensors"
    path.write_bytes(b"wEights")
    with pytest.raises(IntegrityError, match=r"expected sha256 [0-9a-f]{64}, but it is [0-9a-f]{64}"):
        local.packaged(entry)
    path.write_bytes(b"weight")
    with pytest.raises(IntegrityError, match="expected 7 bytes, but it has 6"):
        local.packaged(entry)
    path.unlink()
    with pytest.raises(IntegrityError, match="is not in the package") as refused:
        local.packaged(entry)
    assert "pip install --force-reinstall" in refused.value.hint


@pytest.mark.parametrize("package", ["zoo_toy_absent", "", "os.path"])
def test_a_package_that_is_not_there_is_named(entry: ModelEntry, package: str) -> None:
    with pytest.raises(PluginError, match=f"package '{package}' of zoo-toy is not installed"):
        local.packaged(replace(entry, package=package))


@pytest.mark.parametrize(
    ("folder", "name"), [("..", "a"), ("nano", "../../a"), ("/etc", "passwd"), ("nano", "/etc/passwd")]
)
def test_a_packaged_file_lies_inside_the_package(entry: ModelEntry, folder: str, name: str) -> None:
    weights = replace(entry.weights, package=folder, files=(File(name),))
    with pytest.raises(WeightsError, match="is not a file inside the package"):
        local.packaged(replace(entry, weights=weights))
