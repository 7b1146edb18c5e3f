"""Documents, the held-out split, and rows that depend on the seed and their number alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.datasets.text import Document, TextRows, TextRules, encode, read_documents, split
from zoo.errors import DataError, UsageError

FOUR = tuple(Document(name, f"{name}\n") for name in ("a", "b", "c", "d"))


def names(documents):
    return [document.name for document in documents]


def test_a_folder_is_one_document_a_text_file_in_order_of_name(works):
    (works / "notes.md").write_text("not a document")
    assert names(read_documents(works)) == ["ash", "birch", "cedar", "dogwood"]
    assert names(read_documents(works / "cedar.txt")) == ["cedar"]


def test_line_ends_are_read_as_they_are(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\n")
    assert read_documents(tmp_path)[0].text == "one\r\ntwo\n"


def test_what_cannot_be_read_as_text_is_said(tmp_path):
    with pytest.raises(DataError, match=r"has no \.txt file"):
        read_documents(tmp_path)
    with pytest.raises(DataError, match=r"absent\.txt cannot be read: No such file"):
        read_documents(tmp_path / "absent.txt")
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8 text: byte 3 is 0xe9"):
        read_documents(tmp_path)


def test_named_documents_are_held_out_and_no_others():
    found = split(FOUR, TextRules(held_out=("d", "b")), seed=0)
    assert (names(found.train), names(found.held_out)) == (["a", "c"], ["b", "d"])


def test_without_names_the_seed_draws_the_share():
    documents = tuple(Document(str(number), "text") for number in range(40))
    drawn = [split(documents, TextRules(held_out_share=0.1), seed) for seed in (1, 1, 2)]
    assert names(drawn[0].held_out) == names(drawn[1].held_out) != names(drawn[2].held_out)
    for found in drawn:
        assert len(found.held_out) == 4
        assert sorted(names(found.train) + names(found.held_out)) == sorted(names(documents))


def test_a_single_document_is_cut_at_a_lines_end():
    text = "".join(f"line {number}\n" for number in range(100))
    found = split([Document("all", text)], TextRules(held_out_share=0.05), seed=0)
    assert found.train[0].text + found.held_out[0].text == text
    assert found.held_out[0].text.startswith("line 9")
    assert 0.04 < len(found.held_out[0].text) / len(text) < 0.07


def test_a_share_of_zero_holds_nothing_out():
    found = split(FOUR, TextRules(held_out_share=0.0), seed=0)
    assert (found.train, found.held_out) == (FOUR, ())


def test_a_split_that_cannot_be_is_refused():
    with pytest.raises(UsageError, match="held_out names 'macbeth', but the documents are a, b, c, d"):
        split(FOUR, TextRules(held_out=("macbeth",)), seed=0)
    with pytest.raises(DataError, match="all 4 documents are held out"):
        split(FOUR, TextRules(held_out=("a", "b", "c", "d")), seed=0)
    with pytest.raises(DataError, match="too few lines to hold out"):
        split([Document("all", "one line")], TextRules(), seed=0)


def test_every_document_begins_with_the_start_once(tokenizer):
    assert encode(FOUR[:2], tokenizer).tolist() == [256, 97, 10, 256, 98, 10]
    tokenizer.encode = lambda text: [
        256,
        *text.encode(),
    ]  # as tokenizers do that put the start there themselves
    assert encode(FOUR[:2], tokenizer).tolist() == [256, 97, 10, 256, 98, 10]


def test_ids_take_two_bytes_where_that_is_enough(tokenizer):
    assert encode(FOUR, tokenizer).dtype == np.uint16
    tokenizer.vocabulary = 2**16 + 1
    assert encode(FOUR, tokenizer).dtype == np.uint32


def rows(seed=5):
    return TextRows(np.arange(100, dtype=np.uint16), window=7, seed=seed)


def test_an_epoch_sees_every_token_of_its_windows_once():
    data = rows()
    assert (data.epoch, data.unit, data.units) == (13, "tokens", 7)
    for epoch in range(3):
        inputs = data.rows(13 * epoch, 13)[:, :-1].flatten().sort().values
        assert inputs.tolist() == list(range(int(inputs[0]), int(inputs[0]) + 13 * 7))


def test_a_row_is_a_run_of_text_with_the_next_token_at_its_end():
    found = rows().rows(9, 3)
    assert (found.shape, found.dtype) == ((3, 8), torch.int64)
    assert torch.equal(found, found[:, :1] + torch.arange(8))


def test_epochs_differ_in_order_and_in_where_windows_begin():
    firsts = [rows().rows(13 * epoch, 13)[:, 0] for epoch in range(4)]
    assert len({tuple(first.tolist()) for first in firsts}) == 4
    assert len({int(first.min()) for first in firsts}) > 1


def test_a_row_depends_on_the_seed_and_its_number_alone():
    data = rows()
    assert torch.equal(torch.cat([data.rows(11, 3), data.rows(14, 1)]), rows().rows(11, 4))
    assert not torch.equal(data.rows(0, 3), rows(seed=6).rows(0, 3))


def test_the_fingerprint_tells_texts_apart_but_not_widths():
    other = TextRows(np.arange(100, dtype=np.uint32), window=7, seed=0)
    assert other.fingerprint == rows().fingerprint
    changed = TextRows(np.arange(1, 101, dtype=np.uint16), window=7, seed=0)
    assert changed.fingerprint != rows().fingerprint


def test_text_shorter_than_two_windows_is_refused():
    with pytest.raises(
        DataError, match="the text has 14 tokens, but windows of 7 need at least 15"
    ) as refused:
        TextRows(np.arange(14, dtype=np.uint16), window=7, seed=0)
    assert refused.value.hint.endswith("--set data.window=6")
    assert TextRows(np.arange(15, dtype=np.uint16), window=7, seed=0).rows(0, 1).shape == (1, 8)
