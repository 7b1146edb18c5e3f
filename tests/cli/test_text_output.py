"""Samples on their way out: in order, as they arrive, and saved whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from zoo.errors import UsageError
from zoo.modality.text import TextPiece, TextSample
from zoo_cli import saving, text_output


def whole(index, text, prompt="P:"):
    return TextSample(index, 5, prompt, text, tuple(text.encode()), "end")


def pieces(*arriving):
    """(index, text) pairs; the last of each index ends its sample."""
    made = []
    for at, (index, text) in enumerate(arriving):
        said = "".join(t for i, t in arriving if i == index)
        last = all(i != index for i, _ in arriving[at + 1 :])
        made.append(TextPiece(index, text, whole(index, said) if last else None))
    return made


ARRIVING = pieces((3, "a"), (4, "x"), (3, "b"), (5, "!"), (4, "y"), (3, "c"), (4, "z"))


def test_later_samples_wait_for_their_turn():
    assert [(p.index, p.text) for p in text_output.in_order(ARRIVING, 3)] == [
        (3, "a"), (3, "b"), (3, "c"), (4, "x"), (4, "y"), (4, "z"), (5, "!"),
    ]  # fmt: skip


def test_the_sample_whose_turn_it_is_does_not_wait():
    source = iter(ARRIVING)
    ordered = text_output.in_order(source, 3)
    assert next(ordered).text == "a"
    assert len(list(source)) == len(ARRIVING) - 1


def test_a_reader_sees_prompt_and_continuation_under_a_header(capsys):
    text_output.send(ARRIVING, 3, [text_output.Reading("P:", headers=True)])
    assert (
        capsys.readouterr().out == "--- sample 3 ---\nP:abc\n--- sample 4 ---\nP:xyz\n--- sample 5 ---\nP:!\n"
    )


def test_one_sample_needs_no_header_and_no_second_line_break(capsys):
    text_output.send(pieces((0, "a\n")), 0, [text_output.Reading("", headers=False)])
    assert capsys.readouterr().out == "a\n"


def test_an_interrupted_line_is_ended(capsys):
    def broken():
        yield TextPiece(0, "half a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        text_output.send(broken(), 0, [text_output.Reading("", headers=False)])
    assert capsys.readouterr().out == "half a\n"


def test_escape_sequences_cut_into_pieces_do_not_pass(capsys):
    text_output.send(
        pieces((0, "\x1b"), (0, "[2J\x9b"), (0, "3m\u202eend")),
        0,
        [text_output.Reading("\x07", headers=False)],
    )
    assert capsys.readouterr().out == "[2J3mend\n"


def test_json_lines_are_written_as_each_sample_ends(capsys):
    text_output.send(ARRIVING, 3, [text_output.JsonLines()])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["index"] for line in lines] == [3, 4, 5]
    assert lines[0] == {
        "index": 3, "seed": 5, "prompt": "P:", "text": "abc", "tokens": [97, 98, 99], "finish": "end",
    }  # fmt: skip


def test_a_file_of_lines_holds_exact_text(tmp_path):
    path = tmp_path / "new" / "out.jsonl"
    text_output.send(pieces((0, "\x1b[2J \u202e \u00e9")), 0, [saving.saved(path, replace=False)])
    assert json.loads(path.read_text(encoding="utf-8"))["text"] == "\x1b[2J \u202e \u00e9"
    assert [p.name for p in path.parent.iterdir()] == ["out.jsonl"]


def test_a_folder_holds_a_text_a_sample_and_the_lines(tmp_path):
    text_output.send(ARRIVING, 3, [saving.saved(tmp_path / "out", replace=False)])
    assert {p.name: p.read_text() for p in (tmp_path / "out").glob("*.txt")} == {
        "sample-000003.txt": "P:abc",
        "sample-000004.txt": "P:xyz",
        "sample-000005.txt": "P:!",
    }
    assert len((tmp_path / "out" / "samples.jsonl").read_text().splitlines()) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["out.jsonl", "out"])
def test_nothing_stands_under_the_name_before_it_is_whole(tmp_path, name):
    path = tmp_path / name
    seen = []

    def watched():
        for piece in ARRIVING:
            seen.append(path.exists())
            yield piece

    text_output.send(watched(), 3, [saving.saved(path, replace=False)])
    assert not any(seen)
    assert path.exists()


@pytest.mark.parametrize("name", ["out.jsonl", "out"])
def test_an_interrupted_run_keeps_the_samples_that_were_whole(tmp_path, name):
    def interrupted():
        yield from ARRIVING[:-1]  # sample 3 is whole, 4 is not
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        text_output.send(interrupted(), 3, [saving.saved(tmp_path / name, replace=False)])
    lines = tmp_path / name if name.endswith("l") else tmp_path / name / "samples.jsonl"
    assert [json.loads(line)["index"] for line in lines.read_text().splitlines()] == [3]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["out.jsonl", "out"])
def test_a_run_without_a_sample_leaves_nothing(tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        text_output.send(_interrupted_at_once(), 0, [saving.saved(tmp_path / name, replace=False)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is closed to root")
@pytest.mark.parametrize("name", ["out.jsonl", "out", "new/out"])
def test_what_cannot_be_written_is_refused_at_once(tmp_path, name):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match=r"cannot write to .*: Permission denied"):
        saving.saved(tmp_path / name, replace=False)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("name", ["out.jsonl", "out", "new/out"])
def test_trying_whether_a_path_can_be_written_leaves_nothing(tmp_path, name):
    saving.saved(tmp_path / name, replace=False)
    assert list(tmp_path.iterdir()) == []


def _interrupted_at_once():
    yield TextPiece(0, "a")
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["out.jsonl", "out"])
def test_samples_that_are_there_are_replaced_only_when_asked(tmp_path, name):
    path = tmp_path / name
    text_output.send(ARRIVING, 3, [saving.saved(path, replace=False)])
    with pytest.raises(UsageError) as raised:
        saving.saved(path, replace=False)
    assert "--yes" in raised.value.hint
    text_output.send(pieces((0, "new")), 0, [saving.saved(path, replace=True)])
    assert sum(1 for p in tmp_path.rglob("*") if p.suffix == ".txt") == (0 if name.endswith("l") else 1)
    assert "new" in "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())


def test_a_folder_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"):
        saving.saved(tmp_path, replace=True)


@pytest.mark.parametrize("name", ["out.txt", "out.json", "taken"])
def test_only_jsonl_and_folders_are_written(tmp_path, name):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="cannot write samples"):
        saving.saved(tmp_path / name, replace=True)


def test_a_folder_named_like_a_file_is_refused(tmp_path):
    Path(tmp_path / "a.jsonl").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        saving.saved(tmp_path / "a.jsonl", replace=True)
