"""zoo info: the card of a model, from registry files alone, or from a folder's own."""

import json

import pytest

from cli.conftest import entry
from cli.json_shapes import documented, shape
from zoo.registry.entry import Weights
from zoo_cli import cards


def test_json_has_the_documented_shape(zoo, registry):
    registry(entry())
    card = json.loads(zoo("info", "little", "--json").out)
    config = {"config": dict.fromkeys(card["config"])}
    assert shape(card) == documented("zoo info MODEL --json") | config
    assert card == {
        **json.loads(zoo("list", "--json").out)[0],
        "weights": {
            "status": "original",
            "bytes": 2_000_500,
            "repo": "user/tiny",
            "revision": "0" * 40,
            "package": None,
            "dtype": "float16",
            "files": [
                {"name": "model.safetensors", "bytes": 2_000_000, "sha256": "a" * 64, "cached": False},
                {"name": "tokenizer.json", "bytes": 500, "sha256": None, "cached": False},
            ],
        },
        "install": None,
        "licences": {"code": "Apache-2.0", "weights": "MIT", "data": "unknown"},
        "paper": {"title": "On tiny models", "url": "https://example.org/tiny", "year": 2026},
        "metrics": [
            {
                "name": "perplexity",
                "value": 12.5,
                "unit": "",
                "data": "WikiText",
                "source": "table 1",
                "samples": 1000,
            }
        ],
        "config": {"layers": 2, "context": 64, "width": 16, "heads": 2},
        "memory": {
            "float32": {"weights": 4_938_268, "cache": 16_384, "total": 4_954_652},
            "float16": {"weights": 2_469_134, "cache": 8_192, "total": 2_477_326},
            "bfloat16": {"weights": 2_469_134, "cache": 8_192, "total": 2_477_326},
        },
    }


def test_a_person_reads_the_whole_card(zoo, registry):
    registry(entry())
    lines = zoo("info", "tiny").out.splitlines()
    assert lines == [
        "tiny",
        "A tiny model.",
        "",
        "aliases     little",
        "family      gpt2, from zoo-test",
        "task        text-generation",
        "can         sample, score",
        "parameters  1,234,567",
        "memory      float32: 4.94 MB, and 16.4 kB for a full context",
        "            bfloat16: 2.47 MB, and 8.19 kB for a full context",
        "config      layers 2, context 64, width 16, heads 2",
        "weights     original, float16, 2 MB",
        "repo        user/tiny @ " + "0" * 40,
        "files       model.safetensors, 2 MB, not downloaded, sha256 pinned",
        "            tokenizer.json, 500 B, not downloaded, sha256 recorded at the first download",
        "licences    code: Apache-2.0",
        "            weights: MIT",
        "            data: unknown",
        "paper       On tiny models (2026), https://example.org/tiny",
        "quality     perplexity 12.5 on WikiText, 1,000 samples (table 1)",
        "",
        "zoo pull tiny",
        'zoo sample tiny --prompt "..."',
    ]


def test_cached_files_are_shown_as_such(zoo, registry, tmp_path):
    registry(entry())
    snapshot = tmp_path / "hub-cache" / "models--user--tiny" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_text("{}")
    files = json.loads(zoo("info", "tiny", "--json").out)["weights"]["files"]
    assert [file["cached"] for file in files] == [False, True]
    assert "tokenizer.json, 500 B, in the cache" in zoo("info", "tiny").out


def test_what_is_not_installed_says_how_to_install_it(zoo, registry):
    registry(entry(installed=False))
    ran = zoo("info", "tiny")
    assert "family      gpt2, from zoo-test (not installed)" in ran.out
    assert "\npip install zoo-test\n" in ran.out
    assert json.loads(zoo("info", "tiny", "--json").out)["install"] == "pip install zoo-test"


def test_an_architecture_says_how_to_build_it(zoo, registry):
    registry(entry(weights=Weights("none"), paper=None, metrics=(), aliases=()))
    ran = zoo("info", "tiny")
    assert "weights     none: an architecture without published weights" in ran.out
    assert ran.out.endswith("\npython: zoo.build('tiny')\n")
    assert "zoo sample" not in ran.out


@pytest.mark.parametrize(
    ("config", "values"),
    [
        ({"layers": 12, "context": 1024, "width": 768, "heads": 12}, 2 * 12 * 1024 * 768),
        (
            {"layers": 30, "context": 8192, "width": 576, "heads": 9, "key_value_heads": 3},
            2 * 30 * 8192 * 3 * 64,
        ),
        (
            {
                "layers": 28,
                "context": 10,
                "width": 1024,
                "heads": 16,
                "key_value_heads": 8,
                "head_width": 128,
            },
            2 * 28 * 10 * 8 * 128,
        ),
        ({"components": 10}, None),
        ({"layers": 2, "context": 64, "width": 16, "heads": 0}, None),
    ],
)
def test_the_cache_holds_keys_and_values_of_every_layer(config, values):
    assert cards.cache_values(config) == values


def test_registered_configs_name_the_fields_the_memory_comes_from(zoo):
    """The smallest Llama: the cache of a full context in float16, by hand from the paper's shape."""
    card = json.loads(zoo("info", "smollm2-135m", "--json").out)
    assert card["memory"]["float16"]["cache"] == 2 * 30 * 8192 * 3 * 64 * 2


def test_a_file_of_another_format_is_answered_with_the_command_that_converts_it(zoo, tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    for name in ("model.gguf", "./model.gguf"):
        ran = zoo("info", name)
        assert (ran.code, ran.out) == (1, "")
        assert "model.gguf has its weights only as model.gguf" in ran.err
        assert "hint: turn it into safetensors: zoo convert model.gguf -o FOLDER" in ran.err


def test_a_folder_tells_its_own_card(zoo, tiny_gpt2):
    card = json.loads(zoo("info", str(tiny_gpt2), "--json").out)
    assert card["name"] == str(tiny_gpt2)
    assert (card["plugin"], card["family"], card["parameters"]) == ("zoo-gpt", "gpt2", 11_760)
    assert card["licences"] is None
    assert card["weights"]["bytes"] == sum(path.stat().st_size for path in tiny_gpt2.iterdir())
    shown = zoo("info", str(tiny_gpt2)).out
    assert "parameters  11,760" in shown
    assert f"zoo sample {tiny_gpt2}" in shown


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("tinny", "did you mean tiny"),
        ("./nowhere", "no such folder"),
        ("user/tiny", "for a repo on the Hub write hf:user/tiny"),
    ],
)
def test_an_unknown_model_is_explained(zoo, registry, model, said):
    registry(entry())
    ran = zoo("info", model)
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err
