"""The head of a GGUF file is read with every count held against a limit and against the bytes that are there."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.errors import WeightsError
from zoo.weights.gguf_header import GgufTensor, read_gguf


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def number(value: int, code: str = "Q") -> bytes:
    return struct.pack(f"<{code}", value)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return number(len(raw)) + raw


def setting(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + number(kind, "I") + value


def tensor(name: str, *shape: int, kind: int = 0, offset: int = 0) -> bytes:
    sizes = b"".join(map(number, shape))
    return text(name) + number(len(shape), "I") + sizes + number(kind, "I") + number(offset)


def head(*parts: bytes, tensors: int = 0, settings: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + number(version, "I") + number(tensors) + number(settings) + b"".join(parts)


ARRAY, STRING = 9, 8


def test_a_file_of_the_gguf_package_reads_as_it_was_written(file: Path) -> None:
    writer = gguf.GGUFWriter(file, "toy")
    writer.add_uint32("whole", 7)
    writer.add_int64("negative", -(2**40))
    writer.add_float32("epsilon", 1e-5)
    writer.add_float64("precise", 0.1)
    writer.add_bool("flag", True)
    writer.add_string("text", "größe")
    writer.add_array("words", ["a", "", "b c"])
    writer.add_array("counts", [1, -2])
    writer.add_array("shares", [0.1, 2.0])
    writer.add_array("flags", [True, False])
    writer.add_custom_alignment(64)
    writer.add_tensor("one", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("two", np.ones(4, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = read_gguf(file)
    assert read.metadata == {
        "general.architecture": "toy",
        "whole": 7,
        "negative": -(2**40),
        "epsilon": 1e-5,
        "precise": 0.1,
        "flag": True,
        "text": "größe",
        "words": ["a", "", "b c"],
        "counts": [1, -2],
        "shares": [0.1, 2.0],
        "flags": [True, False],
        "general.alignment": 64,
    }
    start = read.tensors["one"].offset
    assert start % 64 == 0
    assert read.tensors == {"one": GgufTensor(0, (2, 3), start), "two": GgufTensor(1, (4,), start + 64)}
    assert np.frombuffer(file.read_bytes(), np.float32, 6, start).tolist() == [0, 1, 2, 3, 4, 5]


HUGE = 2**60


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "truncated: 4 bytes expected at its end, 0 are there"),
        (b"GGML" + bytes(20), "it does not start with GGUF"),
        (head(version=1), "it has version 1, but only 2 and 3 are read"),
        (b"GGUF" + struct.pack(">I", 3), "it has version 50331648"),  # the other byte order
        (head(tensors=1), "truncated: 8 bytes expected at its end, 0 are there"),
        (head(tensors=HUGE), f"it says {HUGE} tensors and 0 settings, but at most"),
        (head(settings=HUGE), f"it says 0 tensors and {HUGE} settings, but at most"),
        (head(text("a") + number(99, "I"), settings=1), "a value of type 99, which is not known"),
        (
            head(setting("a", ARRAY, number(4, "I") + number(HUGE)), settings=1),
            f"an array of {HUGE} elements",
        ),
        (head(setting("a", ARRAY, number(4, "I") + number(10)), settings=1), "truncated: 40 bytes expected"),
        (head(setting("a", ARRAY, number(STRING, "I") + number(10)), settings=1), "truncated: 8 bytes"),
        (head(setting("a", ARRAY, number(ARRAY, "I") + number(1)), settings=1), "or an array in an array"),
        (head(setting("a", STRING, number(HUGE)), settings=1), "its head is larger than 256000000 bytes"),
        (head(setting("a", STRING, number(9)), settings=1), "truncated: 9 bytes expected at its end, 0 are"),
        (head(setting("a", STRING, text(b"\xff")), settings=1), "it has text that is not UTF-8"),
        (head(setting("a\x1b", 0, b"\0"), settings=1), r"cannot be printed: 'a\\x1b'"),
        (head(setting("a", 0, b"\0"), setting("a", 0, b"\0"), settings=2), "the name a stands twice"),
        (head(tensor("a"), tensor("a"), tensors=2), "the name a stands twice"),
        (head(tensor("", 1), tensors=1), "a name is empty"),
        (head(tensor("a", 1, 1, 1, 1, 1), tensors=1), "a has 5 dimensions, but at most 4 are allowed"),
        (head(text("a") + number(2**32 - 1, "I"), tensors=1), "a has 4294967295 dimensions"),
        (head(tensor("a", 0, 3), tensors=1), r"a has shape \[3, 0\], but each size must be 1 to"),
        (head(tensor("a", HUGE), tensors=1), rf"a has shape \[{HUGE}\], but each size"),
        (
            head(setting("general.alignment", 4, number(0, "I")), settings=1),
            "its alignment is 0, but must be",
        ),
        (
            head(setting("general.alignment", STRING, text("x")), settings=1),
            "its alignment is x, but must be",
        ),
    ],
)
def test_a_malformed_file_is_refused_at_once_in_one_line(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    begun = time.process_time()
    with pytest.raises(WeightsError, match=said) as refused:
        read_gguf(file)
    assert time.process_time() - begun < 0.5
    assert str(refused.value).startswith(str(file))
    assert str(refused.value).isprintable()


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        read_gguf(file)


VALID = head(
    setting("general.architecture", STRING, text("toy")),
    setting("words", ARRAY, number(STRING, "I") + number(2) + text("a") + text("bc")),
    setting("share", 6, struct.pack("<f", 0.5)),
    tensor("one", 3, 2),
    tensor("two", 4, offset=32),
    tensors=2,
    settings=3,
)


def test_the_file_that_is_mutated_below_is_sound(file: Path) -> None:
    file.write_bytes(VALID)
    assert list(read_gguf(file).tensors) == ["one", "two"]


@settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_whatever_the_bytes_only_one_kind_of_error_is_raised(file: Path, data: st.DataObject) -> None:
    content = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    file.write_bytes(content)
    message = ""
    try:
        read_gguf(file)
    except WeightsError as error:
        message = str(error)
    assert message.isprintable()
