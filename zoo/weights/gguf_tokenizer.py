"""The tokenizer inside a GGUF file, as the Hub's tokenizer.json and tokenizer_config.json. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.errors import WeightsError

_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _split(digits: str) -> dict[str, Any]:
    """Cut by a pattern, then map bytes to characters. digits: the pattern of a number."""
    pattern = {"Regex": "|".join((_CONTRACTIONS, _WORDS, digits, _REST))}
    cut = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [cut, {**_BYTES, "use_regex": False}]}


_SINGLE_DIGITS = {
    "type": "Sequence",
    "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTES],
}
_PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt-2": _BYTES,
    "default": _BYTES,
    "qwen2": _split(r"\p{N}"),
    "llama-bpe": _split(r"\p{N}{1,3}"),
    "smollm": _SINGLE_DIGITS,
}
"""How a text is cut into words, by the name that GGUF has for it; as in those models' own tokenizer.json."""

_NORMALISED = ("qwen2",)
_STARTED = ("llama-bpe",)  # a begin-of-text token goes before each text unless the file says otherwise
_WHOLE_WORDS = ("llama-bpe",)  # a word that is a token is taken whole, whatever the merges are


def tokenizer_files(metadata: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], str]:
    """The content of tokenizer.json and tokenizer_config.json, by file name, and a note when there is none.

    Only byte-level BPE can be said this way; others give no file. Raises WeightsError for a malformed vocabulary.
    """
    model = metadata.get("tokenizer.ggml.model")
    cut = metadata.get("tokenizer.ggml.pre", "default")
    if model is None:
        return {}, "the file has no tokenizer: the model takes and gives token ids"
    if model != "gpt2" or cut not in _PRE_TOKENIZERS:
        return (
            {},
            f"its tokenizer ({str(model)[:40]!a}, {str(cut)[:40]!a}) is not converted: use the original's",
        )
    tokens, merges, kinds = (
        _listed(metadata, "tokens", str),
        _listed(metadata, "merges", str),
        _listed(metadata, "token_type", int),
    )
    vocabulary = {token: number for number, token in enumerate(tokens)}
    kinds = kinds or [1] * len(tokens)
    if not tokens or len(vocabulary) < len(tokens) or len(kinds) != len(tokens):
        raise WeightsError("its vocabulary is empty, has a token twice, or lacks the types of some")
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(number, token, special=kind == _CONTROL)
            for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
            if kind in (_CONTROL, _USER_DEFINED)
        ],
        "normalizer": {"type": "NFC"} if cut in _NORMALISED else None,
        "pre_tokenizer": _PRE_TOKENIZERS[cut],
        "post_processor": _after(metadata, tokens, started=cut in _STARTED),
        "decoder": _BYTES,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": cut in _WHOLE_WORDS,
            "vocab": {token: number for token, number in vocabulary.items() if kinds[number] != _UNUSED},
            "merges": [_pair(merge) for merge in merges],
        },
    }
    return {"tokenizer.json": content, "tokenizer_config.json": _config(metadata, tokens)}, ""


def special_id(metadata: Mapping[str, Any], name: str) -> int | None:
    """The id of the bos, eos, ... token, or None."""
    number = metadata.get(f"tokenizer.ggml.{name}_token_id")
    return number if type(number) is int else None


def _listed(metadata: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    values = metadata.get(f"tokenizer.ggml.{name}", [])
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise WeightsError(f"tokenizer.ggml.{name} must be a list of {kind.__name__}")
    return values


def _pair(merge: str) -> list[str]:
    parts = merge.split(" ")
    if len(parts) != 2:
        raise WeightsError(
            f"tokenizer.ggml.merges has {merge[:40]!a}, which is not two tokens with a space between"
        )
    return parts


def _added(number: int, token: str, *, special: bool) -> dict[str, Any]:
    return {
        "id": number,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


def _token(metadata: Mapping[str, Any], tokens: list[str], name: str) -> str | None:
    number = special_id(metadata, name)
    return tokens[number] if number is not None and 0 <= number < len(tokens) else None


def _after(metadata: Mapping[str, Any], tokens: list[str], *, started: bool) -> dict[str, Any]:
    """What is added to a text once it is cut: the token that begins it, or nothing."""
    start = _token(metadata, tokens, "bos")
    if start is None or not metadata.get("tokenizer.ggml.add_bos_token", started):
        return {**_BYTES, "trim_offsets": False}
    first = [{"SpecialToken": {"id": start, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    return {
        "type": "TemplateProcessing",
        "single": first,
        "pair": [*first, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {start: {"id": start, "ids": [special_id(metadata, "bos")], "tokens": [start]}},
    }


def _config(metadata: Mapping[str, Any], tokens: list[str]) -> dict[str, Any]:
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    config: dict[str, Any] = {ours: _token(metadata, tokens, theirs) for ours, theirs in names.items()}
    template = metadata.get("tokenizer.chat_template")
    config |= {"chat_template": template if isinstance(template, str) else None}
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    return {name: value for name, value in config.items() if value is not None}
