"""A GGUF vocabulary becomes a tokenizer.json that cuts and joins text as the model's own does."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tokenizers
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from zoo.errors import WeightsError
from zoo.weights.gguf_tokenizer import tokenizer_files

LETTERS = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
START, END, THINK, PAD = 256, 257, 258, 259


def metadata(**more: Any) -> dict[str, Any]:
    """A token a byte, "he", and four named ones: start, end, one that a user defined, and one never used."""
    tokens = [*LETTERS, "<|start|>", "<|end|>", "<think>", "[PAD259]", "he"]
    said = {
        "model": "gpt2",
        "tokens": tokens,
        "merges": ["h e"],
        "token_type": [1] * 256 + [3, 3, 4, 5, 1],
        "bos_token_id": START,
        "eos_token_id": END,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in {**said, **more}.items() if value is not None}


def built(said: dict[str, Any]) -> tokenizers.Tokenizer:
    files, note = tokenizer_files(said)
    assert not note
    return tokenizers.Tokenizer.from_str(json.dumps(files["tokenizer.json"]))


TEXTS = ["It's 1234 he'll\n\n  x", "naïve  東京!? \r\n\tend ", "they've 3.14159 A\N{COMBINING RING ABOVE}"]


@pytest.mark.parametrize("pre", ["qwen2", "llama-bpe"])
@pytest.mark.parametrize("text", TEXTS)
def test_text_is_cut_as_transformers_cuts_it_for_this_vocabulary(pre: str, text: str) -> None:
    ours = built(metadata(pre=pre)).pre_tokenizer.pre_tokenize_str(text)
    pattern = tokenizers.Regex(GGUF_PRE_TOKENIZER_SPLITS[pre])
    theirs = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(pattern, behavior="isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    assert ours == theirs.pre_tokenize_str(text)


def test_smollm_cuts_numbers_into_digits() -> None:
    pieces = [piece for piece, _ in built(metadata(pre="smollm")).pre_tokenizer.pre_tokenize_str("a 123b")]
    assert pieces == ["a", "Ġ", "1", "2", "3", "b"]


@pytest.mark.parametrize("pre", ["gpt-2", "default", "qwen2", "llama-bpe", "smollm"])
@pytest.mark.parametrize("text", TEXTS[:2])
def test_decoding_gives_the_text_back(pre: str, text: str) -> None:
    tokenizer = built(metadata(pre=pre))
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_qwen_composes_characters_and_others_leave_them() -> None:
    text = "A\N{COMBINING RING ABOVE}"
    for pre, expected in (("qwen2", "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}"), ("llama-bpe", text)):
        tokenizer = built(metadata(pre=pre))
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == expected


def test_merges_and_named_tokens_have_the_ids_of_the_file() -> None:
    tokenizer = built(metadata())
    assert tokenizer.encode("he<think><|end|>").ids == [260, THINK, END]
    special = {number: token.special for number, token in tokenizer.get_added_tokens_decoder().items()}
    assert special == {START: True, END: True, THINK: False}
    assert tokenizer.token_to_id("[PAD259]") is None


@pytest.mark.parametrize(
    ("pre", "asked", "started"),
    [("gpt-2", None, False), ("gpt-2", True, True), ("llama-bpe", None, True), ("llama-bpe", False, False)],
)
def test_a_text_starts_with_the_start_token_where_the_model_wants_it(
    pre: str, asked: bool | None, started: bool
) -> None:
    ids = built(metadata(pre=pre, add_bos_token=asked)).encode("he").ids
    assert ids == ([START, 260] if started else [260])


def test_the_config_names_special_tokens_and_the_template() -> None:
    said = {**metadata(), "tokenizer.chat_template": "{{ x }}"}
    assert tokenizer_files(said)[0]["tokenizer_config.json"] == {
        "bos_token": "<|start|>",
        "eos_token": "<|end|>",
        "chat_template": "{{ x }}",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ({}, "the file has no tokenizer"),
        (metadata(model="llama"), r"its tokenizer ('llama', 'default') is not converted"),
        (metadata(pre="new\x1b"), r"its tokenizer ('gpt2', 'new\x1b') is not converted"),
    ],
)
def test_a_tokenizer_that_cannot_be_said_this_way_is_left_out_and_noted(
    said: dict[str, Any], note: str
) -> None:
    files, given = tokenizer_files(said)
    assert not files
    assert note in given


@pytest.mark.parametrize(
    "more",
    [
        {"tokens": []},
        {"tokens": ["a", "a"], "token_type": [1, 1]},
        {"tokens": ["a", 3]},
        {"tokens": "ab"},
        {"token_type": [1]},
        {"merges": ["a"]},
        {"merges": ["a b c"]},
    ],
)
def test_a_malformed_vocabulary_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(WeightsError):
        tokenizer_files(metadata(**more))
