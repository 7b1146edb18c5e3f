"""What is measured on held-out text, against sums by hand and against a run's own measurement."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import CapabilityError, DataError, UsageError
from zoo.evaluation.text import bits_per_byte


def test_the_numbers_are_those_of_a_sum_over_all_tokens(model, chain_log_likelihood):
    chain, texts = model(), ["to be", "or nöt", "to be " * 30]
    found = zoo.evaluate(chain, texts)
    nats = -sum(chain_log_likelihood(chain.network.table.detach(), text) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    assert (found.bytes, found.tokens) == (size, size)
    assert found.nats_per_token.value == pytest.approx(nats / size, rel=1e-6)
    assert found.perplexity.value == pytest.approx(math.exp(nats / size), rel=1e-5)
    assert found.bits_per_byte.value == pytest.approx(nats / size / math.log(2), rel=1e-6)


def test_it_is_what_bits_per_byte_measures_in_training(tiny):
    texts = ["a rose " * 40, "by any other name"]
    found = zoo.evaluate(tiny, texts)
    bits = bits_per_byte(tiny.network, tiny.tokenizer, texts)
    assert found.bits_per_byte.value == pytest.approx(bits.per_byte, rel=1e-9)


def test_a_file_a_folder_and_texts_are_the_same_data(model, works: Path):
    texts = [path.read_text() for path in sorted(works.glob("*.txt"))]
    folder, given = zoo.evaluate(model(), works), zoo.evaluate(model(), texts)
    assert folder.names == ("ash", "birch", "cedar", "dogwood")
    assert folder.data == str(works)
    assert given.names == ("text 1", "text 2", "text 3", "text 4")
    assert folder.bits_per_byte == given.bits_per_byte
    assert zoo.evaluate(model(), works / "ash.txt").scores[0].text == texts[0]


@pytest.fixture
def rows(tmp_path):
    pytest.importorskip("datasets")
    path = tmp_path / "rows.jsonl"
    lines = ({"id": str(number), "said": f"line {number}"} for number in range(3))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_each_row_is_a_document(model, rows):
    found = zoo.evaluate(model(), rows, column="said")
    assert found.names == ("row 1", "row 2", "row 3")
    assert [score.text for score in found.scores] == ["line 0", "line 1", "line 2"]
    with pytest.raises(DataError, match="2 columns of text") as caught:
        zoo.evaluate(model(), rows)
    assert caught.value.hint == "name the one that is meant: --column NAME"


def test_of_too_many_rows_the_first_are_measured_and_it_is_said(model, rows, monkeypatch):
    monkeypatch.setattr("zoo.evaluation.held_out.MOST_CHARACTERS", 10)
    found = zoo.evaluate(model(), rows, column="said")
    assert [score.text for score in found.scores] == ["line 0", "line"]
    assert found.data == f"the first 10 characters of {rows}"


def test_a_row_without_text_is_named(model, tmp_path):
    pytest.importorskip("datasets")
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n{"text": null}\n')
    with pytest.raises(DataError, match="row 2 has NoneType, not text, in text"):
        zoo.evaluate(model(), path)


def test_many_documents_are_the_blocks(model):
    texts = [f"document {number} " * (number + 1) for number in range(9)]
    found = zoo.evaluate(model(), texts)
    nats = np.array([-score.log_likelihood for score in found.scores])
    sizes = np.array([score.tokens for score in found.scores])
    rest = nats - found.nats_per_token.value * sizes
    error = math.sqrt(9 / 8 * np.square(rest).sum()) / sizes.sum()
    assert found.blocks == 9
    assert found.nats_per_token.high - found.nats_per_token.value == pytest.approx(2.3060 * error, rel=1e-4)
    assert found.perplexity.high == pytest.approx(math.exp(found.nats_per_token.high))
    assert found.perplexity.low == pytest.approx(math.exp(found.nats_per_token.low))


@pytest.mark.parametrize(("tokens", "blocks"), [(1023, 7), (1024, 8), (8000, 8), (20_480, 20), (50_000, 32)])
def test_of_few_documents_runs_of_tokens_are_the_blocks(model, tokens, blocks):
    found = zoo.evaluate(model(context=64), ["é" * (tokens // 2) + "e" * (tokens % 2)])
    assert found.blocks == blocks
    assert (found.bits_per_byte.low is None) == (blocks < 8)
    if blocks >= 8:  # a token is a byte here: both ratios are the same
        assert found.bits_per_byte.low == pytest.approx(found.nats_per_token.low / math.log(2), rel=1e-3)


def test_blocks_are_shared_out_among_documents_by_length(model):
    found = zoo.evaluate(model(context=64), ["ab" * 8192, "cd" * 2048, "e"])
    assert found.blocks == 16 + 4 + 1


def test_empty_documents_are_left_out_and_nothing_else_is_an_error(model, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DataError, match="has no text to measure on: all of it is empty"):
        zoo.evaluate(model(), tmp_path)
    (tmp_path / "full.txt").write_text("text")
    assert zoo.evaluate(model(), tmp_path).names == ("full",)
    with pytest.raises(DataError, match="0 texts has no text"):
        zoo.evaluate(model(), [])


def test_bytes_that_are_no_text_are_named(model, tmp_path):
    (tmp_path / "image.txt").write_bytes(b"abc\xff")
    with pytest.raises(DataError, match=r"image.txt is not UTF-8 text: byte 3 is 0xff"):
        zoo.evaluate(model(), tmp_path / "image.txt")


def test_what_is_not_a_number_is_not_hidden(model):
    found = zoo.evaluate(model(table=torch.full((257, 257), math.nan)), ["text " * 1000])
    for estimate in (found.bits_per_byte, found.perplexity, found.nats_per_token):
        assert math.isnan(estimate.value)
        assert estimate.low is None


def test_what_is_impossible_has_an_infinite_perplexity(model):
    table = torch.zeros(257, 257)
    table[:, 97] = -math.inf
    assert zoo.evaluate(model(table=table), ["banana"]).perplexity.value == math.inf


def test_a_model_of_another_modality_is_refused(model):
    import dataclasses

    from zoo.model import Model

    network = torch.nn.Linear(1, 1)
    network.log_prob = lambda x: x[:, 0]
    family = dataclasses.replace(model().family, modality="image")
    with pytest.raises(CapabilityError, match="eye makes image, but only models of text, tables"):
        zoo.evaluate(Model("eye", family, None, network, {}), ["text"])


def trained(source: Path, folder: Path, **rules):
    """A run of 2 steps of the smallest GPT-2, and its steps."""
    from zoo.settings import plain
    from zoo.training import run as training
    from zoo.training.plan import Plan
    from zoo.training.recipe import Recipe

    shape = {"context": 16, "layers": 1, "width": 16, "heads": 2}
    plan = Plan(steps=2, batch_size=2, warmup=1, seed=11, evaluate_every=2)
    begun = training.begin(
        Recipe("gpt2", shape, str(source), {"vocabulary": 300, **rules}, plain(plan)), folder, device="cpu"
    )
    return begun, list(training.steps(begun))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """A run on four documents, whose seed drew the one that is held out."""
    source = tmp_path_factory.mktemp("works")
    for name in ("ash", "birch", "cedar", "dogwood"):
        lines = (f"The {name} tree counts {number} rings tonight.\n" for number in range(40))
        (source / f"{name}.txt").write_text("".join(lines))
    return trained(source, tmp_path_factory.mktemp("runs") / "verse")


def test_a_run_is_measured_on_what_it_held_out(run):
    begun, steps = run
    found = zoo.evaluate(str(begun.folder), device="cpu")
    [name] = found.names
    assert (found.seed, found.data) == (11, f"held out of {begun.recipe.source}")
    assert found.bits_per_byte.value == pytest.approx(begun.best, rel=1e-5)
    assert begun.best == pytest.approx(steps[-1].results["held_out_bits_per_byte"])
    whole = zoo.evaluate(str(begun.folder), Path(begun.recipe.source) / f"{name}.txt", device="cpu")
    assert whole.bits_per_byte == found.bits_per_byte
    assert whole.seed is None


@pytest.mark.parametrize("rows", [False, True])
def test_a_run_that_measures_a_part_only_is_measured_on_that_part(tmp_path, monkeypatch, rows):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    texts = [f"The tree of row {number} counts its rings tonight.\n" * 4 for number in range(20)]
    if rows:
        pytest.importorskip("datasets")
        source = tmp_path / "rows.jsonl"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        source = tmp_path / "works"
        source.mkdir()
        for number, text in enumerate(texts):
            (source / f"{number:02}.txt").write_text(text)
    begun, _ = trained(source, tmp_path / "run", held_out_share=0.4, held_out_characters=333)
    found = zoo.evaluate(str(begun.folder), device="cpu")
    assert found.bytes == 333
    assert found.bits_per_byte.value == pytest.approx(begun.best, rel=1e-5)


def test_without_data_only_a_run_can_be_measured(tiny, model):
    for without in (tiny, model()):
        with pytest.raises(UsageError, match="is no run with held-out data of its own"):
            zoo.evaluate(without)


def test_a_run_whose_data_is_gone_says_so(run, tmp_path):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(run[0].folder, folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(run[0].recipe.source, str(tmp_path / "gone")))
    with pytest.raises(DataError, match="gone"):
        zoo.evaluate(str(folder), device="cpu")
    recipe.write_text(recipe.read_text().replace(str(tmp_path / "gone"), "''"))
    with pytest.raises(DataError, match="does not say what it was trained on"):
        zoo.evaluate(str(folder), device="cpu")


def test_a_run_that_held_nothing_out_says_so(run, tmp_path):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(run[0].folder, folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("held_out_share: 0.05", "held_out_share: 0.0"))
    with pytest.raises(UsageError, match="held nothing out"):
        zoo.evaluate(str(folder), device="cpu")
