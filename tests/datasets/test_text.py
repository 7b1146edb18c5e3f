"""Documents, the held-out split, and batches that depend on the seed and the step alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.datasets.text import DataRules, Document, TextBatches, encode, read_documents, split
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
    found = split(FOUR, DataRules(held_out=("d", "b")), seed=0)
    assert (names(found.train), names(found.held_out)) == (["a", "c"], ["b", "d"])


def test_without_names_the_seed_draws_the_share():
    documents = tuple(Document(str(number), "text") for number in range(40))
    drawn = [split(documents, DataRules(held_out_share=0.1), seed) for seed in (1, 1, 2)]
    assert names(drawn[0].held_out) == names(drawn[1].held_out) != names(drawn[2].held_out)
    for found in drawn:
        assert len(found.held_out) == 4
        assert sorted(names(found.train) + names(found.held_out)) == sorted(names(documents))


def test_a_single_document_is_cut_at_a_lines_end():
    text = "".join(f"line {number}\n" for number in range(100))
    found = split([Document("all", text)], DataRules(held_out_share=0.05), seed=0)
    assert found.train[0].text + found.held_out[0].text == text
    assert found.held_out[0].text.startswith("line 9")
    assert 0.04 < len(found.held_out[0].text) / len(text) < 0.07


def test_a_share_of_zero_holds_nothing_out():
    found = split(FOUR, DataRules(held_out_share=0.0), seed=0)
    assert (found.train, found.held_out) == (FOUR, ())


def test_a_split_that_cannot_be_is_refused():
    with pytest.raises(UsageError, match="held_out names 'macbeth', but the documents are a, b, c, d"):
        split(FOUR, DataRules(held_out=("macbeth",)), seed=0)
    with pytest.raises(DataError, match="all 4 documents are held out"):
        split(FOUR, DataRules(held_out=("a", "b", "c", "d")), seed=0)
    with pytest.raises(DataError, match="too few lines to hold out"):
        split([Document("all", "one line")], DataRules(), seed=0)


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


def batches(batch_size=3, seed=5):
    return TextBatches(np.arange(100, dtype=np.uint16), window=7, batch_size=batch_size, seed=seed)


def test_an_epoch_sees_every_token_of_its_windows_once():
    data = batches(batch_size=1)
    assert data.windows == 13
    for epoch in range(3):
        steps = range(1 + epoch * 13, 14 + epoch * 13)
        inputs = torch.cat([data.batch(step)[0, :-1] for step in steps]).sort().values
        assert inputs.tolist() == list(range(int(inputs[0]), int(inputs[0]) + 13 * 7))


def test_a_row_is_a_run_of_text_with_the_next_token_at_its_end():
    rows = batches().batch(4)
    assert (rows.shape, rows.dtype) == ((3, 8), torch.int64)
    assert torch.equal(rows, rows[:, :1] + torch.arange(8))


def test_epochs_differ_in_order_and_in_where_windows_begin():
    data = batches(batch_size=13)
    firsts = [data.batch(epoch)[:, 0] for epoch in (1, 2, 3, 4)]
    assert len({tuple(first.tolist()) for first in firsts}) == 4
    assert len({int(first.min()) for first in firsts}) > 1


def test_batches_depend_on_seed_and_row_alone():
    small, large = batches(batch_size=2), batches(batch_size=6)
    assert torch.equal(torch.cat([small.batch(step) for step in (4, 5, 6)]), large.batch(2))
    assert torch.equal(batches().batch(9), batches().batch(9))
    assert not torch.equal(batches(seed=5).batch(1), batches(seed=6).batch(1))


def test_the_fingerprint_tells_texts_apart_but_not_widths():
    other = TextBatches(np.arange(100, dtype=np.uint32), window=7, batch_size=1, seed=0)
    assert other.fingerprint == batches().fingerprint
    changed = TextBatches(np.arange(1, 101, dtype=np.uint16), window=7, batch_size=1, seed=0)
    assert changed.fingerprint != batches().fingerprint


def test_text_shorter_than_two_windows_is_refused():
    with pytest.raises(
        DataError, match="the text has 14 tokens, but windows of 7 need at least 15"
    ) as refused:
        TextBatches(np.arange(14, dtype=np.uint16), window=7, batch_size=1, seed=0)
    assert refused.value.hint.endswith("--set data.window=6")
    assert TextBatches(np.arange(15, dtype=np.uint16), window=7, batch_size=1, seed=0).batch(1).shape == (
        1,
        8,
    )
