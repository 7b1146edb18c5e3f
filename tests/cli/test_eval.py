"""zoo eval: numbers with N, interval and seed; tokens on request; runs measured on what they held out."""

import json
import math

import pytest

from cli.json_shapes import documented, shape

TEXT = "The ash tree counts its rings tonight, and then it counts them once again.\n"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "held-out.txt"
    path.write_text(TEXT * 30, encoding="utf-8")
    return path


@pytest.fixture
def found(tiny_gpt2, text):
    """What the Python interface measures."""
    import zoo

    return zoo.evaluate(str(tiny_gpt2), text, device="cpu")


def test_a_pipe_gets_name_value_interval_n_and_seed(zoo, tiny_gpt2, text, found):
    ran = zoo("eval", str(tiny_gpt2), "--data", str(text))
    assert (ran.code, ran.err) == (0, "")
    bits, nats, perplexity = (line.split("\t") for line in ran.out.splitlines())
    assert (bits[0], nats[0], perplexity[0]) == ("bits per byte", "nats per token", "perplexity")
    size = str(len(TEXT) * 30)
    assert [row[4:] for row in (bits, nats, perplexity)] == [[size, "bytes", ""], *[[size, "tokens", ""]] * 2]
    ends = [float(cell) for cell in perplexity[1:4]]
    expected = (found.perplexity.value, found.perplexity.low, found.perplexity.high)
    assert ends == pytest.approx(expected, rel=1e-6)


def test_json_has_all_that_was_measured_and_how(zoo, tiny_gpt2, text, found):
    said = json.loads(zoo("eval", str(tiny_gpt2), "--data", str(text), "--json").out)
    assert shape(said) == documented("zoo eval MODEL --json")
    assert (said["documents"], said["window"], said["stride"]) == (["held-out"], 64, 32)
    assert said["blocks"] == 8
    bits = said["metrics"]["bits_per_byte"]
    assert (bits["samples"], bits["of"], bits["seed"]) == (len(TEXT) * 30, "bytes", None)
    assert bits["value"] == pytest.approx(found.bits_per_byte.value, rel=1e-6)
    assert bits["low"] < bits["value"] < bits["high"]


def test_several_sources_are_measured_together(zoo, tiny_gpt2, text, tmp_path):
    (tmp_path / "other.txt").write_text("other")
    words = ["--data", str(text), "--data", str(tmp_path / "other.txt")]
    said = json.loads(zoo("eval", str(tiny_gpt2), *words, "--json").out)
    assert (said["documents"], said["bytes"]) == (["held-out", "other"], len(TEXT) * 30 + 5)
    assert said["data"] == f"{text}, {tmp_path / 'other.txt'}"


def test_windows_are_as_asked(zoo, tiny_gpt2, text):
    words = ["eval", str(tiny_gpt2), "--data", str(text), "--json"]
    short = json.loads(zoo(*words, "--window", "4", "--stride", "3").out)
    assert (short["window"], short["stride"]) == (4, 3)
    long = json.loads(zoo(*words, "--batch-size", "2").out)
    assert short["metrics"]["perplexity"]["value"] != long["metrics"]["perplexity"]["value"]
    for bad in (
        ["--window", "65"],
        ["--window", "0"],
        ["--stride", "65"],
        ["--window", "4", "--stride", "5"],
    ):
        assert zoo(*words, *bad).code == 2


def test_a_terminal_gets_a_table(zoo, tiny_gpt2, text):
    ran = zoo("eval", str(tiny_gpt2), "--data", str(text), terminal=True)
    assert f"on {text}: 1 document, 2,250 bytes, 2,250 tokens" in ran.out
    assert "95% interval" in ran.out
    assert "windows of 64 tokens, 32 apart; intervals over 8 blocks" in ran.out
    assert "2,250 tokens\r\x1b[K" in ran.err
    text.write_text("too short")
    assert (
        "intervals none: too little text" in zoo("eval", str(tiny_gpt2), "-d", str(text), terminal=True).out
    )


def test_tokens_go_to_the_output_and_the_measures_aside(zoo, tiny_gpt2, text):
    ran = zoo("eval", str(tiny_gpt2), "--data", str(text), "--per-token")
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert "".join(json.loads(row[3]) for row in rows) == TEXT * 30
    assert {row[0] for row in rows} == {"held-out"}
    assert "bits per byte " in ran.err
    said = json.loads(zoo("eval", str(tiny_gpt2), "--data", str(text), "--per-token", "--json").out)
    nats = -sum(row["log_prob"] for row in said["per_token"])
    assert nats / said["tokens"] == pytest.approx(said["metrics"]["nats_per_token"]["value"])


def test_tokens_are_saved_whole_and_replace_nothing_unasked(zoo, tiny_gpt2, text, tmp_path):
    saved = tmp_path / "new" / "tokens.jsonl"
    words = ["eval", str(tiny_gpt2), "--data", str(text), "-o", str(saved)]
    ran = zoo(*words)
    assert (ran.code, ran.err) == (0, f"saved 2,250 tokens to {saved}\n")
    assert ran.out.startswith("bits per byte\t")
    rows = [json.loads(line) for line in saved.read_text(encoding="utf-8").splitlines()]
    assert set(rows[0]) == {"document", "token", "text", "log_prob"}
    assert "".join(row["text"] for row in rows) == TEXT * 30
    assert zoo(*words).code == 2
    assert zoo(*words, "--yes").code == 0
    assert [path.name for path in saved.parent.iterdir()] == ["tokens.jsonl"]


def test_a_failed_save_leaves_nothing_behind(tmp_path):
    from zoo_cli.saving import write_lines

    def records():
        yield {"a": 1}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(tmp_path / "tokens.jsonl", records())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "is no run with held-out data of its own"),
        (["--data", "/nowhere/at-all"], 1, "/nowhere/at-all"),
        (["--data", "EMPTY"], 1, "has no text to measure on"),
        (["--data", "BYTES"], 1, "is not UTF-8 text"),
        (["--data", "TEXT", "-o", "tokens.txt"], 2, "-o takes a file that ends in .jsonl"),
    ],
)
def test_what_cannot_be_measured_says_why(zoo, tiny_gpt2, text, tmp_path, words, code, said):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "bytes.txt").write_bytes(b"\xff")
    places = {"EMPTY": tmp_path / "empty.txt", "BYTES": tmp_path / "bytes.txt", "TEXT": text}
    ran = zoo("eval", str(tiny_gpt2), *(str(places.get(word, word)) for word in words))
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_what_is_not_a_number_is_told_and_fails(zoo, tiny_gpt2, text, monkeypatch):
    import torch

    from zoo import api

    load = api.load

    def broken(*words, **options):
        model = load(*words, **options)
        with torch.no_grad():
            model.network.norm.weight[0] = math.nan
        return model

    monkeypatch.setattr(api, "load", broken)
    ran = zoo("eval", str(tiny_gpt2), "--data", str(text))
    assert (ran.code, ran.out.splitlines()[0]) == (1, "bits per byte\tnan\t\t\t2250\tbytes\t")
    assert "the log-likelihood of held-out is no finite number" in ran.err
    said = json.loads(
        zoo("eval", str(tiny_gpt2), "--data", str(text), "--json").out,
        parse_constant=lambda word: pytest.fail(word),
    )
    assert said["metrics"]["perplexity"]["value"] is None
    assert "nan" in zoo("eval", str(tiny_gpt2), "--data", str(text), terminal=True).out


def test_a_run_is_measured_on_what_it_held_out(zoo, tmp_path):
    works, folder = tmp_path / "works", tmp_path / "run"
    works.mkdir()
    for name in ("ash", "birch"):
        (works / f"{name}.txt").write_text(TEXT.replace("ash", name) * 10)
    small = [
        "config.context=16",
        "config.layers=1",
        "config.width=16",
        "config.heads=2",
        "data.vocabulary=300",
    ]
    words = [word for setting in small for word in ("--set", setting)]
    asked = ["--steps", "2", "--batch-size", "2", "--seed", "4", "--device", "cpu"]
    trained = zoo("train", "gpt2", "--data", str(works), "-o", str(folder), *words, *asked, "--json")
    assert trained.code == 0, trained.err
    ran = zoo("eval", str(folder), "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert said["metrics"]["perplexity"]["seed"] == 4
    assert len(said["documents"]) == 1
    again = json.loads(
        zoo("eval", str(folder), "--data", str(works / f"{said['documents'][0]}.txt"), "--json").out
    )
    assert again["metrics"]["perplexity"]["value"] == said["metrics"]["perplexity"]["value"]
