"""Text data from its files to what a network is trained on, measured on and drawn from."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from byte_tokenizer import ByteTokenizer
from zoo.datasets import vocabulary
from zoo.datasets.reading import read, rules_class
from zoo.datasets.text import TextRules
from zoo.errors import CapabilityError, DataError, UsageError
from zoo.family import Family
from zoo.modality.text import TextControls


def tokenizer_of(files):
    """The family's loader: a token a byte when there is a tokenizer file."""
    return ByteTokenizer() if "tokenizer.json" in files else None


FAMILY = Family(
    "pairs",
    "text",
    config="",
    build="",
    controls="zoo.modality.text:TextControls",
    tokenizer=f"{__name__}:tokenizer_of",
)


@pytest.fixture
def family(monkeypatch):
    """References to this module resolve under whatever name pytest has imported it."""
    monkeypatch.setattr(
        Family,
        "resolve",
        lambda self, field: {"tokenizer": tokenizer_of, "controls": TextControls}[field],
    )
    return FAMILY


def material(works, **rules):
    return read("text", str(works), TextRules(**rules), seed=1)


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    return {path.name: path}


def test_the_rules_of_a_modality_are_found_and_others_refused():
    assert rules_class("text") is TextRules
    with pytest.raises(CapabilityError, match="of the modality 'smell'; there is on text, image"):
        rules_class("smell")


def test_only_a_new_network_takes_its_vocabulary_from_the_text(works, family, files, tmp_path):
    found = material(works, vocabulary=300)
    assert found.bind(family, files) == {}
    found.learn(tmp_path)
    assert (tmp_path / "tokenizer.json").stat().st_size > 1000
    assert found.bind(family, files) == {"vocabulary": 257}


def test_a_vocabulary_is_learned_once_from_the_same_text(works, tmp_path, monkeypatch):
    def learned(name, **rules):
        folder = tmp_path / name
        folder.mkdir()
        material(works, **rules).learn(folder)
        return (folder / "tokenizer.json").read_bytes()

    first = learned("first", vocabulary=300, held_out=("ash",))
    [kept] = (tmp_path / "zoo-home" / "tokens").glob("*.vocabulary")
    learn = vocabulary.learn
    monkeypatch.setattr(vocabulary, "learn", None)
    assert learned("again", vocabulary=300, held_out=("ash",)) == first
    for rules in ({"vocabulary": 301, "held_out": ("ash",)}, {"vocabulary": 300, "held_out": ("birch",)}):
        with pytest.raises(TypeError):  # what is not callable would have been called
            learned(f"other {rules}", **rules)
    monkeypatch.setattr(vocabulary, "learn", learn)
    kept.write_bytes(kept.read_bytes()[:-9])
    assert learned("damaged", vocabulary=300, held_out=("ash",)) == first


def test_a_network_without_tokenizer_files_is_refused(works, family):
    with pytest.raises(DataError, match="pairs: there are no tokenizer files"):
        material(works).bind(family, {})


def test_rows_are_the_text_that_is_not_held_out(works, family, files, pairs):
    found = material(works, held_out=("ash",))
    found.bind(family, files)
    rows = found.rows(pairs(), seed=0)
    assert rows.window == pairs.context
    epoch = rows.rows(0, rows.epoch)
    lines = b"".join(bytes(row[:-1].clamp(max=255).tolist()) for row in epoch[epoch[:, 0].argsort()])
    assert b"birch" in lines
    assert b"ash tree" not in lines
    assert found.summary == f"{len(rows.ids):,} tokens of 4 documents, 1 held out"


def test_a_window_longer_than_the_context_is_refused(works, family, files, pairs):
    found = material(works, window=9)
    found.bind(family, files)
    with pytest.raises(UsageError, match="window is 9, but the network's context is 8 tokens"):
        found.rows(pairs(), seed=0)


def test_a_tokenizer_of_another_model_is_refused(works, family, files, pairs):
    network = pairs()
    network.vocabulary = 100
    found = material(works)
    found.bind(family, files)
    with pytest.raises(DataError, match="the text has the token id 256, but the network knows 0 to 99"):
        found.rows(network, seed=0)


def test_the_first_documents_only_are_read(works, family, files, pairs):
    found = material(works, documents=2, held_out=("ash",))
    found.bind(family, files)
    assert found.rows(pairs(), seed=0).ids.tolist() == [256, *(works / "birch.txt").read_bytes()]


def test_no_more_is_measured_than_the_rules_say(works, family, files, pairs, monkeypatch):
    from zoo.evaluation import text as bits

    seen = []

    def measure(network, tokenizer, texts, window):
        seen.extend(texts)
        return SimpleNamespace(per_byte=1.5, bytes=1000)

    monkeypatch.setattr(bits, "bits_per_byte", measure)
    found = material(works, held_out=("ash", "birch"), held_out_characters=1000)
    found.bind(family, files)
    assert found.evaluate(pairs()) == {"held_out_bits_per_byte": 1.5, "held_out_bytes": 1000}
    ash = (works / "ash.txt").read_text()
    assert seen == [ash, (works / "birch.txt").read_text()[: 1000 - len(ash)]]


def test_what_is_held_out_is_measured_in_bits_per_byte(works, family, files, pairs):
    """A network that takes all 257 tokens for equally likely spends log2(257) bits on each byte."""
    network = pairs()
    torch.nn.init.zeros_(network.table)
    found = material(works, held_out=("ash",))
    found.bind(family, files)
    found.rows(network, seed=0)
    measured = found.evaluate(network.eval())
    assert list(measured) == ["held_out_bits_per_byte", "held_out_bytes"]
    assert measured["held_out_bits_per_byte"] == pytest.approx(math.log2(257), rel=1e-5)
    assert measured["held_out_bytes"] == (works / "ash.txt").stat().st_size


def test_nothing_held_out_is_not_measured(works, family, files, pairs):
    found = material(works, held_out_share=0.0)
    found.bind(family, files)
    assert found.evaluate(pairs().eval()) == {}


def test_a_preview_is_a_text_file_that_the_seed_decides(tiny_gpt2, works, tmp_path):
    import zoo

    model = zoo.load(str(tiny_gpt2))
    found = material(works)
    found.bind(model.family, {path.name: path for path in tiny_gpt2.iterdir()})
    texts = []
    for stem, seed in (("first", 3), ("again", 3), ("other", 4)):
        [path] = found.preview(model.network, 2, seed, tmp_path / stem)
        assert path == tmp_path / f"{stem}.txt"
        texts.append(path.read_text(encoding="utf-8").replace("seed 4", "seed 3"))
    assert texts[0] == texts[1] != texts[2]
    [first, second] = [sample.text for sample in model.samples(count=2, seed=3)]
    assert texts[0] == f"=== sample 0, seed 3\n{first}\n\n=== sample 1, seed 3\n{second}\n"
