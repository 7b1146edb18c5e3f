"""Text to token ids and back, from a repo's own files, through the package `tokenizers`.

Special tokens that a person writes in a prompt are text like any other: only a chat template can set them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from zoo.errors import UsageError, WeightsError

_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<|im_end|>", "<|eot_id|>", "<|end|>")
"""Special tokens that end a text or a turn wherever they exist; files often declare only one of those they use."""


def load(files: dict[str, Path]) -> GPTTokenizer | None:
    """From tokenizer.json, else vocab.json and merges.txt; None when the files hold neither.

    What begins and ends a text is read from config.json, generation_config.json and tokenizer_config.json where they
    are, the chat template from tokenizer_config.json or chat_template.jinja. Raises WeightsError for broken files.
    """
    try:
        if "tokenizer.json" in files:
            backend = tokenizers.Tokenizer.from_file(str(files["tokenizer.json"]))
        elif "vocab.json" in files and "merges.txt" in files:
            backend = _from_merges(files["vocab.json"], files["merges.txt"])
        else:
            return None
    except Exception as error:  # the package raises bare Exception for any fault of a file
        raise WeightsError(f"the tokenizer files cannot be read: {error}") from error
    return GPTTokenizer(backend, _Declared(files))


def _from_merges(vocabulary: Path, merges: Path) -> tokenizers.Tokenizer:
    """The tokenizers of GPT-2 and GPT-1 from the two files that their authors published."""
    words, pairs = models.BPE.read_file(str(vocabulary), str(merges))
    if any(word.endswith("</w>") for word in words):  # GPT-1: words are cut first, and end with this mark
        tokenizer = tokenizers.Tokenizer(
            models.BPE(words, pairs, unk_token="<unk>", end_of_word_suffix="</w>")
        )
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
        return tokenizer
    tokenizer = tokenizers.Tokenizer(models.BPE(words, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([end for end in _ENDS if end in words])
    return tokenizer


class _Declared:
    """What the files beside the tokenizer say of it; every one of them may be absent."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        configs = [_json(files.get(name)) for name in ("generation_config.json", "config.json")]
        tokenizer = _json(files.get("tokenizer_config.json"))
        self.special = {
            name: text
            for name in ("bos_token", "eos_token", "pad_token", "unk_token")
            if (text := _text(tokenizer.get(name)))
        }
        self.start_ids = [number for config in configs for number in _ids(config.get("bos_token_id"))]
        self.end_ids = [number for config in configs for number in _ids(config.get("eos_token_id"))]
        self.chat_template = _template(tokenizer.get("chat_template"))
        if "chat_template.jinja" in files:
            self.chat_template = files["chat_template.jinja"].read_text(encoding="utf-8")


def _json(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path.name} must hold an object, but holds {type(content).__name__}")
    return content


def _text(token: Any) -> str:
    """A token is written as text, or as an object with its text in `content`."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _ids(value: Any) -> list[int]:
    """One id, several, or none."""
    return [number for number in (value if isinstance(value, list) else [value]) if type(number) is int]


def _template(value: Any) -> str:
    """One template, or a list of named ones of which "default" is meant."""
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else ""


class GPTTokenizer:
    """A `zoo.protocols.Tokenizer` over the package `tokenizers`."""

    def __init__(self, backend: tokenizers.Tokenizer, declared: _Declared) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._lock = threading.Lock()
        self.vocabulary: int = backend.get_vocab_size()
        self.chat_template = declared.chat_template
        self.special = declared.special
        special = {
            token.content: number
            for number, token in backend.get_added_tokens_decoder().items()
            if token.special
        }
        known = [special[text] for text in (declared.special.get("eos_token"), *_ENDS) if text in special]
        declared_ends = [number for number in declared.end_ids if 0 <= number < self.vocabulary]
        self.end = frozenset(known + declared_ends)
        self._prefix = self._added_in_front()
        begins = [number for number in declared.start_ids if 0 <= number < self.vocabulary]
        begin = begins + known + declared_ends + self._ids("\n") + self._ids(".")
        self.start: tuple[int, ...] = self._prefix or tuple(begin[:1]) or (0,)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, after what this tokenizer puts in front of every text. Raises UsageError."""
        return [*self._prefix, *self._ids(text)]

    def encode_chat(self, text: str) -> list[int]:
        """The ids of a text that a chat template made, with special tokens read as such. Raises UsageError."""
        return self._ids(text, special=True)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ids, special tokens included; ids that the tokenizer does not know are left out."""
        text: str = self._backend.decode(list(tokens), skip_special_tokens=False)
        return text

    def _ids(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of the text alone. special: whether special tokens in it are read as such, or as their letters."""
        try:
            with self._lock:
                self._backend.encode_special_tokens = not special
                ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        except (TypeError, UnicodeEncodeError):  # lone surrogates: bytes of an argument that were not UTF-8
            raise UsageError(f"the text is not valid Unicode: {text[:40]!r}") from None
        return ids

    def _added_in_front(self) -> tuple[int, ...]:
        """What the post-processor puts before a text, such as Llama's begin of text; an end it adds is dropped."""
        probe = self._ids("a")
        added: list[int] = self._backend.encode("a").ids
        for at in range(len(added) - len(probe) + 1):
            if added[at : at + len(probe)] == probe:
                return tuple(added[:at])
        return ()
