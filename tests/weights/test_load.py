"""Weights are compared with the built module, then mapped into it without a copy."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zoo.errors import NoWeightsError, PluginError, TensorsError
from zoo.weights.load import load
from zoo.weights.placement import Placement
from zoo.weights.save import save


@dataclass(frozen=True)
class Config:
    width: int = 3


class Net(nn.Module):
    """Two maps, a norm with running statistics: floating and whole-numbered tensors, parameters and buffers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, 5)
        self.norm = nn.BatchNorm1d(5)
        self.down = nn.Linear(5, config.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down(self.norm(self.up(x)))
        return out


@pytest.fixture
def net() -> Net:
    torch.manual_seed(1)
    net = Net(Config())
    net.norm.num_batches_tracked.fill_(7)
    return net


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def stored(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_a_loaded_module_computes_what_the_saved_one_did(file: Path, net: Net) -> None:
    save_file(stored(net), file)
    loaded = load(Net, Config(), [file])
    x = torch.randn(4, 3)
    assert torch.equal(loaded(x), net.eval()(x))
    assert loaded.norm.num_batches_tracked == 7
    assert [name for name, _ in loaded.named_buffers()] == [name for name, _ in net.named_buffers()]


def test_a_loaded_module_is_for_inference_until_training_asks_otherwise(file: Path, net: Net) -> None:
    save_file(stored(net), file)
    loaded = load(Net, Config(), [file])
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    loaded.train().requires_grad_(True)
    loaded(torch.randn(4, 3)).sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


def is_mapped(tensor: torch.Tensor, file: Path) -> bool:
    """Whether the tensor's bytes lie where the operating system has mapped the file."""
    spans = [
        [int(end, 16) for end in line.split()[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(file))
    ]
    return any(start <= tensor.data_ptr() < end for start, end in spans)


needs_maps = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mappings are read from /proc")


@needs_maps
def test_weights_are_views_of_the_mapped_file(file: Path, net: Net) -> None:
    save_file(stored(net), file)
    loaded = load(Net, Config(), [file])
    assert all(is_mapped(tensor, file) for tensor in loaded.state_dict().values())
    assert not is_mapped(net.up.weight, file)


@needs_maps
def test_a_transposed_weight_is_a_view_too(file: Path) -> None:
    save_file({"weight": torch.randn(2, 5)}, file)
    place = lambda name, config: Placement(name, transpose=True)  # noqa: E731
    assert is_mapped(load(lambda _: nn.Linear(2, 5, bias=False), None, [file], place=place).weight, file)


def test_writing_to_a_loaded_weight_never_reaches_the_file(file: Path, net: Net) -> None:
    save_file(stored(net), file)
    before = file.read_bytes()
    loaded = load(Net, Config(), [file])
    with torch.no_grad():
        loaded.up.weight.add_(1)
    assert torch.equal(loaded.up.weight, net.up.weight + 1)
    assert file.read_bytes() == before


def test_a_file_whose_tensors_are_not_aligned_loads(file: Path) -> None:
    header = b'{"weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}} '
    assert len(header) % 4 == 2
    values = torch.tensor([[3.0, 4.0]])
    file.write_bytes(len(header).to_bytes(8, "little") + header + values.numpy().tobytes())
    loaded = load(lambda config: nn.Linear(2, 1, bias=False), None, [file])
    assert loaded(torch.tensor([[1.0, 2.0]])).item() == 11


def test_placement_renames_transposes_and_drops(file: Path, net: Net) -> None:
    tensors = {f"h.{name}": tensor for name, tensor in stored(net).items()}
    tensors["h.up.weight"] = tensors["h.up.weight"].t().contiguous()
    save_file({**tensors, "mask": torch.ones(2)}, file)

    def place(name: str, config: Config) -> Placement | None:
        assert config == Config()
        return None if name == "mask" else Placement(name.removeprefix("h."), transpose=name == "h.up.weight")

    loaded = load(Net, Config(), [file], place=place)
    assert torch.equal(loaded.up.weight, net.up.weight)
    assert torch.equal(loaded.down.weight, net.down.weight)


def test_two_stored_tensors_may_not_have_one_place(file: Path, net: Net) -> None:
    save_file({**stored(net), "twin": torch.ones(3)}, file)
    with pytest.raises(TensorsError, match=r"twin and down.bias .* are both down.bias"):
        load(Net, Config(), [file], place=lambda name, config: Placement(name.replace("twin", "down.bias")))


def test_shards_are_one_checkpoint(tmp_path: Path, net: Net) -> None:
    tensors = stored(net)
    names = sorted(tensors)
    files = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    save_file({name: tensors[name] for name in names[:4]}, files[0])
    save_file({name: tensors[name] for name in names[4:]}, files[1])
    loaded = load(Net, Config(), files)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in loaded.state_dict().items())
    with pytest.raises(TensorsError, match=r"5 missing \(norm.running_mean|5 missing"):
        load(Net, Config(), files[:1])
    with pytest.raises(TensorsError, match=r"2.safetensors: norm.running_mean and norm.running_mean in 2"):
        load(Net, Config(), [*files, files[1]])


def test_one_error_lists_what_is_missing_unexpected_and_mismatched(file: Path, net: Net) -> None:
    tensors = stored(net)
    del tensors["up.bias"], tensors["down.bias"]
    tensors |= {f"more.{number}": torch.ones(1) for number in range(5)}
    tensors["up.weight"] = tensors["up.weight"].t().contiguous()
    save_file(tensors, file)
    with pytest.raises(TensorsError) as refused:
        load(Net, Config(), [file])
    assert str(refused.value) == (
        f"{file}: its tensors are not those of Net: 2 missing (up.bias; down.bias), "
        "5 unexpected (more.0; more.1; more.2; and 2 more), "
        "1 mismatched (up.weight: stored F32 [3, 5], the model has float32 [5, 3])"
    )


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.bool, torch.float8_e4m3fn])
def test_a_weight_stored_as_no_ordinary_float_is_mismatched(file: Path, net: Net, dtype: torch.dtype) -> None:
    save_file({**stored(net), "up.bias": torch.ones(5).to(dtype)}, file)
    with pytest.raises(
        TensorsError, match=r"1 mismatched \(up.bias: stored \w+ \[5\], the model has float32 \[5\]"
    ):
        load(Net, Config(), [file])


def test_float_values_declared_as_whole_numbers_are_mismatched(file: Path, net: Net) -> None:
    save_file({name: t.half() if t.is_floating_point() else t for name, t in stored(net).items()}, file)
    lying = file.read_bytes().replace(b'"F16"', b'"I16"', 1)
    file.write_bytes(lying)
    with pytest.raises(TensorsError, match=r"1 mismatched \(.*: stored I16"):
        load(Net, Config(), [file])


def test_a_count_stored_as_a_float_is_mismatched(file: Path, net: Net) -> None:
    save_file({**stored(net), "norm.num_batches_tracked": torch.tensor(7.0)}, file)
    with pytest.raises(TensorsError, match=r"stored F32 .*, the model has int64"):
        load(Net, Config(), [file])


@pytest.mark.parametrize(
    ("stored_as", "asked", "expected"),
    [
        (torch.float32, None, torch.float32),
        (torch.bfloat16, None, torch.bfloat16),
        (torch.float64, None, torch.float64),
        (torch.float16, None, torch.float32),  # on a CPU
        (torch.float16, torch.float16, torch.float16),
        (torch.float32, torch.bfloat16, torch.bfloat16),
    ],
)
def test_the_dtype_is_the_stored_one_unless_asked(
    file: Path, net: Net, stored_as: torch.dtype, asked: torch.dtype | None, expected: torch.dtype
) -> None:
    save_file(stored(net.to(stored_as)), file)
    loaded = load(Net, Config(), [file], dtype=asked)
    for name, tensor in loaded.state_dict().items():
        wanted = net.state_dict()[name]
        assert torch.equal(tensor, wanted.to(expected) if wanted.is_floating_point() else wanted)


def test_of_mixed_dtypes_the_most_used_one_is_taken(file: Path, net: Net) -> None:
    save_file({name: t.bfloat16() if name == "up.weight" else t for name, t in stored(net).items()}, file)
    assert {p.dtype for p in load(Net, Config(), [file]).parameters()} == {torch.float32}
    save_file({name: t.bfloat16() if t.dim() == 2 else t for name, t in stored(net).items()}, file)
    assert {p.dtype for p in load(Net, Config(), [file]).parameters()} == {torch.bfloat16}


class Tied(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.tokens = nn.Embedding(4, 3)
        self.head = nn.Linear(3, 4, bias=False)
        self.head.weight = self.tokens.weight


@pytest.mark.parametrize("name", ["tokens.weight", "head.weight"])
def test_a_tied_parameter_is_stored_once_under_either_name_and_stays_one(file: Path, name: str) -> None:
    weight = torch.randn(4, 3)
    save_file({name: weight}, file)
    loaded = load(Tied, None, [file])
    assert loaded.head.weight is loaded.tokens.weight
    assert torch.equal(loaded.head.weight, weight)


def test_a_tied_parameter_that_was_saved_loads(file: Path) -> None:
    tied = Tied(None)
    save(tied, file, family="tied", config={})
    assert torch.equal(load(Tied, None, [file]).head.weight, tied.tokens.weight)


def test_a_buffer_that_no_file_holds_is_the_plugins_fault(file: Path) -> None:
    class Table(nn.Module):
        def __init__(self, config: Any) -> None:
            super().__init__()
            self.register_buffer("angles", torch.arange(3), persistent=False)

    save_file({}, file)
    with pytest.raises(PluginError, match="Table keeps the buffer angles"):
        load(Table, None, [file])


def test_without_files_there_is_nothing_to_load() -> None:
    with pytest.raises(NoWeightsError):
        load(Net, Config(), [])


def test_a_pickle_by_the_name_of_safetensors_is_never_run(file: Path) -> None:
    marker = file.with_name("run")

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    file.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(TensorsError, match="this is a pickle"):
        load(Net, Config(), [file])
    assert not marker.exists()


BUILD = """
import sys, torch
from torch import nn
from zoo.weights.load import build_on_meta

def build(config):
    net = nn.Sequential(nn.Linear(2, 2), nn.Embedding(2, 2), nn.LSTM(2, 2), nn.Conv1d(2, 2, 1), nn.LayerNorm(2))
    net[2].weight_hh_l0.data.normal_()
    nn.init.trunc_normal_(net[0].weight, std=0.02)
    nn.init.zeros_(net[0].bias)
    return net

before = set(sys.modules)
net = build_on_meta(build, None)
print(all(parameter.is_meta for parameter in net.parameters()), len(set(sys.modules) - before) < 20)
"""


def test_building_draws_no_weights_for_which_torch_would_import_hundreds_of_modules() -> None:
    done = subprocess.run([sys.executable, "-c", BUILD], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True True"


MEMORY = """
import sys
from pathlib import Path
import torch
from torch import nn
from zoo.weights.load import load

def build(size):
    return nn.Sequential(*(nn.Linear(size, size, bias=False) for _ in range(12)))

def use(net, x):
    with torch.inference_mode():
        return net(x).sum().item()

def peak():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

use(build(8), torch.ones(1, 8))
before = peak()
use(load(build, 2048, [Path(sys.argv[1])]), torch.ones(1, 2048))
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_loading_and_using_every_weight_takes_little_more_memory_than_the_file(file: Path) -> None:
    save_file({f"{layer}.weight": torch.full((2048, 2048), 1e-4) for layer in range(12)}, file)  # 201 MB
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(file)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1.3 * file.stat().st_size
    assert int(done.stdout) > 0.9 * file.stat().st_size  # else nothing was measured


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_load_on_a_gpu(file: Path, net: Net, dtype: torch.dtype) -> None:
    save_file(stored(net.to(dtype)), file)
    loaded = load(Net, Config(), [file], device="cuda")
    for name, tensor in loaded.state_dict().items():
        assert tensor.device.type == "cuda"
        assert torch.equal(tensor.cpu(), net.state_dict()[name])
