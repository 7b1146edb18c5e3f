"""A conversation with a text model: its history as the token ids to continue, within the model's context."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from zoo.errors import UsageError
from zoo.modality import chat
from zoo.modality.chat import Message

if TYPE_CHECKING:
    from zoo.modality.text import TextControls, TextPiece
    from zoo.modality.text_model import TextModel
    from zoo.protocols import Tokenizer


class Conversation:
    """The turns so far. A model with a chat template gets them through it; a base model as plain text."""

    def __init__(
        self, model: TextModel, tokenizer: Tokenizer, controls: TextControls, *, system: str = ""
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._controls = controls
        self._templated = bool(tokenizer.chat_template)
        if self._templated:
            chat.refuse_special(tokenizer, model.name, "the system message", system)
        self._system = [Message("system", system)] if system else []
        self._turns: list[Message] = []
        self.forgotten = 0
        """How many messages were dropped from the front, since the start or the last reset, to fit the context."""

    def reset(self) -> None:
        """Forget everything but the system message."""
        self._turns, self.forgotten = [], 0

    def answer(self, text: str, *, seed: int) -> Generator[TextPiece]:
        """Say `text`; the pieces of the model's answer, which is remembered as far as it was heard.

        Raises UsageError when `text` alone is longer than the context or holds a special token, which could end
        the person's turn and forge others, and what `chat.render` raises; then, and when Ctrl-C comes before the
        model begins, the turn does not count.
        """
        if self._templated:
            chat.refuse_special(self._tokenizer, self._model.name, "the message", text)
        before = list(self._turns), self.forgotten
        try:
            self._turns.append(Message("user", text))
            tokens = self._tokens()
        except BaseException:  # Ctrl-C too: a question without an answer would stay
            self._turns, self.forgotten = before
            raise
        heard: list[str] = []
        try:
            for piece in self._model.stream_tokens(tokens, seed=seed, controls=self._controls):
                heard.append(piece.text)
                yield piece
        finally:
            said = "".join(heard)
            said = chat.before_special(self._tokenizer, said) if self._templated else said
            self._turns.append(Message("assistant", said))

    def _tokens(self) -> list[int]:
        """The conversation's token ids, the oldest turns dropped until the answer has room."""
        context, room = self._model.context, self._model.room(self._controls)
        while True:
            tokens = self._encoded()
            if len(tokens) + room <= context:
                return tokens
            if len(self._turns) == 1:
                raise UsageError(
                    f"this message makes {len(tokens):,} tokens, but with {room:,} left for the answer"
                    f" the context of {self._model.name} takes {context - room:,}",
                    hint="shorten it, or lower --max-tokens",
                )
            dropped = 2 if len(self._turns) > 2 else 1  # a question goes with its answer
            del self._turns[:dropped]
            self.forgotten += dropped

    def _encoded(self) -> list[int]:
        turns = self._system + self._turns
        if self._templated:
            return chat.encode(self._tokenizer, turns)
        text = "\n".join(message.content for message in turns)
        return self._tokenizer.encode(text) or list(self._tokenizer.start)
