"""The smallest tokenizer there is: a token a byte. For tests of every room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

END = 256


class ByteTokenizer:
    """A token a byte; END ends a text, and stands before one that is begun from nothing."""

    vocabulary = 257
    end = frozenset({END})
    chat_template = ""
    special: ClassVar[dict[str, str]] = {}
    start = (END,)

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    encode_chat = encode

    def special_in(self, text: str) -> tuple[str, ...]:
        return tuple(token for token in ("<|im_start|>", "<|im_end|>") if token in text)

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(token for token in tokens if token < END).decode(errors="replace")

    def bytes_of(self, token: int) -> bytes | None:
        return bytes([token]) if token < END else b""
