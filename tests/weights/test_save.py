"""A saved file is whole or absent, the same bytes each time, and says what it is."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from zoo.errors import DiskSpaceError, TensorsError
from zoo.weights.load import load
from zoo.weights.save import Pending, pending, save, write
from zoo.weights.tensors import ZooMetadata, read_header, zoo_metadata


@dataclass(frozen=True)
class Config:
    widths: tuple[int, ...] = (3, 2)


def build(config: Config) -> nn.Module:
    return nn.Sequential(nn.Linear(*config.widths), nn.BatchNorm1d(2))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


TENSORS = {
    "byte": torch.arange(3, dtype=torch.uint8),
    "flag": torch.tensor([True, False]),
    "whole": torch.arange(6).reshape(2, 3),
    "half": torch.randn(3, 3).bfloat16(),
    "float": torch.randn(2, 2),
    "transposed": torch.randn(2, 5).t(),
    "scalar": torch.tensor(1.5),
    "empty": torch.empty(0, 4),
    "größe": torch.ones(1),
}


def test_the_safetensors_library_reads_what_was_written(file: Path) -> None:
    write(file, {name: pending(tensor) for name, tensor in TENSORS.items()}, {"note": "ä"})
    read = load_file(file)
    assert read.keys() == TENSORS.keys()
    assert all(
        torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype
        for name, tensor in TENSORS.items()
    )
    with safe_open(file, "pt") as opened:
        assert opened.metadata() == {"format": "pt", "note": "ä"}
    assert read_header(file).tensors["transposed"].shape == (5, 2)


def test_every_tensor_is_aligned_to_its_elements(file: Path) -> None:
    write(file, {name: pending(tensor) for name, tensor in TENSORS.items()}, {})
    for tensor in load_file(file).values():
        assert tensor.data_ptr() % tensor.element_size() == 0


def test_the_bytes_depend_on_the_tensors_and_not_on_their_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, {name: pending(tensor) for name, tensor in TENSORS.items()}, {"a": "1", "b": "2"})
    write(two, {name: pending(TENSORS[name]) for name in reversed(TENSORS)}, {"b": "2", "a": "1"})
    assert one.read_bytes() == two.read_bytes()


def test_a_saved_module_says_its_family_and_config_and_loads_again(file: Path) -> None:
    net = build(Config())
    save(net, file, family="toy", plugin="zoo-toy", config=Config(), metadata={"recipe": "x"})
    assert zoo_metadata(file) == ZooMetadata("toy", "zoo-toy", {"widths": [3, 2]})
    assert read_header(file).metadata["recipe"] == "x"
    loaded = load(build, Config(), [file]).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in net.state_dict().items())


def test_floating_tensors_are_stored_as_the_dtype_asked_for(file: Path) -> None:
    net = build(Config())
    save(net, file, family="toy", config=Config(), dtype=torch.float16)
    kinds = {name: info.dtype for name, info in read_header(file).tensors.items()}
    assert kinds.pop("1.num_batches_tracked") == "I64"
    assert set(kinds.values()) == {"F16"}
    assert torch.equal(load_file(file)["0.weight"], net[0].weight.half())


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(file: Path) -> None:
    write(file, {"a": pending(torch.ones(2))}, {})
    before = file.read_bytes()

    def fail() -> torch.Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(file, {"a": pending(torch.zeros(2)), "b": Pending(torch.float32, (1,), fail)}, {})
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_disk_too_small_is_refused_before_the_first_byte(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(1000, 500, 500))
    with pytest.raises(DiskSpaceError, match=r"will have \d+ bytes, but the disk has 500 free"):
        write(file, {"a": pending(torch.ones(200))}, {})
    assert not list(file.parent.iterdir())


def test_what_the_zoo_would_not_read_again_is_not_written(file: Path) -> None:
    with pytest.raises(TensorsError, match="cannot be printed"):
        write(file, {"a\x1b": pending(torch.ones(2))}, {})
    with pytest.raises(TensorsError, match="complex64"):
        write(file, {"a": pending(torch.ones(2, dtype=torch.complex64))}, {})
