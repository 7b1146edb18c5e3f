"""zoo score: texts of files and pipes, one line a text; what cannot be scored."""

import json
import math

import pytest

from cli.json_shapes import documented, shape
from zoo import api

LINES = "To be,\n\n  \nor not\u2028to be\r\n"
TEXTS = ["To be,", "or not\u2028to be"]


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text(LINES, encoding="utf-8", newline="")
    return path


@pytest.fixture
def scores(tiny_gpt2):
    """The scores of TEXTS by the Python interface."""
    import zoo

    return zoo.score(str(tiny_gpt2), TEXTS, device="cpu")


def test_a_pipe_gets_four_numbers_a_text_and_the_sums_stand_aside(zoo, tiny_gpt2, lines, scores):
    ran = zoo("score", str(tiny_gpt2), str(lines))
    assert ran.code == 0
    rows = [[float(cell) for cell in line.split("\t")] for line in ran.out.splitlines()]
    for row, score in zip(rows, scores.items, strict=True):
        expected = (score.log_likelihood, score.bits_per_byte, score.nats_per_token, score.tokens)
        assert row == pytest.approx(expected, abs=1e-5)
    assert ran.err.startswith("2 texts, 20 bytes, 20 tokens: -")
    assert f"{scores.bits_per_byte:.4f} bits per byte" in ran.err
    assert zoo("score", str(tiny_gpt2), str(lines), "--quiet").err == ""


def test_json_has_the_texts_and_the_sums(zoo, tiny_gpt2, lines, scores):
    said = json.loads(zoo("score", str(tiny_gpt2), str(lines), "--json").out)
    assert shape(said) == documented("zoo score MODEL FILE --json")
    assert [(item["file"], item["line"], item["text"]) for item in said["items"]] == [
        (str(lines), 1, TEXTS[0]),
        (str(lines), 4, TEXTS[1]),
    ]
    assert said["items"][1]["log_likelihood"] == pytest.approx(scores.items[1].log_likelihood)
    assert said["log_likelihood"] == pytest.approx(scores.log_likelihood)
    assert said["mean_log_likelihood"] == pytest.approx(scores.log_likelihood / 2)
    assert (said["texts"], said["tokens"], said["bytes"]) == (2, 20, 20)


def test_a_whole_file_may_be_one_text(zoo, tiny_gpt2, lines):
    said = json.loads(zoo("score", str(tiny_gpt2), str(lines), "--whole", "--json").out)
    assert [(item["line"], item["text"]) for item in said["items"]] == [(None, LINES)]


def test_several_files_and_a_pipe_are_scored_in_order(zoo, tiny_gpt2, lines):
    said = json.loads(zoo("score", str(tiny_gpt2), "-", str(lines), "--json", stdin="piped\n").out)
    assert [item["text"] for item in said["items"]] == ["piped", *TEXTS]
    assert said["items"][0]["file"] == "-"


def test_each_token_may_be_shown_quoted(zoo, tiny_gpt2, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text('a\t"é\x1b', encoding="utf-8")
    ran = zoo("score", str(tiny_gpt2), str(path), "--per-token")
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert [label for label, *_ in rows] == [f"{path}:1"] * 6
    assert [int(token) for _, token, *_ in rows] == [97, 9, 34, 195, 169, 27]
    assert "".join(json.loads(text) for *_, text in rows) == 'a\t"é\x1b'
    said = json.loads(zoo("score", str(tiny_gpt2), str(path), "--per-token", "--json").out)
    [item] = said["items"]
    assert [row["token"] for row in item["per_token"]] == [97, 9, 34, 195, 169, 27]
    assert sum(row["log_prob"] for row in item["per_token"]) == pytest.approx(item["log_likelihood"])
    assert sum(float(value) for *_, value, _ in rows) == pytest.approx(item["log_likelihood"], abs=1e-4)


def test_a_text_longer_than_the_context_is_said_once(zoo, tiny_gpt2, tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("short\n" + "x" * 70 + "\n" + "y" * 70, encoding="utf-8")
    ran = zoo("score", str(tiny_gpt2), str(path))
    assert ran.err.count("longer than the context of 64 tokens") == 1
    assert f"{path}:2 is longer" in ran.err
    assert len(ran.out.splitlines()) == 3


def test_the_batch_size_changes_nothing_that_is_shown(zoo, tiny_gpt2, tmp_path):
    path = tmp_path / "many.txt"
    path.write_text("".join(f"{'word ' * (n % 7)}{n}\n" for n in range(20)), encoding="utf-8")
    ran = [zoo("score", str(tiny_gpt2), str(path), "--batch-size", size).out for size in ("1", "7", "100")]
    numbers = [[float(cell) for cell in out.split()] for out in ran]
    assert numbers[1] == pytest.approx(numbers[0], abs=1e-4)
    assert numbers[2] == pytest.approx(numbers[0], abs=1e-4)


def test_a_terminal_gets_a_table_with_the_safe_beginning_of_the_text(zoo, tiny_gpt2, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\x1b[2Jwiped [red]" + "x" * 200, encoding="utf-8")
    ran = zoo("score", str(tiny_gpt2), str(path), terminal=True)
    head, row = ran.out.splitlines()
    assert "log-likelihood" in head
    assert "[2Jwiped [red]xxx" in row
    assert row.rstrip().endswith("x…")
    assert len(row) <= 100
    assert "\x1b[2J" not in ran.out
    assert "\r\x1b[K215 tokens\r\x1b[K" in ran.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "FILE has no text to score: it is empty or blank"),
        (b"\n \t\n", "FILE has no text to score"),
        (b"good\nb\xffd\n", "FILE is not UTF-8 text: byte 0xff in line 2"),
        (None, "FILE cannot be read: No such file or directory"),
    ],
)
def test_files_without_text_are_refused_before_anything_is_loaded(
    zoo, tiny_gpt2, tmp_path, monkeypatch, content, said
):
    monkeypatch.setattr(api, "load", lambda *_, **__: pytest.fail("loaded"))
    path = tmp_path / "input.txt"
    if content is not None:
        path.write_bytes(content)
    ran = zoo("score", str(tiny_gpt2), str(path))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: {said.replace('FILE', str(path))}")


def test_a_pipe_without_text_is_called_standard_input(zoo, tiny_gpt2):
    assert "standard input has no text" in zoo("score", str(tiny_gpt2), "-").err
    assert "standard input is not UTF-8" in zoo("score", str(tiny_gpt2), "-", stdin=b"\xff").err


@pytest.mark.parametrize("words", [[], ["FILE", "--batch-size", "0"], ["FILE", "--colour"]])
def test_wrong_usage_is_explained(zoo, tiny_gpt2, words):
    assert zoo("score", str(tiny_gpt2), *words).code == 2


def broken(monkeypatch, change):
    """Let the loaded model be changed before it is used."""
    load = api.load

    def loaded(*words, **options):
        model = load(*words, **options)
        return change(model) or model

    monkeypatch.setattr(api, "load", loaded)


def test_what_is_not_a_number_is_told_and_fails(zoo, tiny_gpt2, lines, monkeypatch):
    import torch

    def spoil(model):
        with torch.no_grad():
            model.network.tokens.weight[ord("r")] = math.nan

    broken(monkeypatch, spoil)
    ran = zoo("score", str(tiny_gpt2), str(lines))
    assert (ran.code, ran.out.count("nan\t")) == (1, 6)
    assert f"warning: the log-likelihood of 2 of 2 texts, the first {lines}:1, is no finite number" in ran.err
    ran = zoo("score", str(tiny_gpt2), str(lines), "--json", "--per-token")
    said = json.loads(ran.out, parse_constant=lambda word: pytest.fail(word))
    assert (ran.code, said["log_likelihood"], said["items"][0]["bits_per_byte"]) == (1, None, None)


def test_without_a_tokenizer_nothing_can_be_scored(zoo, tiny_gpt2, lines, monkeypatch):
    from dataclasses import replace

    broken(monkeypatch, lambda model: replace(model, tokenizer=None))
    ran = zoo("score", str(tiny_gpt2), str(lines))
    assert (ran.code, "has no tokenizer files" in ran.err) == (1, True)


def test_a_tokenizer_that_changes_the_text_is_told(zoo, tiny_gpt2, lines, monkeypatch):
    from dataclasses import replace

    from byte_tokenizer import ByteTokenizer

    class Small(ByteTokenizer):
        def encode(self, text):
            return list(text.lower().encode())

    broken(monkeypatch, lambda model: replace(model, tokenizer=Small()))
    ran = zoo("score", str(tiny_gpt2), str(lines))
    assert ran.code == 0
    assert f"warning: the tokenizer changes 1 of 2 texts, the first {lines}:1,: " in ran.err


def test_a_model_of_another_modality_is_not_taken_for_text(zoo, lines, monkeypatch):
    from dataclasses import replace

    from zoo import targets

    found = targets.find("gpt2")
    found = replace(found, family=replace(found.family, modality="image"))
    monkeypatch.setattr(targets, "find", lambda *_, **__: found)
    for command in (["score", "gpt2", str(lines)], ["eval", "gpt2", "--data", str(lines)]):
        ran = zoo(*command)
        assert (ran.code, "gpt2-small makes image" in ran.err) == (1, True)
