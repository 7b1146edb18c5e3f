"""Text to token ids and back, from a repo's own files, through the package `tokenizers`.

Special tokens that a person writes in a prompt are text like any other: only a chat template can set them.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from zoo.errors import UsageError, WeightsError, ZooError
from zoo.weights import companions
from zoo_gpt import merges, tokenizer_guard

_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<|im_end|>", "<|eot_id|>", "<|end|>")
"""Special tokens that end a text or a turn wherever they exist; files often declare only one of those they use."""

_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_BYTE_LEVEL = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(0x100 + at): byte for at, byte in enumerate(sorted({*range(0x100)} - {*_PRINTABLE}))
}
"""GPT-2's letters for bytes: a printable byte is itself, the others are numbered from U+0100 on."""

_BYTE_FALLBACK = {f"<0x{byte:02X}>": bytes([byte]) for byte in range(0x100)}
"""SentencePiece's tokens for the bytes of characters that its vocabulary lacks."""


def load(files: Mapping[str, Path]) -> GPTTokenizer | None:
    """From tokenizer.json, else vocab.json and merges.txt; None when the files hold none.

    What begins and ends a text is read from config.json, generation_config.json and tokenizer_config.json where they
    are, the chat template from tokenizer_config.json or chat_template.jinja. Raises WeightsError for broken files
    and for a tokenizer in a form that is not read.
    """
    whole = "tokenizer.json" in files
    if not (whole or all(name in files for name in (merges.VOCABULARY, merges.MERGES))):
        _refuse_others(files)
        return None
    declared = _Declared(files)
    with _faults_told("the tokenizer files cannot be read"):
        backend = (
            tokenizers.Tokenizer.from_str(tokenizer_guard.read(files["tokenizer.json"]))
            if whole
            else merges.read(files, declared.config, declared.tokenizer)
        )
        tokenizer_guard.check_added(backend)
        return GPTTokenizer(backend, declared)


def _refuse_others(files: Mapping[str, Path]) -> None:
    """Raises WeightsError for a tokenizer in another form than is read, or half of one."""
    if "tokenizer.model" in files:
        raise WeightsError(
            "the tokenizer is there as tokenizer.model alone, a form that is not read here",
            hint=merges.MAKE_IT,
        )
    for name, other in ((merges.VOCABULARY, merges.MERGES), (merges.MERGES, merges.VOCABULARY)):
        if name in files:
            raise WeightsError(
                f"{name} is half of a tokenizer: {other} is not beside it", hint=merges.MAKE_IT
            )


@contextlib.contextmanager
def _faults_told(what: str) -> Iterator[None]:
    """Whatever the package raises becomes a WeightsError; a panic of its Rust is a bare BaseException."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, ZooError):
        raise
    except BaseException as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{what}: {reason or type(error).__name__}") from error


class _Declared:
    """What the files beside the tokenizer say of it; every one of them may be absent."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        generation, config, tokenizer = (
            companions.read_json(files[name]) if name in files else {}
            for name in ("generation_config.json", "config.json", "tokenizer_config.json")
        )
        self.config, self.tokenizer = config, tokenizer
        configs = (generation, config)
        self.special = {
            name: text
            for name in ("bos_token", "eos_token", "pad_token", "unk_token")
            if (text := _text(tokenizer.get(name)))
        }
        self.start_ids = [number for config in configs for number in _ids(config.get("bos_token_id"))]
        self.end_ids = [number for config in configs for number in _ids(config.get("eos_token_id"))]
        self.chat_template = _template(tokenizer.get("chat_template"))
        if "chat_template.jinja" in files:
            self.chat_template = companions.read_text(files["chat_template.jinja"])


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


def _decoders(backend: tokenizers.Tokenizer) -> set[str]:
    """The kinds of decoders by which a tokenizer's tokens become text."""
    if backend.decoder is None:
        return set()
    described = json.loads(backend.decoder.__getstate__())
    return {part["type"] for part in described.get("decoders", [described])}


class GPTTokenizer:
    """A `zoo.protocols.BytewiseTokenizer` over the package `tokenizers`."""

    def __init__(self, backend: tokenizers.Tokenizer, declared: _Declared) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._lock = threading.Lock()
        decoders = _decoders(backend)
        self._byte_level = decoders == {"ByteLevel"}
        self._byte_fallback = "ByteFallback" in decoders
        self.vocabulary: int = backend.get_vocab_size()
        self.chat_template = declared.chat_template
        self.special = declared.special
        added = backend.get_added_tokens_decoder()
        special = {token.content: number for number, token in added.items() if token.special}
        self._special_ids = {number: text for text, number in special.items()}
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

    def special_in(self, text: str) -> tuple[str, ...]:
        """The special tokens that `encode_chat` would read in a text, and `encode` not. Raises UsageError."""
        as_letters = set(self._ids(text))
        found = dict.fromkeys(self._ids(text, special=True))
        return tuple(
            self._special_ids[number]
            for number in found
            if number in self._special_ids and number not in as_letters
        )

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ids, special tokens included; ids that the tokenizer does not know are left out."""
        with _faults_told("the tokenizer cannot decode"):
            text: str = self._backend.decode(list(tokens), skip_special_tokens=False)
        return text

    def bytes_of(self, token: int) -> bytes | None:
        """The bytes that a token stands for; see `zoo.protocols.BytewiseTokenizer`."""
        written = self._backend.id_to_token(token)
        if written is None:
            return b""
        if not self._byte_level:
            return _BYTE_FALLBACK.get(written) if self._byte_fallback else None
        try:
            return bytes([_BYTE_LEVEL[letter] for letter in written])
        except KeyError:  # an added token, written as it is
            return written.encode()

    def _ids(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of the text alone. special: whether special tokens in it are read as such, or as their letters."""
        try:
            text.encode()
        except UnicodeEncodeError:  # lone surrogates: bytes of an argument that were not UTF-8
            raise UsageError(f"the text is not valid Unicode: {text[:40]!r}") from None
        with _faults_told("the tokenizer cannot encode this text"), self._lock:
            self._backend.encode_special_tokens = not special
            ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def _added_in_front(self) -> tuple[int, ...]:
        """What the post-processor puts before a text, such as Llama's begin of text; an end it adds is dropped."""
        probe = self._ids("a")
        added: list[int] = self._backend.encode("a").ids
        for at in range(len(added) - len(probe) + 1):
            if added[at : at + len(probe)] == probe:
                return tuple(added[:at])
        return ()
