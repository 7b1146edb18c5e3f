"""A text is encoded once, and what is stored is used only when all of it is there."""

from __future__ import annotations

import errno
import multiprocessing
import os

import numpy as np
import pytest

from byte_tokenizer import ByteTokenizer
from zoo.datasets import token_cache
from zoo.datasets.reading import read
from zoo.datasets.text import TextRules
from zoo.datasets.token_cache import cached, find
from zoo.errors import DataError, DiskSpaceError
from zoo.family import Family

U2, U4 = np.dtype("<u2"), np.dtype("<u4")


def never():
    raise AssertionError("was encoded again")
    yield


def stored():
    [path] = token_cache.folder().glob("*.tokens")
    return path


def test_ids_are_stored_once_and_mapped(zoo_home):
    ids = cached("key", U2, iter([[1, 2], [], [65535]]))
    assert (ids.tolist(), ids.dtype, type(ids)) == ([1, 2, 65535], U2, np.memmap)
    assert cached("key", U2, never()).tolist() == [1, 2, 65535]
    assert stored() == zoo_home / "tokens" / "key.tokens"
    assert stored().stat().st_size == 64 + 3 * 2
    assert stored().read_bytes()[64:] == b"\1\0\2\0\xff\xff"


def test_mapped_ids_cannot_be_written():
    ids = cached("key", U2, [[1]])
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 2


def test_no_ids_at_all_are_stored_too():
    assert cached("key", U4, []).tolist() == cached("key", U4, never()).tolist() == []


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-1], id="a byte is missing"),
        pytest.param(lambda content: content + b"\0", id="a byte too many"),
        pytest.param(lambda content: content[:40], id="half a header"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"Zoo" + content[3:], id="another kind of file"),
        pytest.param(lambda content: content[:64] + b"\7" + content[65:], id="other ids"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_made_again(damage):
    whole = cached("key", U2, [[1, 2, 3]]).tolist()
    content = stored().read_bytes()
    stored().write_bytes(damage(content))
    assert find("key", U2) is None
    assert cached("key", U2, [[1, 2, 3]]).tolist() == whole
    assert stored().read_bytes() == content


def test_ids_of_another_width_are_made_again():
    cached("key", U2, [[1, 2]])
    assert cached("key", U4, [[1, 2]]).dtype == U4


def test_what_was_not_written_to_its_end_is_not_there():
    def parts():
        yield [1, 2, 3]
        raise DataError("the text went away")

    with pytest.raises(DataError, match="went away"):
        cached("key", U2, parts())
    assert [path.name for path in token_cache.folder().iterdir()] == ["key.lock"]
    (token_cache.folder() / "key.partial").write_bytes(b"left by a process that was killed" * 9)
    assert cached("key", U2, [[4]]).tolist() == [4]


def test_a_disk_that_is_full_is_said(monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskSpaceError, match="tokens cannot be written: No space left on device") as error:
        cached("key", U2, [[1]])
    assert "ZOO_HOME" in error.value.hint
    assert not list(token_cache.folder().glob("*.partial"))


def test_a_home_that_is_no_folder_is_said(zoo_home):
    zoo_home.write_text("")
    with pytest.raises(DiskSpaceError, match="cannot be written"):
        cached("key", U2, [[1]])


def _encode(began, go, done):
    def parts():
        began.put(os.getpid())
        go.wait(30)
        yield [7]

    done.put(cached("key", U2, parts()).tolist())


def test_of_two_processes_one_encodes_and_the_other_waits():
    spawn = multiprocessing.get_context("spawn")
    began, go, done = spawn.Queue(), spawn.Event(), spawn.Queue()
    both = [spawn.Process(target=_encode, args=(began, go, done)) for _ in range(2)]
    for process in both:
        process.start()
    began.get(timeout=30)
    go.set()
    assert [done.get(timeout=30) for _ in both] == [[7], [7]]
    for process in both:
        process.join(30)
    assert began.empty()


class Counting(ByteTokenizer):
    """Remembers the long texts that it encoded."""

    def __init__(self):
        self.encoded = []

    def encode(self, text):
        if len(text) > 200:
            self.encoded.append(text)
        return super().encode(text)


@pytest.fixture
def counting(monkeypatch):
    tokenizer = Counting()
    monkeypatch.setattr(Family, "resolve", lambda self, field: lambda files: tokenizer)
    return tokenizer


def rows(works, pairs, **rules):
    material = read("text", str(works), TextRules(**rules), seed=1)
    material.bind(Family("pairs", "text", config="", build="", controls=""), {})
    return material.rows(pairs(), seed=0)


def test_a_second_run_of_the_same_text_encodes_nothing(works, pairs, counting):
    first = rows(works, pairs, held_out=("ash",))
    assert len(counting.encoded) == 3
    again = rows(works, pairs, held_out=("ash",), window=4)
    assert len(counting.encoded) == 3
    assert first.fingerprint == again.fingerprint
    assert first.rows(0, 2).tolist() == rows(works, pairs, held_out=("ash",)).rows(0, 2).tolist()


def test_another_text_or_tokenizer_is_encoded_anew(works, pairs, counting):
    rows(works, pairs, held_out=("ash",))
    rows(works, pairs, held_out=("birch",))
    assert len(counting.encoded) == 6
    (works / "cedar.txt").write_text((works / "cedar.txt").read_text().replace("tree", "TREE"))
    rows(works, pairs, held_out=("birch",))
    assert len(counting.encoded) == 9
    counting.start = (0,)
    rows(works, pairs, held_out=("birch",))
    assert len(counting.encoded) == 12
