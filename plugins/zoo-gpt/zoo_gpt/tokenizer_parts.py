"""The parts of a tokenizer.json that are run, by type: which fields each has, and how much it makes of a text.

What is not listed is refused. Source of the types: the package `tokenizers`, whose documentation says what each does.
Unicode's normal forms count as making nothing of a text: no file decides where they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from zoo.weights.tensors import shown
from zoo_gpt.patterns import is_linear

MOST_PARTS = 16  # of one kind, in all its sequences
MOST_MARK = 16  # characters that mark the beginning or the end of a word

Part = Mapping[str, Any]


class RefusedError(Exception):
    """What a tokenizer.json says is not allowed; the message says what it is."""


def normalizer_growth(part: Any) -> int:
    """Bytes that a normalizer may make of a byte of text. Raises RefusedError, as all of these."""
    return math.prod(_each(part, "normalizer", "normalizers", _NORMALIZERS))


def pre_tokenizer_growth(part: Any) -> int:
    """Bytes that a pre-tokenizer may make of a byte of text."""
    return math.prod(_each(part, "pre_tokenizer", "pretokenizers", _PRE_TOKENIZERS))


def decoder_growth(part: Any) -> int:
    """Bytes that a decoder may make of a byte of a token."""
    return math.prod(_each(part, "decoder", "decoders", _DECODERS))


def tokens_around(part: Any) -> int:
    """Tokens that a post-processor puts around a text."""
    found = _each(part, "post_processor", "processors", _POST_PROCESSORS)
    if sum(each > 0 for each in found) > 1:  # the package panics
        raise RefusedError("its post_processor puts tokens around a text twice")
    return sum(found)


def _each(
    part: Any, what: str, inside: str, kinds: Mapping[str, tuple[str, Callable[[Part], int]]]
) -> list[int]:
    """What each part makes of a text, of those in sequences too. inside: the field of a Sequence with its parts."""
    waiting, found = [] if part is None else [part], []
    while waiting:
        part = waiting.pop()
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "Sequence" and part.keys() == {"type", inside} and isinstance(part[inside], list):
            waiting += part[inside]
        elif isinstance(kind, str) and kind in kinds:
            fields, made = kinds[kind]
            if unknown := part.keys() - {"type", *fields.split()}:
                raise RefusedError(f"its {what} {kind} has a field {shown(min(unknown))}")
            found.append(made(part))
        else:
            raise RefusedError(f"its {what} is of type {shown(kind)}; read are {', '.join(kinds)}")
        if len(waiting) + len(found) > MOST_PARTS:
            raise RefusedError(f"its {what} has more than {MOST_PARTS} parts")
    return found


def _same(_: Part) -> int:
    return 1


def _twice(_: Part) -> int:
    return 2


def _marked(field: str, made: Callable[[int], int], *, default: str = "") -> Callable[[Part], int]:
    """Of a part with a short text, whose bytes `made` makes a growth of."""

    def growth(part: Part) -> int:
        said = part.get(field, default)
        if not isinstance(said, str) or not 0 < len(said) <= MOST_MARK:
            raise RefusedError(
                f"its {part['type']} has {field} {shown(said)}, not 1 to {MOST_MARK} characters"
            )
        return made(_bytes(said))

    return growth


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _searched(part: Part) -> int:
    """The bytes that a part's pattern finds at the least."""
    said = part.get("pattern")
    kind, pattern = next(iter(said.items())) if isinstance(said, dict) and len(said) == 1 else ("", None)
    if not isinstance(pattern, str) or not pattern or kind not in ("String", "Regex"):
        raise RefusedError(f"its {part['type']} has the pattern {shown(said)}")
    if kind == "Regex" and not is_linear(pattern):
        raise RefusedError(
            f"its {part['type']} searches for {shown(pattern)}, which is not known to take linear time"
        )
    return _bytes(pattern) if kind == "String" else 1


def _cut(part: Part) -> int:
    return min(1, _searched(part))


def _replaced(part: Part) -> int:
    content = part.get("content")
    if not isinstance(content, str):
        raise RefusedError(f"its Replace has content {shown(content)}, but must have text")
    return max(1, math.ceil(_bytes(content) / _searched(part)))


def _byte_level(part: Part) -> int:
    return 4 if part.get("add_prefix_space", True) else 2  # a blank before each piece


def _stripped(part: Part) -> int:
    if part.get("stop") != 0 or part.get("start") not in range(MOST_MARK):
        raise RefusedError(
            f"its Strip has start {shown(part.get('start'))} and stop {shown(part.get('stop'))}"
        )
    return 1  # at a stop the package panics


def _template(part: Part) -> int:
    """The tokens of a template's `single` form, which has the text once."""
    texts, around = [], 0
    try:
        sizes = {name: len(said["ids"]) for name, said in part["special_tokens"].items()}
        same = all(len(said["tokens"]) == len(said["ids"]) for said in part["special_tokens"].values())
        for form in ("single", "pair"):
            for [(kind, said)] in (piece.items() for piece in part[form]):
                if kind == "SpecialToken":
                    around += sizes[said["id"]]
                elif form == "single":
                    texts.append(said["id"])
    except (TypeError, ValueError, KeyError, AttributeError):
        same = False
    if not same or texts != ["A"]:
        raise RefusedError("its TemplateProcessing does not put known tokens around a text")
    return max(1, around)


_BYTE_LEVEL = "add_prefix_space trim_offsets use_regex"
_METASPACE = "replacement prepend_scheme split str_rep add_prefix_space"

_NORMALIZERS = {
    **dict.fromkeys(("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"), ("", _same)),
    "Strip": ("strip_left strip_right", _same),
    "BertNormalizer": ("clean_text handle_chinese_chars strip_accents lowercase", _twice),
    "ByteLevel": ("", _twice),
    "Prepend": ("prepend", _marked("prepend", lambda size: 1 + size)),
    "Replace": ("pattern content", _replaced),
}
_PRE_TOKENIZERS = {
    **dict.fromkeys(("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "UnicodeScripts"), ("", _same)),
    "ByteLevel": (_BYTE_LEVEL, _byte_level),
    "Metaspace": (_METASPACE, _marked("replacement", lambda size: 1 + size)),
    "Split": ("pattern behavior invert", _cut),
    "Digits": ("individual_digits", _same),
    "Punctuation": ("behavior", _same),
    "CharDelimiterSplit": ("delimiter", _same),
}
_DECODERS = {
    "ByteLevel": (_BYTE_LEVEL, _twice),
    "ByteFallback": ("", _same),
    "Fuse": ("", _same),
    "Metaspace": (_METASPACE, _marked("replacement", lambda _: 1)),
    "Replace": ("pattern content", _replaced),
    "Strip": ("content start stop", _stripped),
    "WordPiece": ("prefix cleanup", _marked("prefix", lambda _: 2)),
    "BPEDecoder": ("suffix", _marked("suffix", lambda _: 1)),
}
_POST_PROCESSORS = {
    "ByteLevel": (_BYTE_LEVEL, lambda _: 0),
    "BertProcessing": ("sep cls", _twice),
    "RobertaProcessing": ("sep cls trim_offsets add_prefix_space", _twice),
    "TemplateProcessing": ("single pair special_tokens", _template),
}
