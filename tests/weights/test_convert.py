"""zoo convert makes a folder that appears whole or not at all."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from zoo.errors import MissingDependencyError, PluginError, UsageError, WeightsError
from zoo.family import Family
from zoo.weights import convert as converting
from zoo.weights.convert import convert
from zoo.weights.placement import GgufLayout, GgufPlacement

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2), "count": torch.tensor(3)}


def assert_holds(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    read = load_file(path)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt"])
def test_a_pickled_file_becomes_safetensors(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"weights{suffix}"
    torch.save(WEIGHTS, source)
    made = convert(source, tmp_path / "new" / "folder")
    assert made == tmp_path / "new" / "folder"
    assert [file.name for file in made.iterdir()] == ["model.safetensors"]
    assert_holds(made / "model.safetensors", WEIGHTS)


def test_floating_tensors_are_stored_as_the_dtype_asked_for(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pt")
    made = convert(tmp_path / "w.pt", tmp_path / "made", dtype=torch.float16)
    expected = {name: t.half() if t.is_floating_point() else t for name, t in WEIGHTS.items()}
    assert_holds(made / "model.safetensors", expected)


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A folder as the Hub has it, with what a training run may leave beside the weights."""
    folder = tmp_path / "hub"
    folder.mkdir()
    for name in (
        "config.json",
        "tokenizer.json",
        "merges.txt",
        "chat_template.jinja",
        "LICENSE",
        "README.md",
    ):
        (folder / name).write_text(name)
    (folder / "flax_model.msgpack").write_text("large")
    torch.save({"lr": 1}, folder / "training_args.bin")
    torch.save({}, folder / "optimizer.pt")
    return folder


def test_the_files_a_model_needs_come_along(hub: Path, tmp_path: Path) -> None:
    torch.save(WEIGHTS, hub / "pytorch_model.bin")
    made = convert(hub, tmp_path / "made")
    assert sorted(file.name for file in made.iterdir()) == [
        "LICENSE",
        "README.md",
        "chat_template.jinja",
        "config.json",
        "merges.txt",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (made / "config.json").read_text() == "config.json"
    assert_holds(made / "model.safetensors", WEIGHTS)


def test_what_lies_behind_a_link_out_of_the_folder_is_not_copied(hub: Path, tmp_path: Path) -> None:
    torch.save(WEIGHTS, hub / "pytorch_model.bin")
    (tmp_path / "secret").write_text("secret")
    (hub / "vocab.txt").symlink_to("../secret")
    with pytest.raises(WeightsError, match=r"vocab\.txt is a link that leaves its folder"):
        convert(hub, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_shards_become_one_file(hub: Path, tmp_path: Path) -> None:
    torch.save({"a": WEIGHTS["a"]}, hub / "pytorch_model-1.bin")
    torch.save({"b": WEIGHTS["b"], "count": WEIGHTS["count"]}, hub / "pytorch_model-2.bin")
    shards = {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin", "count": "pytorch_model-2.bin"}
    (hub / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": shards}))
    made = convert(hub, tmp_path / "made")
    assert_holds(made / "model.safetensors", WEIGHTS)
    assert not (made / "pytorch_model.bin.index.json").exists()


def test_a_tensor_in_two_shards_is_refused(hub: Path, tmp_path: Path) -> None:
    for name in ("1.bin", "2.bin"):
        torch.save({"a": WEIGHTS["a"]}, hub / name)
    (hub / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "1.bin", "b": "2.bin"}}')
    with pytest.raises(WeightsError, match="a is in another shard too"):
        convert(hub, tmp_path / "made")


def test_an_index_that_leads_out_of_the_folder_is_refused(hub: Path, tmp_path: Path) -> None:
    (hub / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../secret.bin"}}')
    with pytest.raises(WeightsError, match="but only names like"):
        convert(hub, tmp_path / "made")


def test_a_diffusion_checkpoint_keeps_its_name(hub: Path, tmp_path: Path) -> None:
    torch.save(WEIGHTS, hub / "diffusion_pytorch_model.bin")
    assert (convert(hub, tmp_path / "made") / "diffusion_pytorch_model.safetensors").exists()


def test_of_several_files_none_is_guessed(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"2 files that could be converted: optimizer\.pt, tr") as refused:
        convert(hub, tmp_path / "made")
    assert "name the file" in refused.value.hint


@pytest.mark.parametrize("name", ["none.bin", "notes.txt"])
def test_what_is_not_converted_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_bytes(b"")
    with pytest.raises(UsageError, match=r"no such file or folder|is none of what is converted"):
        convert(tmp_path / name, tmp_path / "made")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.safetensors.index.json", "", "a-00001-of-00002.safetensors"]
)
def test_what_is_safetensors_already_is_told_to_be(tmp_path: Path, name: str) -> None:
    source = tmp_path / "model"
    source.mkdir()
    (source / (name or "model.safetensors")).write_bytes(b"")
    with pytest.raises(UsageError, match="is safetensors already: there is nothing to convert") as refused:
        convert(source / name, tmp_path / "made")
    assert refused.value.hint == f"it is loaded as it is: zoo sample {source / name}"


def test_a_destination_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pt")
    with pytest.raises(UsageError, match="is there and not empty"):
        convert(tmp_path / "w.pt", tmp_path)
    with pytest.raises(UsageError, match="is there and not empty"):
        convert(tmp_path / "w.pt", tmp_path / "w.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["w.pt"]


def test_an_empty_destination_is_filled(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pt")
    (tmp_path / "made").mkdir()
    assert_holds(convert(tmp_path / "w.pt", tmp_path / "made") / "model.safetensors", WEIGHTS)


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": 3}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="b is int"):
        convert(tmp_path / "w.pt", tmp_path / "made")
    assert [file.name for file in tmp_path.iterdir()] == ["w.pt"]


def place_toy(metadata: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> GgufLayout | None:
    if metadata["general.architecture"] != "toy":
        return None
    places = {
        "turned": GgufPlacement("a", transpose=True),
        "rows": GgufPlacement("b", rotary_heads=2),
        "drop": None,
    }
    return GgufLayout({"model_type": "toy"}, {name: places.get(name, GgufPlacement(name)) for name in shapes})


def place_badly(metadata: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> GgufLayout:
    return GgufLayout({}, dict.fromkeys(shapes, GgufPlacement("same")))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that knows the architecture toy is the only one."""
    know(monkeypatch, place_toy)


def know(monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    family = Family("toy", "text", "", "", "", from_gguf="place")
    monkeypatch.setattr(Family, "resolve", lambda self, field: place)
    monkeypatch.setattr(converting.plugins, "all_families", lambda: (("zoo-toy", family),))


def write_gguf(path: Path, tensors: dict[str, Any], architecture: str = "toy") -> Path:
    """tensors: by name, an array, or (bytes of blocks, ggml type)."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_eos_token_id(3)
    for name, values in tensors.items():
        kind = None
        if isinstance(values, tuple):
            values, kind = values
        writer.add_tensor(name, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.usefixtures("toy")
def test_gguf_tensors_are_arranged_as_the_plugin_says(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    rows = np.arange(8, dtype=np.float16)[:, None]
    source = write_gguf(tmp_path / "m.gguf", {"turned": values, "rows": rows, "drop": values})
    notes: list[str] = []
    made = convert(source, tmp_path / "made", report=notes.append)
    paired = torch.tensor([0, 2, 1, 3, 4, 6, 5, 7], dtype=torch.float16)[:, None]
    assert_holds(made / "model.safetensors", {"a": torch.from_numpy(values.T), "b": paired})
    assert json.loads((made / "config.json").read_text()) == {"model_type": "toy", "eos_token_id": 3}
    assert notes == ["the file has no tokenizer: the model takes and gives token ids"]


@pytest.mark.usefixtures("toy")
def test_unquantised_dtypes_are_kept(tmp_path: Path) -> None:
    bfloat16 = torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16)
    raw = bfloat16.view(torch.uint8).numpy()
    tensors = {
        "half": np.ones((1, 2), np.float16),
        "double": np.ones((1, 2), np.float64),
        "brain": (raw, gguf.GGMLQuantizationType.BF16),
    }
    made = convert(write_gguf(tmp_path / "m.gguf", tensors), tmp_path / "made")
    expected = {"half": torch.ones(1, 2).half(), "double": torch.ones(1, 2).double(), "brain": bfloat16}
    assert_holds(made / "model.safetensors", expected)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q5_1", "Q4_1", "MXFP4"])
@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_quantised_tensors_are_what_their_blocks_mean(
    tmp_path: Path, kind: str, dtype: torch.dtype | None
) -> None:
    quantisation = gguf.GGMLQuantizationType[kind]
    values = np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32)
    blocks = gguf.quantize(values, quantisation)
    source = write_gguf(tmp_path / "m.gguf", {"w": (blocks, quantisation)})
    made = convert(source, tmp_path / "made", dtype=dtype)
    meant = torch.from_numpy(gguf.dequantize(blocks, quantisation))
    assert_holds(made / "model.safetensors", {"w": meant.to(dtype or torch.float16)})
    assert (meant - torch.from_numpy(values)).abs().mean() < 0.5  # the file did hold these values


@pytest.mark.usefixtures("toy")
def test_quantised_tensors_need_the_gguf_package_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    q8 = gguf.GGMLQuantizationType.Q8_0
    plain = write_gguf(tmp_path / "plain.gguf", {"w": np.ones((1, 32), np.float32)})
    packed = write_gguf(
        tmp_path / "packed.gguf", {"w": (gguf.quantize(np.ones((1, 32), np.float32), q8), q8)}
    )
    monkeypatch.setitem(sys.modules, "gguf", None)
    convert(plain, tmp_path / "made")
    with pytest.raises(MissingDependencyError, match="w is quantised") as refused:
        convert(packed, tmp_path / "other")
    assert refused.value.hint == "pip install 'zoo-core[gguf]'"
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("toy")
def test_a_truncated_gguf_file_says_what_it_needs(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "m.gguf", {"w": np.ones((100, 100), np.float32)})
    whole = source.read_bytes()
    source.write_bytes(whole[:5000])
    with pytest.raises(
        WeightsError, match=rf"truncated: its tensors need {len(whole)} bytes, but it has 5000"
    ):
        convert(source, tmp_path / "made")


def write_lying_gguf(path: Path, elements: int, kind: int, offset: int) -> Path:
    """Eight float32 numbers called one, and after them a tensor two that is said to be as given."""
    said = b"GGUF" + struct.pack("<IQQ", 3, 2, 1)
    said += struct.pack("<Q20sIQ3s", 20, b"general.architecture", 8, 3, b"toy")
    said += struct.pack("<Q3sIQIQ", 3, b"one", 1, 8, 0, 0)
    said += struct.pack("<Q3sIQIQ", 3, b"two", 1, elements, kind, offset)
    path.write_bytes(said + bytes(-len(said) % 32 + 64))
    return path


@pytest.mark.usefixtures("toy")
def test_the_file_that_lies_below_is_sound_when_it_does_not(tmp_path: Path) -> None:
    made = convert(write_lying_gguf(tmp_path / "m.gguf", 8, 0, 32), tmp_path / "made")
    assert_holds(made / "model.safetensors", {"one": torch.zeros(8), "two": torch.zeros(8)})


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("elements", "kind", "offset", "said"),
    [
        (8, 0, 0, "tensors one and two overlap"),
        (8, 0, 31, "tensors one and two overlap"),
        (2**32, 0, 32, r"truncated: its tensors need 17179869\d{3} bytes"),
        (8, 0, 2**63, r"truncated: its tensors need \d{19} bytes"),
        (8, 77, 32, "two is of the ggml type 77, which cannot be dequantised"),
        (8, 26, 32, "two is of the ggml type 26, which cannot be dequantised"),  # whole numbers
        (9, 8, 32, r"two has shape \[9\], which blocks of 32 do not fill"),
    ],
)
def test_a_gguf_file_that_lies_is_refused(
    tmp_path: Path, elements: int, kind: int, offset: int, said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        convert(write_lying_gguf(tmp_path / "m.gguf", elements, kind, offset), tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.usefixtures("toy")
def test_rows_that_heads_do_not_share_are_refused(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "m.gguf", {"rows": np.ones((6, 2), np.float32)})
    with pytest.raises(WeightsError, match=r"rows has shape \[6, 2\], which 2 heads do not share"):
        convert(source, tmp_path / "made")


@pytest.mark.usefixtures("toy")
def test_an_architecture_that_no_plugin_knows_is_named(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "m.gguf", {"w": np.ones(2, np.float32)}, architecture="mamba")
    with pytest.raises(
        WeightsError, match="no installed plugin reads GGUF files of the architecture 'mamba'"
    ):
        convert(source, tmp_path / "made")


def test_a_plugin_that_places_two_tensors_at_one_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, place_badly)
    source = write_gguf(tmp_path / "m.gguf", {"v": np.ones(2, np.float32), "w": np.ones(2, np.float32)})
    with pytest.raises(PluginError, match="must place each of the file's tensors once, not same"):
        convert(source, tmp_path / "made")
