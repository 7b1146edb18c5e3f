"""What a stranger's tokenizer files may say, so that reading, encoding and decoding stay linear in what is read.

The package `tokenizers` runs whatever a tokenizer.json describes: replacements that grow a text a thousandfold each,
patterns whose search never ends, parts that panic. So what a file says is compared with what models use before the
package sees it. What passes makes of a byte of text at most `MOST_GROWTH`, in at most `tokenizer_parts.MOST_PARTS`
goes over the text, and its patterns are looked for in linear time (`zoo_gpt.patterns`).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from zoo.errors import WeightsError
from zoo.weights import companions
from zoo.weights.tensors import shown, strict_json
from zoo_gpt import tokenizer_parts
from zoo_gpt.tokenizer_parts import MOST_MARK, RefusedError

MOST_GROWTH = 12
"""Bytes that a byte of text, or of a token, may become; Llama 2's rules make 12 of a blank."""

_MOST = {b",": 2_500_000, b"[": 1_200_000, b"{": 200_000, b"\n": 1_200_000}
"""Of a file: values, lists, objects, and lines of merges. The largest in use have half."""
_MOST_TOKEN = 1_000  # characters
_MOST_PIECE = 64  # characters of a token of Unigram, which tries all so long at each place
_MOST_PIECES = 4_000_000  # bytes of all these: the package makes a tree of them, with a table for each byte
_MOST_WORD = 200  # characters of a word of WordPiece, which takes their square
_MOST_ADDED = 2_000_000  # characters of all added tokens
_MOST_AROUND = 64  # tokens around a text
_FIELDS = {
    "BPE": "dropout unk_token continuing_subword_prefix end_of_word_suffix fuse_unk byte_fallback ignore_merges "
    "vocab merges",
    "Unigram": "unk_id vocab byte_fallback",
    "WordPiece": "unk_token continuing_subword_prefix max_input_chars_per_word vocab",
    "WordLevel": "unk_token vocab",
}


def read(path: Path) -> str:
    """The content of a tokenizer.json. Raises WeightsError, saying what in it is refused."""
    raw = _bytes(path)
    try:
        content = strict_json(raw)
        _check_parts(content)
        _check_model(content.get("model"))
        _check_added(content.get("added_tokens", []))
    except (ValueError, RefusedError) as error:
        raise WeightsError(f"the tokenizer files cannot be read: {path.name}: {error}") from None
    return raw.decode()


def check_size(path: Path) -> None:
    """Raises WeightsError for vocab.json or merges.txt if it holds more than any in use."""
    _bytes(path)


def check_added(tokenizer: Tokenizer) -> None:
    """Raises WeightsError for an added token of which the normalizer leaves nothing: the package would panic."""
    for token in tokenizer.get_added_tokens_decoder().values():
        if (
            token.normalized
            and tokenizer.normalizer
            and not tokenizer.normalizer.normalize_str(token.content)
        ):
            raise WeightsError(f"the normalizer leaves nothing of the added token {token.content!a}")


def check_vocabulary(words: Collection[str]) -> None:
    """Raises WeightsError for a token longer than any in use: a few ids could be gigabytes of text."""
    if max(map(len, words), default=0) > _MOST_TOKEN:
        raise WeightsError(f"the vocabulary has a token of more than the {_MOST_TOKEN:,} characters allowed")


def _bytes(path: Path) -> bytes:
    companions.check_size(path, companions.MOST_TOKENIZER_BYTES)
    raw = path.read_bytes()
    for sign in (b",", b"[", b"{") if path.suffix == ".json" else (b"\n",):
        if (found := raw.count(sign)) > (most := _MOST[sign]):
            raise WeightsError(
                f"{path.name} has {found:,} times {sign.decode()!r}, and at most {most:,} are read"
            )
    return raw


def _check_parts(content: dict[str, Any]) -> None:
    before = tokenizer_parts.normalizer_growth(content.get("normalizer"))
    before *= tokenizer_parts.pre_tokenizer_growth(content.get("pre_tokenizer"))
    after = tokenizer_parts.decoder_growth(content.get("decoder"))
    around = tokenizer_parts.tokens_around(content.get("post_processor"))
    if max(before, after) > MOST_GROWTH:
        raise RefusedError(
            f"it may make a text {max(before, after):,} times as long, and at most {MOST_GROWTH} times is allowed"
        )
    if around > _MOST_AROUND:
        raise RefusedError(f"it puts {around:,} tokens around a text, and at most {_MOST_AROUND} are allowed")


def _check_model(model: Any) -> None:
    said = model if isinstance(model, dict) else {}
    kind = said.get("type", "BPE" if "merges" in said else None)
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise RefusedError(f"its model is of type {shown(kind)}; read are {', '.join(_FIELDS)}")
    if unknown := said.keys() - {"type", *_FIELDS[kind].split()}:
        raise RefusedError(f"its model {kind} has a field {shown(min(unknown))}")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        mark = said.get(name) or ""
        if not isinstance(mark, str) or len(mark) > (0 if kind == "BPE" and name[0] == "c" else MOST_MARK):
            raise RefusedError(
                f"its model {kind} has {name} {shown(mark)}"
            )  # with BPE's the package may panic
    if said.get("max_input_chars_per_word", 0) not in range(_MOST_WORD + 1):
        raise RefusedError(
            f"its WordPiece takes words of {shown(said['max_input_chars_per_word'])} characters"
        )
    _check_words(kind, said.get("vocab"))


def _check_words(kind: str, vocabulary: Any) -> None:
    if kind == "Unigram" and isinstance(vocabulary, list):
        vocabulary = [piece[0] for piece in vocabulary if isinstance(piece, list) and piece]
    elif kind == "Unigram" or not isinstance(vocabulary, dict):
        raise RefusedError(f"its model {kind} has no vocabulary")
    most = _MOST_PIECE if kind == "Unigram" else _MOST_TOKEN
    words = [word for word in vocabulary if isinstance(word, str)]
    if (longest := max(map(len, words), default=0)) > most:
        raise RefusedError(
            f"its vocabulary has a token of {longest:,} characters, and at most {most:,} are allowed"
        )
    if kind == "Unigram" and (size := sum(map(len, map(str.encode, words)))) > _MOST_PIECES:
        raise RefusedError(f"its vocabulary has {size:,} bytes, and at most {_MOST_PIECES:,} are read")


def _check_added(tokens: Any) -> None:
    characters = 0
    for token in tokens if isinstance(tokens, list) else ():
        content = token.get("content") if isinstance(token, dict) else None
        if not isinstance(content, str) or not 0 < len(content) <= _MOST_TOKEN:
            raise RefusedError(f"an added token is {shown(content)}, not 1 to {_MOST_TOKEN:,} characters")
        characters += len(content)
    if characters > _MOST_ADDED:
        raise RefusedError(
            f"its added tokens have {characters:,} characters, and at most {_MOST_ADDED:,} are allowed"
        )
