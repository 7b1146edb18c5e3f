"""The model that ships: its bytes are the registered ones, it fits in the wheel, and it predicts and writes verse."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import pytest

from zoo import api
from zoo.evaluation.text import bits_per_byte
from zoo.weights import local
from zoo.weights.tensors import read_header

ROOT = Path(__file__).parents[2]
SOURCE = ROOT.parent / "shared/data/text/shakespeare.txt"
SLICE_BITS = 1.7691

# From Macbeth, which the model was not trained on, as its recipe prepares the text.
SLICE = """\
MACBETH:
She should have died hereafter;
There would have been a time for such a word.--
To-morrow, and to-morrow, and to-morrow,
Creeps in this petty pace from day to day,
To the last syllable of recorded time;
And all our yesterdays have lighted fools
The way to dusty death. Out, out, brief candle!
Life's but a walking shadow; a poor player,
That struts and frets his hour upon the stage,
And then is heard no more: it is a tale
Told by an idiot, full of sound and fury,
Signifying nothing.

[Enter a Messenger.]

Thou com'st to use thy tongue; thy story quickly.

MESSENGER:
Gracious my lord,
I should report that which I say I saw,
But know not how to do it.
"""


@pytest.fixture(scope="module")
def entry():
    return api.info("shakespeare-nano")


@pytest.fixture(scope="module")
def model():
    return api.load("shakespeare-nano", device="cpu")


def test_the_files_are_the_registered_ones_and_small(entry):
    files = local.packaged(entry)
    assert set(files) == {"model.safetensors", "tokenizer.json"}
    for file in entry.weights.files:
        assert hashlib.sha256(files[file.name].read_bytes()).hexdigest() == file.sha256
        assert files[file.name].stat().st_size == file.bytes
    assert files["model.safetensors"].stat().st_size <= 5_000_000


def test_the_entry_says_what_the_file_holds(entry, model):
    header = read_header(local.packaged(entry)["model.safetensors"])
    assert {tensor.dtype for tensor in header.tensors.values()} == {"F16"}
    assert entry.weights.dtype == "float16"
    assert entry.parameters == sum(weight.numel() for weight in model.network.parameters())
    assert entry.config["vocabulary"] == model.tokenizer.vocabulary
    assert (entry.weights.status, entry.licences.weights) == ("trained here", "Apache-2.0")


def test_it_predicts_text_it_was_not_trained_on_as_well_as_when_it_was_made(model):
    found = bits_per_byte(model.network, model.tokenizer, [SLICE])
    assert found.bytes == len(SLICE)
    assert found.per_byte == pytest.approx(SLICE_BITS, abs=0.002)


def test_it_writes_speakers_and_lines(model):
    texts = list(model.sample("ROMEO:", count=4, seed=0, temperature=0.8, max_tokens=150))
    assert all(text.startswith("ROMEO:\n") for text in texts)
    assert all(text.count("\n") >= 5 for text in texts)
    assert sum(bool(re.search(r"\n\n[A-Z][A-Z .']+:\n", text)) for text in texts) >= 2


@pytest.mark.slow
@pytest.mark.skipif(not SOURCE.is_file(), reason="the source text is not here")
def test_the_registered_bits_per_byte_are_measured_again(entry, model):
    folder = ROOT / "plugins/zoo-gpt/recipes/shakespeare-nano"
    spec = importlib.util.spec_from_file_location("prepare_shakespeare", folder / "prepare.py")
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    works = prepare.works(SOURCE.read_text(encoding="utf-8"))
    held_out = [works["macbeth.txt"], works["twelfth-night-or-what-you-will.txt"]]
    assert SLICE in held_out[0]
    found = bits_per_byte(model.network, model.tokenizer, held_out)
    [registered] = [metric for metric in entry.metrics if metric.name == "bits per byte"]
    assert found.bytes == registered.samples
    assert found.per_byte == pytest.approx(registered.value, abs=6e-4)
