"""A stranger's tokenizer files cost little time and memory whatever they say; those that models use are read."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from zoo.errors import WeightsError
from zoo_gpt.patterns import is_linear
from zoo_gpt.tokenizer import load

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
ENDINGS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
BEFORE = r"[^\r\n\p{L}\p{N}]?"
PATTERNS = {
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "gpt-2, short": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama-3": rf"{CONTRACTIONS}|{BEFORE}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{ENDINGS}",
    "qwen-2": rf"{CONTRACTIONS}|{BEFORE}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{ENDINGS}",
    "gpt-4o": rf"{BEFORE}{UPPER}*{LOWER}+{CONTRACTIONS}?|{BEFORE}{UPPER}+{LOWER}*{CONTRACTIONS}?|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{ENDINGS}",
    "tekken": rf"{BEFORE}{UPPER}*{LOWER}+|{BEFORE}{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{ENDINGS}",
    "bloom": " ?[^(\\s|[.,!?…。，、।۔،])]+",
    "falcon": "[0-9][0-9][0-9]",
    "deepseek": r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
}


@pytest.mark.parametrize("name", PATTERNS)
def test_the_patterns_of_models_are_taken(name):
    assert is_linear(PATTERNS[name])


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+b",
        r"(a|a)*b",
        r"(?:a|ab)*c",
        r"(?i:a|aa)+b",
        r"a*a*a*b",
        r"\s*[\r\n]+",  # alone it takes the square of a run of blanks
        r"\s*[\r\n]+|\s|\s+",
        r"x\s+(?!\S)",
        r"\s+$",
        r"a+?b",
        r"(a)\1",
        r"(?=a+)b",
        r"a{1,99}b",
        r"a?a?a?a?b",
        "(?:a|a)" * 22 + "[cd]",
        "(?:a|a|a|a)" * 14 + "[cd]",
        "(?:a|a|a){1,9}b",
        "|".join(["a{1,9}a{1,9}a{1,9}c"] * 400),
        "|".join(["a{1,9}b"] * 30),
        r"a*",
        r"a?",
        r"(?:|a)",
        r"a|",
        "",
        "[a",
        "a" * 20_000,
    ],
)
def test_a_pattern_that_may_take_more_than_linear_time_or_find_nothing_is_not(pattern):
    assert not is_linear(pattern)


def plain() -> dict[str, Any]:
    """A tokenizer.json over bytes, with two merges."""
    letters = {letter: at for at, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE({**letters, "he": 256, "hel": 257}, [("h", "e"), ("he", "l")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>"])
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    return content


def written(folder: Path, content: dict[str, Any]) -> dict[str, Path]:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return {"tokenizer.json": path}


def as_llama_2(content: dict[str, Any]) -> None:
    replace = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"▁": 256, "a": 257, "▁a": 258}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("▁", "a")], byte_fallback=True))
    tokenizer.normalizer, tokenizer.decoder = replace, decoders.Sequence(back)
    content.update(json.loads(tokenizer.to_str()))


def as_wordpiece(content: dict[str, Any]) -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    content.update(json.loads(tokenizer.to_str()))


def as_unigram(content: dict[str, Any]) -> None:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -1.0), ("a", -2.0)], 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    content.update(json.loads(tokenizer.to_str()))


def as_gpt_2_published(content: dict[str, Any]) -> None:
    del content["model"]["type"]  # files older than the field
    content["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": ""}


def as_qwen_2(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "NFC"}
    cut = {"type": "Split", "pattern": {"Regex": PATTERNS["qwen-2"]}, "behavior": "Isolated", "invert": False}
    content["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [cut, {**content["pre_tokenizer"], "use_regex": False}],
    }


@pytest.mark.parametrize(
    "change", [as_llama_2, as_wordpiece, as_unigram, as_gpt_2_published, as_qwen_2], ids=lambda f: f.__name__
)
def test_the_kinds_of_tokenizers_that_models_have_are_read(tmp_path, change):
    content = plain()
    change(content)
    tokenizer = load(written(tmp_path, content))
    assert tokenizer.decode(tokenizer.encode("a a")).strip() == "a a"


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def normalizer(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"normalizer": {"type": "Sequence", "normalizers": list(parts)}}


def cut_by(pattern: str) -> dict[str, Any]:
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"pre_tokenizer": cut}


def template(*forms: list[dict[str, Any]], tokens: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "TemplateProcessing", "single": forms[0], "pair": [], "special_tokens": tokens or {}}


TEXT, START = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 0}}
MANY = {"<s>": {"id": "<s>", "ids": [0] * 1000, "tokens": ["<s>"] * 1000}}
BOMBS: dict[str, tuple[dict[str, Any], str]] = {
    "a thousandfold thrice": (normalizer(*[replace("a", "a" * 1000)] * 3), "2,000,000,000 times as long"),
    "byte by byte": ({"normalizer": replace(".", "a" * 100, "Regex")}, "200 times as long"),
    "twice, twenty times": (normalizer(*[{"type": "ByteLevel"}] * 20), "more than 16 parts"),
    "prepended": (normalizer(*[{"type": "Prepend", "prepend": "aaa"}] * 3), "128 times as long"),
    "nothing replaced": ({"normalizer": replace("", "a")}, "Replace has the pattern"),
    "tokens that grow": ({"decoder": replace("h", "h" * 1000)}, "1,000 times as long"),
    "endless pattern": (cut_by(r"(a+)+[^a]"), r"searches for .*not known to take linear time"),
    "endless pattern, replaced": ({"normalizer": replace(r"(a|a)*[^a]", "", "Regex")}, "linear time"),
    "a map of characters": (
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AA=="}},
        "Precompiled",
    ),
    "a hidden part": ({"normalizer": {"type": "NFC", "normalizers": []}}, "NFC has a field 'normalizers'"),
    "no type": ({"normalizer": {"normalizers": []}}, "normalizer is of type None"),
    "cut into nothing": ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "FixedLength"),
    "text twice": ({"post_processor": template([TEXT, TEXT])}, "TemplateProcessing does not put"),
    "no text": ({"post_processor": template([START])}, "TemplateProcessing does not put"),
    "many tokens": ({"post_processor": template([START] * 9 + [TEXT], tokens=MANY)}, "9,000 tokens around"),
    "around twice": (
        {"post_processor": {"type": "Sequence", "processors": [template([TEXT])] * 2}},
        "around a text twice",
    ),
    "stripped ends": ({"decoder": {"type": "Strip", "content": "h", "start": 0, "stop": 1}}, "stop 1"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_could_take_all_time_or_memory_or_panic_is_refused_by_name_and_in_silence(tmp_path, name, capfd):
    changes, said = BOMBS[name]
    with pytest.raises(WeightsError, match=said) as caught:
        load(written(tmp_path, plain() | changes))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def a_long_token(content: dict[str, Any]) -> None:
    content["model"]["vocab"]["x" * 1001] = 300


def a_prefix(content: dict[str, Any]) -> None:
    content["model"]["continuing_subword_prefix"] = "xxxxx"


def long_words(content: dict[str, Any]) -> None:
    as_wordpiece(content)
    content["model"]["max_input_chars_per_word"] = 10**9


def a_long_piece(content: dict[str, Any]) -> None:
    as_unigram(content)
    content["model"]["vocab"].append(["a" * 65, -1.0])


def an_added_token_that_vanishes(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Strip", "strip_left": True, "strip_right": True}
    content["added_tokens"].append(
        {**content["added_tokens"][0], "id": 301, "content": " ", "normalized": True}
    )


def many_added_characters(content: dict[str, Any]) -> None:
    one = content["added_tokens"][0]
    content["added_tokens"] = [{**one, "id": at, "content": f"{at:0999}"} for at in range(300, 2400)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (a_long_token, "token of 1,001 characters"),
        (a_prefix, "continuing_subword_prefix 'xxxxx'"),
        (long_words, "words of 1000000000 characters"),
        (a_long_piece, "token of 65 characters"),
        (an_added_token_that_vanishes, "leaves nothing of the added token ' '"),
        (many_added_characters, "2,097,900 characters"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_vocabulary_out_of_bounds_is_refused(
    tmp_path, change: Callable[[dict[str, Any]], None], said, capfd
):
    content = plain()
    change(content)
    with pytest.raises(WeightsError, match=said):
        load(written(tmp_path, content))
    assert capfd.readouterr() == ("", "")


def test_a_key_that_stands_twice_cannot_hide_what_the_package_would_read(tmp_path):
    files = written(tmp_path, plain())
    text = files["tokenizer.json"].read_text()
    bomb = json.dumps(normalizer(*[replace("a", "a" * 1000)] * 3)["normalizer"])
    files["tokenizer.json"].write_text(
        text.replace('"normalizer": null', f'"normalizer": {bomb}, "normalizer": null')
    )
    with pytest.raises(WeightsError, match="'normalizer' stands twice"):
        load(files)


def test_a_file_of_many_small_values_is_refused_before_it_is_parsed(tmp_path):
    content = copy.deepcopy(plain()) | {"more": []}
    files = written(tmp_path, content)
    text = files["tokenizer.json"].read_text().replace('"more": []', f'"more": [{"[]," * 1_300_000}[]]')
    files["tokenizer.json"].write_text(text)
    with pytest.raises(WeightsError, match=r"has 1,300,\d+ times '\[', and at most 1,200,000"):
        load(files)
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("a a\n" * 1_300_000)
    with pytest.raises(WeightsError, match=r"merges.txt has 1,300,000 times"):
        load({name: tmp_path / name for name in ("vocab.json", "merges.txt")})


def test_a_vocabulary_in_a_file_of_its_own_has_no_long_token_either(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "x" * 1001: 1}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(WeightsError, match="a token of more than the 1,000 characters"):
        load({name: tmp_path / name for name in ("vocab.json", "merges.txt")})
