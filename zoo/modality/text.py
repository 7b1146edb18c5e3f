"""Text: what may be asked of a text model, and how tokens become text as they arrive. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zoo.settings import setting

if TYPE_CHECKING:
    from zoo.protocols import Tokenizer

Finish = Literal["stop", "end", "length"]
"""Why a sample ended: a stop text was written, the model ended its text, or max_tokens or the context was reached."""


@dataclass(frozen=True)
class TextControls:
    """What may be asked of a text model when sampling."""

    prompt: str = setting("", help="text to continue; - reads standard input", flags=("-p",))
    max_tokens: int = setting(256, help="most new tokens a sample", minimum=1, unit="tokens")
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
    stop: tuple[str, ...] = setting((), help="end a sample before this text; may be given again")
    greedy: bool = setting(False, help="always take the likeliest token")
    truncate: str = setting(
        "never", help="what to do with a prompt longer than the context", choices=("never", "left")
    )


@dataclass(frozen=True)
class TextSample:
    """One finished sample. tokens: the new token ids (without the prompt's and without an end token)."""

    index: int
    seed: int
    prompt: str
    text: str
    tokens: tuple[int, ...]
    finish: Finish


@dataclass(frozen=True)
class TextPiece:
    """A bit of text of sample `index`, as it arrives; `sample` is set with the last one."""

    index: int
    text: str
    sample: TextSample | None = None


class TextWriter:
    """Turns one sample's tokens into text piece by piece; the pieces joined are exactly the final text.

    Holds back bytes that are not yet a whole character, and text that may become a stop text. Decoding every token
    again at each step would cost the square of the length, and decoding a token alone loses the space that some
    tokenizers write only between tokens: so each step decodes from the piece before on.
    """

    _MOST_BYTES_OF_A_CHARACTER = 4

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = (), stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._tokens = list(prompt)
        self._prompt_length = len(self._tokens)
        self._from = max(0, len(self._tokens) - 8)  # decoding starts here
        self._read = len(self._tokens)  # tokens before it are already in the text
        self._text = ""
        self._shown = 0  # characters handed out
        self.stopped = False

    @property
    def tokens(self) -> tuple[int, ...]:
        """The new tokens taken so far."""
        return tuple(self._tokens[self._prompt_length :])

    @property
    def text(self) -> str:
        """All text handed out so far."""
        return self._text[: self._shown]

    def add(self, token: int) -> str:
        """Take a token; return the text that is now certain, perhaps "". Sets `stopped` at a stop text."""
        self._tokens.append(token)
        held = len(self._tokens) - self._read
        self._take(whole_characters=held <= self._MOST_BYTES_OF_A_CHARACTER)
        return self._show(final=False)

    def finish(self) -> str:
        """The text still held back, once no more tokens come."""
        if self.stopped:
            return ""
        self._take(whole_characters=False)
        return self._show(final=True)

    def _take(self, *, whole_characters: bool) -> None:
        before = self._tokenizer.decode(self._tokens[self._from : self._read])
        after = self._tokenizer.decode(self._tokens[self._from :])
        if whole_characters and after.endswith("\ufffd"):
            return
        self._text += after[len(before) :]
        self._from, self._read = self._read, len(self._tokens)

    def _show(self, *, final: bool) -> str:
        ends = [at for at in (self._text.find(stop) for stop in self._stop) if at >= 0]
        if ends:
            self.stopped = True
            until = min(ends)
        else:
            until = len(self._text) if final else len(self._text) - self._may_become_stop()
        piece = self._text[self._shown : until]
        self._shown = max(self._shown, until)
        return piece

    def _may_become_stop(self) -> int:
        """How many characters at the end of the text begin a stop text."""
        sizes = (
            size for stop in self._stop for size in range(1, len(stop)) if self._text.endswith(stop[:size])
        )
        return max(sizes, default=0)
