"""Pickled checkpoints give up their plain tensors; nothing in them is ever run."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.errors import WeightsError
from zoo.weights.pickled import read_pickled

WEIGHTS = OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.ones(2, dtype=torch.bfloat16))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.bin"


class Bomb:
    """Unpickling it creates a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("archived", [True, False])
def test_tensors_come_back_by_name(file: Path, archived: bool) -> None:
    torch.save(WEIGHTS, file, _use_new_zipfile_serialization=archived)
    read = read_pickled(file)
    assert list(read) == ["a", "b"]
    for name, tensor in WEIGHTS.items():
        assert torch.equal(read[name], tensor)
        assert read[name].dtype == tensor.dtype


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_tensors_are_found_inside_a_training_checkpoint(file: Path, key: str) -> None:
    torch.save({"epoch": 3, key: WEIGHTS, "optimizer": {"step": 1}}, file)
    assert list(read_pickled(file)) == ["a", "b"]


def test_parameters_lose_their_gradients(file: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(keep_vars=True), file)
    assert not any(tensor.requires_grad for tensor in read_pickled(file).values())


def test_of_tied_tensors_the_first_is_given(file: Path) -> None:
    tied = torch.randn(3, 2)
    torch.save({"tokens": tied, "head": tied, "equal": tied.clone(), "turned": tied.view(2, 3)}, file)
    assert list(read_pickled(file)) == ["tokens", "equal", "turned"]


@pytest.mark.parametrize("archived", [True, False])
def test_code_in_a_pickle_is_named_and_never_run(file: Path, archived: bool) -> None:
    marker = file.with_name("run")
    torch.save({"a": torch.ones(2), "b": Bomb(marker)}, file, _use_new_zipfile_serialization=archived)
    with pytest.raises(WeightsError, match=r"refused: its pickle asks to run \w+\.mkdir,"):
        read_pickled(file)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle_is_never_run(file: Path, protocol: int) -> None:
    marker = file.with_name("run")
    file.write_bytes(pickle.dumps(Bomb(marker), protocol=protocol))
    with pytest.raises(WeightsError) as refused:
        read_pickled(file)
    assert "\n" not in str(refused.value)
    assert not marker.exists()
    pickle.loads(file.read_bytes())
    assert marker.exists()


def test_a_whole_module_is_refused(file: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), file)
    with pytest.raises(WeightsError, match=r"asks to run torch\.nn\.modules\.linear\.Linear") as refused:
        read_pickled(file)
    assert "state_dict()" in refused.value.hint


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.ones(2), "it holds a Tensor, not a mapping"),
        ([torch.ones(2)], "it holds a list, not a mapping"),
        ({"a": 3}, "a is int, not a tensor"),
        ({3: torch.ones(2)}, "3 is not a name"),
        ({"a\x1b": torch.ones(2)}, r"'a\\x1b' is not a name"),
        ({"a": torch.ones(2).to_sparse()}, "a is sparse, quantised or without values"),
        ({"a": torch.empty(2, device="meta")}, "a is sparse, quantised or without values"),
        ({"a": torch.ones(1).expand(100_000)}, "need 400000 bytes, more than the file has"),
    ],
)
def test_what_is_not_plain_tensors_by_name_is_refused(file: Path, content: Any, said: str) -> None:
    torch.save(content, file)
    with pytest.raises(WeightsError, match=said):
        read_pickled(file)


def test_views_that_share_bytes_may_not_outgrow_the_file(file: Path) -> None:
    whole = torch.ones(9_000)
    torch.save({str(at): whole[at:] for at in range(10)}, file)
    with pytest.raises(WeightsError, match="more than the file has"):
        read_pickled(file)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.95])
def test_a_damaged_file_is_refused_in_one_line(file: Path, kept: float) -> None:
    torch.save(WEIGHTS, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(WeightsError, match="damaged, or not a checkpoint"):
        read_pickled(file)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(file: Path) -> None:
    torch.save(WEIGHTS, file)
    with zipfile.ZipFile(file) as archive:
        records = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    with pytest.raises(WeightsError, match="the archive is compressed"):
        read_pickled(file)


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        read_pickled(file)
