"""Documents are read and encoded in pieces, and the pieces are the same text and the same ids as the whole."""

from __future__ import annotations

import itertools
import random
import tracemalloc
import zipfile

import numpy as np
import pytest

from byte_tokenizer import ByteTokenizer
from zoo.datasets import documents, encoding, vocabulary
from zoo.datasets.documents import Document, is_cut, of_files
from zoo.datasets.encoding import encode, encoded, with_start
from zoo.datasets.source import find
from zoo.errors import DataError


@pytest.fixture
def small_pieces(monkeypatch):
    """Files are read 7 bytes at a time, and pieces end after 50 characters."""
    monkeypatch.setattr(documents, "_BLOCK_BYTES", 7)
    monkeypatch.setattr(documents, "_PIECE", 50)


def write(path, text):
    path.write_bytes(text.encode())
    [document] = of_files(find(str(path)))
    return document


TEXT = "Ödön's naïve 🦀 line\n\n\n  second line\nthird one\r\nfourth\n\tfifth\nsixth\nseventh and last\n" * 9


def test_the_pieces_are_the_text(small_pieces, tmp_path):
    document = write(tmp_path / "a.txt", TEXT)
    pieces = list(document.pieces())
    assert "".join(pieces) == document.text == TEXT
    assert document.characters == len(TEXT)
    assert len(pieces) > 5


def test_pieces_end_at_single_line_ends_alone(small_pieces, tmp_path):
    *pieces, _ = write(tmp_path / "a.txt", TEXT).pieces()
    ends = {piece.split("\n")[-2] for piece in pieces}
    assert ends <= {"  second line", "\tfifth", "sixth", "seventh and last"}
    for piece, following in zip(pieces, [*pieces[1:], "x"], strict=True):
        assert is_cut(piece + following, len(piece))


def test_a_text_without_a_place_to_cut_is_one_piece(small_pieces, tmp_path):
    text = "one line " * 30 + "\n\n" + "another " * 30
    assert list(write(tmp_path / "a.txt", text).pieces()) == [text]


def test_a_part_of_a_document_is_what_slicing_gives(small_pieces, tmp_path):
    document = write(tmp_path / "a.txt", TEXT)
    for start, end in ((0, 1), (3, 40), (100, None), (len(TEXT), None), (0, len(TEXT) + 9)):
        part = Document("a", document.content, start, end)
        assert part.text == TEXT[start:end]
        assert Document("a", TEXT, start, end).text == TEXT[start:end]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_a_document_is_divided_at_a_lines_end(small_pieces, tmp_path, share):
    document = write(tmp_path / "a.txt", TEXT)
    head, tail = document.divided(share)
    assert head.text + tail.text == TEXT
    at = TEXT.rfind("\n", 0, round(len(TEXT) * (1 - share))) + 1
    assert len(head.text) == at
    again, _ = tail.divided(0.5)
    assert tail.text.startswith(again.text)


def test_the_byte_that_is_no_text_is_named_wherever_blocks_end(small_pieces, tmp_path):
    for before in ("", "abcdef", "abcdeé", "abcdefg", "🦀🦀"):
        (tmp_path / "a.txt").write_bytes(before.encode() + b"\xff rest")
        with pytest.raises(DataError, match=f"is not UTF-8 text: byte {len(before.encode())} is 0xff"):
            of_files(find(str(tmp_path / "a.txt")))
    (tmp_path / "a.txt").write_bytes("cut é".encode()[:-1])
    with pytest.raises(DataError, match="is not UTF-8 text: byte 4 is 0xc3"):
        of_files(find(str(tmp_path / "a.txt")))


def test_an_archive_that_is_damaged_is_said(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "text that is stored as it is")
    content = (tmp_path / "a.zip").read_bytes().replace(b"stored", b"stOred")
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip:a\.txt cannot be read: Bad CRC-32"):
        of_files(find(str(tmp_path / "a.zip")))


def learned(folder, text, size=400):
    """GPT's tokenizer with a vocabulary of this text."""
    from zoo_gpt.tokenizer import load

    vocabulary.learn([text], size, folder / "tokenizer.json")
    return load({"tokenizer.json": folder / "tokenizer.json"})


def test_encoding_piece_by_piece_gives_the_ids_of_the_whole(small_pieces, tmp_path):
    tokenizer = learned(tmp_path, TEXT)
    random.seed(3)
    parts = ["word", "line", "  ", " ", "\n", "\n", "\n\n", "\t", "é", "12", ".", "'s", "<|end|>", "\r\n"]
    for case in range(30):
        text = "".join(random.choices(parts, k=200))
        document = write(tmp_path / "a.txt", text)
        whole = with_start(text, tokenizer)
        assert encode([document], tokenizer).tolist() == whole, case
    assert len(list(encoded([write(tmp_path / "a.txt", TEXT)], tokenizer))) > 5


def test_a_learned_vocabulary_is_the_same_from_pieces(small_pieces, tmp_path):
    document = write(tmp_path / "a.txt", TEXT)
    vocabulary.learn(document.pieces(), 400, tmp_path / "pieces.json")
    vocabulary.learn([TEXT], 400, tmp_path / "whole.json")
    assert (tmp_path / "pieces.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


class Marking(ByteTokenizer):
    """Puts a token in front of every text, and makes one of a line's end and the letter after it."""

    def encode(self, text):
        ids, at = [256], 0
        while at < len(text):
            joined = text[at] == "\n" and text[at + 1 : at + 2] == "s"
            ids.append(1 if joined else ord(text[at]))
            at += 2 if joined else 1
        return ids


def test_a_text_is_not_cut_where_the_tokenizer_joins(small_pieces, tmp_path):
    """No piece may end before an s; what stands in front of every text stands there once."""
    text = "ash\nsecond\nthird\nsix\n" * 30
    found = list(encoded([write(tmp_path / "a.txt", text)], Marking()))
    assert list(itertools.chain(*found)) == Marking().encode(text)
    assert 3 < len(found) < text.count("\n")


def test_a_tokenizer_that_marks_beginnings_is_given_the_document_whole(small_pieces, tmp_path):
    class Beginnings(ByteTokenizer):
        def encode(self, text):
            return [1, *text.encode()] if text else []

    text = "one line\n" * 30
    [ids] = encoded([write(tmp_path / "a.txt", text)], Beginnings())
    assert ids == [256, 1, *text.encode()]


def test_shakespeare_in_pieces_has_the_ids_of_the_whole(tmp_path, monkeypatch):
    """Half a million characters of the works as one file, cut about every 32 thousand."""
    from zoo_gpt.tokenizer import load

    monkeypatch.setattr(documents, "_BLOCK_BYTES", 2**14)
    monkeypatch.setattr(documents, "_PIECE", 2**15)
    text = "\n\n\n".join(document.text for document in of_files(find("shakespeare")))[:500_000]
    document = write(tmp_path / "all.txt", text)
    tokenizer = load({"tokenizer.json": shakespeare_tokenizer()})
    parts = list(encoded([document], tokenizer))
    assert len(parts) > 10
    assert list(itertools.chain(*parts)) == with_start(text, tokenizer)


def shakespeare_tokenizer():
    """The vocabulary of 2,048 tokens that shakespeare-nano ships."""
    from importlib import resources

    [found] = (resources.files("zoo_gpt") / "weights").glob("**/tokenizer.json")
    return found


def test_a_large_text_is_encoded_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "_BLOCK_BYTES", 2**14)
    monkeypatch.setattr(documents, "_PIECE", 2**14)
    line = "a line of a text that is larger than what it may take\n"
    [document] = of_files(find(str(_written(tmp_path / "a.txt", line * 40_000))))  # 2.2 MB
    tracemalloc.start()
    count = sum(np.array(ids, np.uint16).size for ids in encoded([document], ByteTokenizer()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == len(line) * 40_000 + 1
    assert peak < 1_000_000


def _written(path, text):
    path.write_text(text)
    return path


def test_what_a_tokenizer_was_made_of_decides_its_digest(tmp_path):
    """Files beside the weights that it does not read do not matter."""
    one = _written(tmp_path / "one.json", "one")
    files = {"tokenizer.json": one, "metrics.json": _written(tmp_path / "metrics.json", "1")}

    def digest(files):
        read = encoding.FilesRead(files)
        assert "tokenizer.json" in read
        read["tokenizer.json"]
        return encoding.tokenizer_digest(ByteTokenizer(), read)

    before = digest(files)
    _written(tmp_path / "metrics.json", "2")
    assert digest(files) == before
    _written(one, "two")
    assert digest(files) != before
