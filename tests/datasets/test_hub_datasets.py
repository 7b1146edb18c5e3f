"""Text from data sets of the Hub, streamed by the real `datasets` library from a Hub on loopback."""

from __future__ import annotations

import json
import sys
import time

import pytest

from byte_tokenizer import ByteTokenizer
from loopback_datasets import hub as hub
from loopback_datasets import parquet
from zoo.datasets import hub_rows, token_cache
from zoo.datasets.reading import read
from zoo.datasets.source import find
from zoo.datasets.text import TextRules
from zoo.errors import DataError, HubError, MissingDependencyError, OfflineError, UsageError
from zoo.family import Family

LINES = [f"story {number} of the {'long' if number % 3 else 'short'} winter" for number in range(60)]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(autouse=True)
def stories(request):
    """The data set user/stories: 60 rows to train on and 2 others."""
    if "hub" in request.fixturenames:
        rows = [{"text": line, "number": at} for at, line in enumerate(LINES)]
        files = {"train.jsonl": jsonl(rows), "test.jsonl": jsonl(rows[:2])}
        request.getfixturevalue("hub").add("user/stories", files)


@pytest.fixture
def tokenizer(monkeypatch):
    """A token a byte, whatever the family says."""
    made = ByteTokenizer()
    monkeypatch.setattr(Family, "resolve", lambda self, field: lambda files: made)
    return made


def bound(name, *, offline=False, seed=1, **rules):
    found = read("text", name, TextRules(**rules), seed, offline=offline)
    found.bind(Family("pairs", "text", config="", build="", controls=""), {})
    return found


def texts(rows):
    """The documents that rows are drawn from."""
    return "".join(chr(byte) if byte < 256 else "|" for byte in rows.ids).split("|")[1:]


def test_rows_are_streamed_from_the_split_that_is_meant(hub):
    assert [row["text"] for row in hub_rows.settle(find("hf:user/stories")).rows()] == LINES
    found = hub_rows.settle(find("hf:user/stories:test")).rows()
    assert [row["number"] for row in found] == [0, 1]
    assert found.columns == {"text": "string", "number": "int64"}


def test_documents_are_trained_on_or_held_out_never_both(hub, tokenizer, pairs):
    found = bound("hf:user/stories", held_out_share=0.2)
    trained = texts(found.rows(pairs(), seed=0))
    measured = found._corpus.measured()
    assert sorted(trained + measured) == sorted(LINES)
    assert 3 <= len(measured) <= 24
    commit, _ = hub.repos["user/stories"]
    assert found.summary.endswith(f"tokens of 60 documents, {len(measured)} held out, commit {commit}")
    assert list(found.evaluate(pairs().eval())) == ["held_out_bits_per_byte", "held_out_bytes"]


def test_the_seed_decides_what_is_held_out(hub, tokenizer, pairs):
    held = [bound("hf:user/stories", seed=seed, held_out_share=0.2)._corpus.measured() for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


def test_a_second_run_asks_for_no_row_and_works_offline(hub, tokenizer, pairs):
    first = bound("hf:user/stories", held_out_share=0.2)
    rows = first.rows(pairs(), seed=0)
    hub.asked.clear()
    again = bound("hf:user/stories", held_out_share=0.2)
    assert again.rows(pairs(), seed=0).fingerprint == rows.fingerprint
    assert again._corpus.measured() == first._corpus.measured()
    assert hub.asked == ["GET /api/datasets/user/stories"]
    offline = bound("hf:user/stories", held_out_share=0.2, offline=True)
    assert offline.rows(pairs(), seed=0).fingerprint == rows.fingerprint
    assert len(hub.asked) == 1


def test_a_full_commit_is_taken_without_asking(hub, tokenizer, pairs):
    commit, _ = hub.repos["user/stories"]
    rows = bound(f"hf:user/stories@{commit}").rows(pairs(), seed=0)
    hub.asked.clear()
    assert bound(f"hf:user/stories@{commit}").rows(pairs(), seed=0).fingerprint == rows.fingerprint
    assert hub.asked == []


def test_a_data_set_that_changed_is_read_anew(hub, tokenizer, pairs):
    before = bound("hf:user/stories").rows(pairs(), seed=0).fingerprint
    hub.add("user/stories", {"train.jsonl": jsonl([{"text": line.upper()} for line in LINES])})
    assert bound("hf:user/stories").rows(pairs(), seed=0).fingerprint != before


def test_offline_a_data_set_that_was_never_read_is_refused(hub, monkeypatch):
    with pytest.raises(OfflineError, match="hf:user/stories was never read here"):
        bound_without_tokenizer("hf:user/stories", offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="was never read here"):
        bound_without_tokenizer("hf:user/stories")
    with pytest.raises(OfflineError, match="is streamed from the Hub, but the network may not be used"):
        hub_rows.settle(find("hf:user/stories@" + "a" * 40)).rows()
    assert hub.asked == []


def bound_without_tokenizer(name, *, offline=False):
    return read("text", name, TextRules(), 0, offline=offline)


def test_a_vocabulary_is_learned_from_what_is_trained_on(hub, tokenizer, tmp_path):
    found = bound("hf:user/stories", vocabulary=300)
    found.learn(tmp_path)
    hub.asked.clear()
    bound("hf:user/stories", vocabulary=300, offline=True).learn(tmp_path)
    assert hub.asked == []
    learned = json.loads((tmp_path / "tokenizer.json").read_text())
    assert "story" in learned["model"]["vocab"]


def test_the_first_documents_only(hub, tokenizer, pairs):
    trained = texts(bound("hf:user/stories", documents=7, held_out_share=0.0).rows(pairs(), seed=0))
    assert trained == LINES[:7]


@pytest.mark.parametrize(
    ("columns", "wanted", "chosen"),
    [
        ({"text": "string", "title": "string"}, None, "text"),
        ({"id": "int64", "story": "large_string"}, None, "story"),
        ({"text": "string", "title": "string"}, "title", "title"),
    ],
)
def test_the_column_of_text_is_found(columns, wanted, chosen):
    assert hub_rows.Rows(find("hf:user/stories"), columns, None).text_column(wanted) == chosen


def test_a_column_that_is_not_clear_lists_them_all():
    rows = hub_rows.Rows(find("hf:user/stories"), {"a": "string", "b": "string", "n": "int64"}, None)
    with pytest.raises(DataError, match="has 2 columns of text; its columns are a, b, n") as unclear:
        rows.text_column(None)
    assert unclear.value.hint.endswith("--set data.column=NAME")
    with pytest.raises(DataError, match="has no column 'c'; it has a, b, n"):
        rows.text_column("c")


def test_names_of_columns_are_shown_without_what_a_terminal_would_obey():
    rows = hub_rows.Rows(find("hf:user/stories"), {"a\x1b[2J": "int64"}, None)
    with pytest.raises(DataError, match="has 0 columns of text") as unclear:
        rows.text_column(None)
    assert "\x1b" not in str(unclear.value)


def test_what_another_process_has_seen_of_the_rows_is_not_streamed_again(hub, tokenizer, pairs):
    """Both begin before either has gone through the rows; the second then finds the ids stored."""
    first, second = (bound("hf:user/stories", held_out_share=0.2) for _ in range(2))
    first.rows(pairs(), seed=0)
    hub.asked.clear()
    second.rows(pairs(), seed=0)
    assert second.summary == first.summary
    assert second._corpus.measured() == first._corpus.measured()
    assert hub.asked == []


def test_a_column_of_numbers_is_not_text(hub, tokenizer, pairs):
    with pytest.raises(DataError, match="column number has int, not text"):
        bound("hf:user/stories", column="number").rows(pairs(), seed=0)
    assert not list(token_cache.folder().glob("*.tokens"))


def test_a_row_without_text_is_no_document(hub, tokenizer, pairs):
    rows = [{"text": line} for line in ("first " * 5, None, "", "last " * 5)]
    hub.add("user/gaps", {"train.jsonl": jsonl(rows)})
    assert texts(bound("hf:user/gaps", held_out_share=0.0).rows(pairs(), seed=0)) == [
        "first " * 5,
        "",
        "last " * 5,
    ]


def test_one_of_several_sets_in_a_repo_is_named(hub):
    card = "configs:\n- config_name: a\n  data_files: a.jsonl\n- config_name: b\n  data_files: b.jsonl\n"
    files = {f"{name}.jsonl": jsonl([{"text": f"of {name}"}]) for name in ("a", "b")}
    hub.add("user/two", {"README.md": f"---\n{card}---\n".encode(), **files})
    found = [list(hub_rows.settle(find(f"hf:user/two/{name}")).rows()) for name in ("a", "b")]
    assert found == [[{"text": "of a"}], [{"text": "of b"}]]
    with pytest.raises(HubError, match=r"hf:user/two cannot be read: Config name is missing.*'a', 'b'"):
        hub_rows.settle(find("hf:user/two")).rows()


def test_a_file_of_rows_that_was_moved_is_not_encoded_again(tmp_path, tokenizer, pairs):
    path = tmp_path / "stories.jsonl"
    path.write_bytes(jsonl([{"text": line} for line in LINES]))
    before = bound(str(path)).rows(pairs(), seed=0).fingerprint
    path = path.rename(tmp_path / "moved.jsonl")
    assert bound(str(path)).rows(pairs(), seed=0).fingerprint == before
    assert len(list(token_cache.folder().glob("*.tokens"))) == 1


def test_the_summary_of_a_file_of_rows_names_no_folder(tmp_path):
    path = tmp_path / "stories.jsonl"
    path.write_bytes(jsonl([{"text": line} for line in LINES]))
    assert read("text", str(path), TextRules(), 0).summary == "documents of stories.jsonl"


def test_documents_cannot_be_held_out_by_name(hub):
    with pytest.raises(UsageError, match="rows have no names"):
        read("text", "hf:user/stories", TextRules(held_out=("a",)), 0)


def test_what_the_hub_does_not_have_is_said(hub):
    with pytest.raises(HubError, match="hf:user/absent cannot be read"):
        hub_rows.settle(find("hf:user/absent"))
    with pytest.raises(HubError, match="hf:user/stories@v9 cannot be read"):
        hub_rows.settle(find("hf:user/stories@v9"))
    with pytest.raises(HubError, match=r"hf:user/stories:dev cannot be read: .*train"):
        hub_rows.settle(find("hf:user/stories:dev")).rows()


def test_a_hub_that_fails_on_the_way_leaves_no_ids_behind(hub, tokenizer, pairs, monkeypatch):
    """The second of two files is answered with an error however often it is asked for."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    rows = jsonl([{"text": line} for line in LINES])
    hub.add("user/stories", {"train-0.jsonl": rows, "train-1.jsonl": rows})
    hub.fail = "train-1.jsonl"
    with pytest.raises(HubError, match=r"hf:user/stories cannot be read: .*500"):
        bound("hf:user/stories").rows(pairs(), seed=0)
    assert [path.suffix for path in token_cache.folder().iterdir()] == [".lock"]
    hub.fail = ""
    assert bound("hf:user/stories").rows(pairs(), seed=0).epoch > 100


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("stories.jsonl", jsonl([{"text": line} for line in LINES])),
        ("stories.parquet", parquet({"text": LINES})),
    ],
)
def test_files_of_rows_are_read_in_the_same_way(tmp_path, tokenizer, pairs, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert texts(bound(str(path), held_out_share=0.0).rows(pairs(), seed=0)) == LINES


def test_a_file_of_rows_that_is_damaged_is_refused(tmp_path, tokenizer, pairs):
    path = tmp_path / "stories.parquet"
    path.write_bytes(parquet({"text": LINES})[:-20])
    with pytest.raises(DataError, match=r"stories\.parquet cannot be read"):
        bound(str(path)).rows(pairs(), seed=0)


def test_without_the_package_the_extra_is_named(hub, monkeypatch):
    """A folder `datasets`, such as this one, can be imported but is not it."""
    source = hub_rows.settle(find("hf:user/stories"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match="need the package datasets") as missing:
        source.rows()
    assert missing.value.hint == "pip install 'zoo-core[hub-data]'"
