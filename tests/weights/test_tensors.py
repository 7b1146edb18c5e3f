"""A safetensors header is checked before any library sees the file."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from zoo.errors import TensorsError
from zoo.weights.tensors import Header, TensorInfo, ZooMetadata, read_header, zoo_metadata, zoo_metadata_text


def entry(start: int, end: int, dtype: str = "F32", shape: list[int] | None = None) -> dict[str, Any]:
    return {
        "dtype": dtype,
        "shape": [(end - start) // 4] if shape is None else shape,
        "data_offsets": [start, end],
    }


def write(path: Path, header: Any, data: bytes = b"", *, length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + data)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def test_a_file_of_the_library_reads_as_it_was_written(file: Path) -> None:
    arrays = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(5, np.int8), "c": np.zeros((), np.float16)}
    save_file(arrays, file, metadata={"format": "pt"})
    header = read_header(file)
    assert header.metadata == {"format": "pt"}
    assert header.tensors == {
        "a": TensorInfo("F32", (2, 3), 24),
        "b": TensorInfo("I8", (5,), 5),
        "c": TensorInfo("F16", (), 2),
    }


def test_a_file_without_tensors_is_sound(file: Path) -> None:
    assert read_header(write(file, {})) == Header({}, {})


@pytest.mark.parametrize(
    ("header", "data", "said"),
    [
        ({"a": entry(0, 8)}, 7, "truncated: its tensors need 8 bytes, but 7 are there"),
        ({"a": entry(0, 8)}, 9, "1 bytes after the last tensor belong to no tensor"),
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, "tensors a and b overlap at byte 4"),
        ({"a": entry(0, 8), "b": entry(0, 8)}, 8, "tensors a and b overlap at byte 0"),
        ({"a": entry(0, 4), "b": entry(8, 12)}, 12, "bytes 4 to 8 belong to no tensor (before b)"),
        ({"a": entry(4, 8)}, 8, "bytes 0 to 4 belong to no tensor"),
        ({"a": entry(8, 4, shape=[1])}, 8, "must be a start and an end"),
        ({"a": entry(0, 2**70, shape=[1])}, 8, "must be a start and an end"),
        ({"a": entry(0, 8, shape=[3])}, 8, "a F32 of shape [3] does not take the 8 bytes it has"),
        ({"a": entry(0, 0, shape=[2**62] * 60)}, 0, "does not take the 0 bytes"),
        ({"a": entry(0, 8, shape=[-2])}, 8, "its shape is [-2]"),
        ({"a": entry(0, 8, shape=[2.0])}, 8, "its shape is [2.0]"),  # type: ignore[list-item]
        ({"a": entry(0, 4, shape=[True])}, 4, "its shape is [True]"),
        ({"a": entry(0, 4, shape=[1] * 65)}, 4, "its shape is [1, 1"),
        ({"a": entry(0, 8, dtype="F33")}, 8, "its dtype is 'F33', but must be one of"),
        ({"a": {**entry(0, 8), "dtype": 4}}, 8, "its dtype is 4"),
        ({"a": {**entry(0, 8), "more": 1}}, 8, "and nothing else"),
        ({"a": [0, 8]}, 8, "it must have dtype, shape and data_offsets"),
        ({"__metadata__": {"a": 1}}, 0, "__metadata__ must be an object of strings"),
        ({"__metadata__": ["a"]}, 0, "__metadata__ must be an object of strings"),
        ({"": entry(0, 0)}, 0, "name is empty"),
        ({"a\x1b[31m": entry(0, 0)}, 0, r"cannot be printed: 'a\x1b[31m'"),
        ({"a\u202eb": entry(0, 0)}, 0, r"cannot be printed: 'a\u202eb'"),
        ({"a\ud800": entry(0, 0)}, 0, r"cannot be printed: 'a\ud800'"),
        ({"a" * 501: entry(0, 0)}, 0, "has 501 characters, but at most 500"),
        (b'{"a":{},"a":{}}', 0, "the key 'a' stands twice"),
        (
            b'{"a":{"dtype":"F32","dtype":"F16","shape":[],"data_offsets":[0,2]}}',
            2,
            "the key 'dtype' stands twice",
        ),
        (b'{"__metadata__":{"x":"","x":""}}', 0, "the key 'x' stands twice"),
        (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 0, "nested too deep"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 0, "nested too deep"),
        (b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", 0, "it must have dtype"),
        (b'{"a":' + b"9" * 5_000 + b"}", 0, "not sound JSON"),
        (b'{"a"', 0, "not sound JSON"),
        (b'{"\xff":1}', 0, "it is not UTF-8"),
        (b"[1]", 0, "does not start with {"),
        (b" {}", 0, "does not start with {"),
        (b"", 0, "does not start with {"),
    ],
)
def test_a_malformed_header_is_refused_in_one_line(file: Path, header: Any, data: int, said: str) -> None:
    write(file, header, b"\0" * data)
    with pytest.raises(TensorsError) as refused:
        read_header(file)
    message = str(refused.value)
    assert said in message
    assert message.startswith(str(file))
    assert message.isprintable()
    assert len(message) < len(str(file)) + 400


def test_a_truncated_header_says_how_long_it_should_be(file: Path) -> None:
    write(file, {"a": entry(0, 0)}, length=1000)
    with pytest.raises(
        TensorsError, match=rf"its header needs 1008 bytes, but the file has {file.stat().st_size}"
    ):
        read_header(file)


@pytest.mark.parametrize("size", [0, 7])
def test_a_file_too_short_for_a_length_is_truncated(file: Path, size: int) -> None:
    file.write_bytes(b"\0" * size)
    with pytest.raises(TensorsError, match=f"truncated: .* at least 10 bytes, but this has {size}"):
        read_header(file)


@pytest.mark.parametrize("length", [25_000_001, 2**63, 2**64 - 1])
def test_a_header_that_says_it_is_huge_is_refused(file: Path, length: int) -> None:
    write(file, {}, length=length)
    with pytest.raises(TensorsError, match=f"{length} bytes, but at most 25000000"):
        read_header(file)


def test_a_header_of_a_million_tensors_is_refused_at_once(file: Path) -> None:
    empty = json.dumps(entry(0, 0))
    write(file, ("{" + ",".join(f'"{number}":{empty}' for number in range(1_000_000)) + "}").encode())
    begun = time.process_time()
    with pytest.raises(TensorsError, match="at most 25000000 are allowed"):
        read_header(file)
    assert time.process_time() - begun < 0.5  # the library takes six seconds


def test_one_tensor_more_than_allowed_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.weights.tensors.MOST_TENSORS", 3)
    write(file, {"__metadata__": {}, **{str(number): entry(0, 0) for number in range(3)}})
    assert len(read_header(file).tensors) == 3
    for count in (4, 5):
        write(file, {str(number): entry(0, 0) for number in range(count)})
        with pytest.raises(TensorsError, match="more than the 3 tensors"):
            read_header(file)


@pytest.mark.parametrize("filler", [b"[],", b"1,", b"{},"])
def test_a_header_of_countless_values_is_refused_before_it_is_parsed(file: Path, filler: bytes) -> None:
    write(file, b'{"a":[' + filler * 2_000_000 + b"1]}")
    begun = time.process_time()
    with pytest.raises(TensorsError, match="100000 tensors"):
        read_header(file)
    assert time.process_time() - begun < 0.5


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_by_this_name_is_recognised_and_never_run(file: Path, protocol: int) -> None:
    marker = file.with_name("run")
    file.write_bytes(pickle.dumps(Bomb(marker), protocol=protocol) + b"\0" * 100)
    with pytest.raises(TensorsError, match="this is a pickle") as refused:
        read_header(file)
    assert "zoo convert" in refused.value.hint
    assert not marker.exists()
    pickle.loads(file.read_bytes())
    assert marker.exists()


def test_a_torch_archive_by_this_name_is_recognised(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    with pytest.raises(TensorsError, match="this is a pickle"):
        read_header(file)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"GGUF\x03\0\0\0", "this is a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "not a safetensors file"),
    ],
)
def test_other_files_by_this_name_are_named(file: Path, start: bytes, said: str) -> None:
    file.write_bytes(start + b" " * 64)
    with pytest.raises(TensorsError, match=said):
        read_header(file)


def test_a_header_whose_length_looks_like_a_pickle_is_read(file: Path) -> None:
    write(file, b"{}" + b" " * (0x0280 - 2))
    assert file.read_bytes()[:2] == b"\x80\x02"
    assert read_header(file) == Header({}, {})


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(TensorsError, match="there is no such file"):
            read_header(path)


def valid() -> bytes:
    header = {"__metadata__": {"format": "pt"}, "a": entry(0, 8), "b": entry(8, 12, "BF16", [2, 1])}
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + bytes(range(12))


@settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_whatever_the_bytes_only_one_kind_of_error_is_raised(file: Path, data: st.DataObject) -> None:
    content = bytearray(valid())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        if data.draw(st.booleans()):
            content[at:at] = data.draw(
                st.binary(max_size=8) | st.sampled_from([b'"', b"[", b"9" * 30, b"\\ud800"])
            )
        else:
            content[at : at + data.draw(st.integers(1, 8))] = data.draw(st.binary(max_size=8))
    file.write_bytes(content)
    message = ""
    try:
        read_header(file)
    except TensorsError as error:
        message = str(error)
    assert message.isprintable()


def test_what_the_zoo_writes_in_a_header_reads_back(file: Path) -> None:
    said = ZooMetadata("gpt2", "zoo-gpt", {"layers": 2, "head_width": None})
    write(file, {"__metadata__": zoo_metadata_text(said)})
    assert zoo_metadata(file) == said


def test_a_file_of_other_origin_has_no_zoo_metadata(file: Path) -> None:
    write(file, {"__metadata__": {"format": "pt"}})
    assert zoo_metadata(file) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not sound JSON"),
        ("[]", "it is not an object"),
        ('{"schema":1,"schema":1}', "stands twice"),
        ('{"schema":2,"family":"a","config":{}}', "has schema 2, but this zoo reads schema 1"),
        ('{"family":"a","config":{}}', "has schema None"),
        ('{"schema":1,"config":{}}', "must have a family"),
        ('{"schema":1,"family":"a","config":[]}', "must have a family"),
        ('{"schema":1,"family":"a","plugin":3,"config":{}}', "must have a family"),
    ],
)
def test_malformed_zoo_metadata_is_refused(file: Path, text: str, said: str) -> None:
    write(file, {"__metadata__": {"zoo": text}})
    with pytest.raises(TensorsError, match=said):
        zoo_metadata(file)


def test_reading_a_header_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, zoo.weights.tensors, zoo.weights.local; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
