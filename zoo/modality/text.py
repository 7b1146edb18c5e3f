"""Text: what may be asked of a text model, and how tokens become text as they arrive. Imports no torch."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zoo.settings import Settings, setting

if TYPE_CHECKING:
    from zoo.protocols import Tokenizer

Finish = Literal["stop", "end", "length"]
"""Why a sample ended: a stop text was written, the model ended its text, or max_tokens or the context was reached."""


@dataclass(frozen=True)
class TextControls(Settings):
    """What may be asked of a text model when sampling."""

    prompt: str = setting("", help="text to continue; - reads standard input", flags=("-p",))
    max_tokens: int = setting(
        256, help="most new tokens of a sample", minimum=1, maximum=1_000_000, unit="tokens"
    )
    temperature: float = setting(
        0.8, help="divides the logits; 1 is the model's own distribution, 0 is --greedy", minimum=0.0
    )
    top_k: int | None = setting(None, help="draw from the k likeliest tokens only", minimum=1, unit="tokens")
    top_p: float | None = setting(
        None, help="draw from the fewest tokens whose probability reaches p", above=0.0, maximum=1.0
    )
    min_p: float | None = setting(
        None, help="drop tokens less likely than this share of the likeliest", minimum=0.0, maximum=1.0
    )
    repetition_penalty: float = setting(
        1.0, help="above 1 makes tokens already in the text less likely", above=0.0
    )
    frequency_penalty: float = setting(
        0.0,
        help="subtracted from a token's logit once for each time it was generated",
        minimum=-2.0,
        maximum=2.0,
    )
    presence_penalty: float = setting(
        0.0, help="subtracted from a token's logit if it was generated before", minimum=-2.0, maximum=2.0
    )
    stop: tuple[str, ...] = setting((), help="end a sample before this text; may be given again")
    greedy: bool = setting(False, help="always take the likeliest token")
    truncate: str = setting(
        "never", help="what to do with a prompt longer than the context", choices=("never", "left")
    )
    logprobs: int | None = setting(
        None,
        help="with --json or -o: log-probability of each token, and of the k likeliest in its place",
        minimum=0,
        maximum=1000,
        unit="tokens",
    )


@dataclass(frozen=True)
class TokenProbability:
    """A token at its place in a sample: its id, what it adds to the text, and its natural log-probability.

    The probability is the model's own, given all tokens before: without temperature, penalties and filters.
    top: the likeliest tokens at this place, the likeliest first; the token itself may be among them.
    """

    token: int
    text: str
    log_prob: float
    top: tuple[TokenProbability, ...] = ()


@dataclass(frozen=True)
class TextSample:
    """One finished sample. tokens: the new token ids (without the prompt's and without an end token).

    per_token: of each of them, when `TextControls.logprobs` asks for it.
    """

    index: int
    seed: int
    prompt: str
    text: str
    tokens: tuple[int, ...]
    finish: Finish
    per_token: tuple[TokenProbability, ...] | None = None


@dataclass(frozen=True)
class TextPiece:
    """A bit of text of sample `index`, as it arrives; `sample` is set with the last one."""

    index: int
    text: str
    sample: TextSample | None = None


class TextWriter:
    """Turns one sample's tokens into text piece by piece; the pieces joined are exactly the final text.

    Holds back bytes that are not yet a whole character, and text that may become a stop text. Tokens that are bytes
    (see `zoo.protocols.BytewiseTokenizer`) are decoded as UTF-8 as they come. Any other is decoded after the ones
    before it, because some tokenizers write a space only between tokens; not after all of them, which would cost the
    square of the length.
    """

    _MOST_BYTES_OF_A_CHARACTER = 4
    _MOST_BEFORE = 32  # tokens decoded again with the next one

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = (), stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._bytes_of: Callable[[int], bytes | None] = getattr(tokenizer, "bytes_of", lambda _: None)
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(text for text in stop if text)
        self._tokens = list(prompt)
        self._prompt_length = len(self._tokens)
        self._from = max(0, len(self._tokens) - 8)  # decoding starts here
        self._read = len(self._tokens)  # tokens before it are already in the text
        self._pieces: list[str] = []  # handed out
        self._held = ""
        self.stopped = False
        self._utf8.decode(self._end_of_prompt())

    @property
    def tokens(self) -> tuple[int, ...]:
        """The new tokens taken so far."""
        return tuple(self._tokens[self._prompt_length :])

    @property
    def text(self) -> str:
        """All text handed out so far."""
        return "".join(self._pieces)

    def add(self, token: int) -> str:
        """Take a token; return the text that is now certain, perhaps "". Sets `stopped` at a stop text."""
        raw = self._bytes_of(token)
        if raw is None:
            text = self._utf8.decode(b"", final=True)
            self._tokens.append(token)
            return self._show(text + self._take(whole_characters=True), final=False)
        text = self._take(whole_characters=False)
        self._tokens.append(token)
        self._read = len(self._tokens)
        return self._show(text + self._utf8.decode(raw), final=False)

    def finish(self) -> str:
        """The text still held back, once no more tokens come."""
        if self.stopped:
            return ""
        return self._show(self._take(whole_characters=False) + self._utf8.decode(b"", final=True), final=True)

    def _end_of_prompt(self) -> bytes:
        """The last bytes of the prompt, which may begin a character that the first tokens complete."""
        raw = b""
        for token in reversed(self._tokens):
            more = self._bytes_of(token)
            if more is None or len(raw) >= self._MOST_BYTES_OF_A_CHARACTER - 1:
                break
            raw = more + raw
        return raw

    def _take(self, *, whole_characters: bool) -> str:
        """The text of the tokens that are not read yet."""
        held = len(self._tokens) - self._read
        if not held:
            return ""
        before = self._tokenizer.decode(self._tokens[self._from : self._read])
        after = self._tokenizer.decode(self._tokens[self._from :])
        # a tokenizer that does not tell its bytes writes this character for those that are not a whole one yet
        if whole_characters and held <= self._MOST_BYTES_OF_A_CHARACTER and after.endswith("\ufffd"):
            return ""
        text = after[len(before) :]
        if text or self._read - self._from >= self._MOST_BEFORE:
            self._from = self._read
        self._read = len(self._tokens)
        return text

    def _show(self, text: str, *, final: bool) -> str:
        self._held += text
        ends = [at for at in (self._held.find(stop) for stop in self._stop) if at >= 0]
        if ends:
            self.stopped = True
            until = min(ends)
        else:
            until = len(self._held) if final else len(self._held) - self._may_become_stop()
        piece = self._held[:until]
        self._held = self._held[until:]
        self._pieces.append(piece)
        return piece

    def _may_become_stop(self) -> int:
        """How many characters at the end of the text begin a stop text."""
        sizes = (
            size for stop in self._stop for size in range(1, len(stop)) if self._held.endswith(stop[:size])
        )
        return max(sizes, default=0)
