"""A folder that `zoo convert` made is pushed as it is, and loads from the Hub to the same samples."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

import zoo as house
from publish.conftest import LICENCES
from zoo.errors import TensorsError
from zoo.publish.bundle import prepare
from zoo.weights.convert import convert


@pytest.fixture
def converted(tiny_gpt2, tmp_path):
    """A GPT-2 as another program stores it, turned into safetensors."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=259, n_positions=32, n_embd=16, n_layer=1, n_head=2, eos_token_id=257)
    source = tmp_path / "pickled"
    source.mkdir()
    torch.save(GPT2LMHeadModel(config).state_dict(), source / "pytorch_model.bin")
    said = {**config.to_dict(), "_name_or_path": "/home/ada/models/verse"}
    (source / "config.json").write_text(json.dumps(said))
    (source / "tokenizer.json").write_bytes((tiny_gpt2 / "tokenizer.json").read_bytes())
    (source / "vocab.txt").write_text("private")
    return convert(source, tmp_path / "converted")


def test_it_is_pushed_with_its_own_config_and_says_that_it_was_converted(converted):
    made = prepare(converted, "user/verse", LICENCES)
    assert made.files.keys() == {
        "README.md",
        "config.json",
        "model.safetensors",
        "registry.yaml",
        "tokenizer.json",
    }
    config = json.loads(made.files["config.json"].read())
    assert config == json.loads((converted / "config.json").read_text()) | {"_name_or_path": "verse"}
    assert made.files["model.safetensors"].read() == (converted / "model.safetensors").read_bytes()
    entry = made.entry
    assert (entry.family, entry.plugin, entry.weights.status) == ("gpt2", "zoo-gpt", "converted")
    assert {file.name for file in entry.weights.files} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }


def test_it_loads_from_the_hub_and_by_its_registry_entry_to_the_same_samples(converted, writable, tmp_path):
    pushed = house.push(converted, "user/verse", licences=LICENCES)
    asked = {"count": 2, "seed": 3, "max_tokens": 8}
    here = list(house.load(str(converted), device="cpu").sample("ROMEO", **asked))
    there = house.load("hf:user/verse", device="cpu")
    assert list(there.sample("ROMEO", **asked)) == here
    assert 257 in there.tokenizer.end

    from zoo import targets
    from zoo.registry.reading import read_registry

    (tmp_path / "registry.yaml").write_text(pushed.registry)
    [entry] = read_registry(tmp_path / "registry.yaml", plugin="zoo-gpt", package="zoo_gpt", installed=True)
    by_entry = house.load(targets.from_entry(entry), device="cpu")
    assert list(by_entry.sample("ROMEO", **asked)) == here
    assert yaml.safe_load(pushed.registry)["models"][0]["weights"]["status"] == "converted"


def test_weights_that_are_not_those_of_its_config_are_refused(converted):
    said = json.loads((converted / "config.json").read_text())
    (converted / "config.json").write_text(json.dumps(said | {"n_layer": 2}))
    with pytest.raises(TensorsError, match="missing"):
        prepare(converted, "user/verse", LICENCES)
