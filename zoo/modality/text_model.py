"""A text model: prompts to token ids, the network's tokens to text as they arrive."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import CapabilityError, UsageError, WeightsError
from zoo.modality import chat
from zoo.modality.text import Finish, TextControls, TextPiece, TextSample, TextWriter
from zoo.model import Model
from zoo.noise import Noise
from zoo.protocols import Tokenizer
from zoo.settings import require_whole

if TYPE_CHECKING:
    from torch import nn

    from zoo.targets import Target

BATCH_SIZE = 8
"""Rows drawn together unless asked otherwise: most of the speed a CPU gains from batching, at little memory."""


@dataclass(frozen=True, eq=False, repr=False)
class TextModel(Model):
    """network maps token ids (B, T) to logits (B, T, V); tokenizer is None when the files hold none."""

    tokenizer: Tokenizer | None = None

    def sample(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        start: int = 0,
        batch_size: int = BATCH_SIZE,
        controls: TextControls | None = None,
        **settings: Any,
    ) -> Iterator[str]:
        """Whole texts, prompt and continuation, in order of index; see `stream` for the arguments."""
        samples = self.samples(
            prompt, count=count, seed=seed, start=start, batch_size=batch_size, controls=controls, **settings
        )
        return (sample.prompt + sample.text for sample in samples)

    def samples(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        start: int = 0,
        batch_size: int = BATCH_SIZE,
        controls: TextControls | None = None,
        **settings: Any,
    ) -> Iterator[TextSample]:
        """Finished samples in order of index; see `stream` for the arguments."""
        pieces = self.stream(
            prompt, count=count, seed=seed, start=start, batch_size=batch_size, controls=controls, **settings
        )
        return _in_order(pieces, start)

    def stream(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        start: int = 0,
        batch_size: int = BATCH_SIZE,
        controls: TextControls | None = None,
        **settings: Any,
    ) -> Iterator[TextPiece]:
        """Text as it is drawn: pieces of the samples of a batch take turns, a piece with `sample` ends its sample.

        prompt: one text for all samples, or a sequence with one text a sample.
        count: how many samples (1, or one a prompt). start: the index of the first. Sample i is the same text
        for every start, count and batch_size.
        controls, or its fields as keywords: see `zoo.modality.text.TextControls`.
        Raises UsageError for a bad setting or a prompt longer than the context, CapabilityError without tokenizer,
        WeightsError when the tokenizer is not the network's; all of them before anything is drawn.
        """
        asked = self.asked(controls, settings)
        prompts = _prompts(asked.prompt if prompt is None else prompt, count)
        require_whole("batch_size", batch_size)
        noise, tokenizer = Noise(seed, start), self._tokenizer()
        tokens_of = {text: self.encode_prompt(text, asked) for text in dict.fromkeys(prompts)}
        return self._stream(
            prompts, [tokens_of[text] for text in prompts], noise, asked, tokenizer, batch_size
        )

    def generate(
        self,
        prompt: str | None = None,
        *,
        seed: int = 0,
        controls: TextControls | None = None,
        **settings: Any,
    ) -> str:
        """What the model writes after one prompt, without the prompt: the text of sample 0; see `stream`."""
        if prompt is not None and not isinstance(prompt, str):
            raise UsageError(
                f"prompt is {reprlib.repr(prompt)}, but must be text", hint="`sample` takes several prompts"
            )
        [sample] = self.samples(prompt, seed=seed, controls=self.asked(controls, settings))
        return sample.text

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        seed: int = 0,
        controls: TextControls | None = None,
        **settings: Any,
    ) -> str:
        """The assistant's next turn in a conversation, by the model's own chat template.

        messages: every turn so far, {"role": "system", "user" or "assistant", "content": text} each; nothing of an
        earlier call is remembered. The reply ends before a special token written out, so it may be put into the next
        call's messages as it is. controls, or its fields as keywords: see `zoo.modality.text.TextControls`; a prompt
        and what belongs to it has no meaning here.
        Raises CapabilityError for a model without a template; UsageError for a bad setting, for messages that are
        none, hold a special token or leave no room for an answer, and what `zoo.modality.chat.render` raises.
        """
        tokenizer = self._tokenizer()
        if not tokenizer.chat_template:
            raise CapabilityError(
                f"{self.name} is a base model without a chat template", hint="`generate` continues a text"
            )
        if refused := sorted(settings.keys() & set(chat.WITHOUT)):
            raise UsageError(f"chat with {self.name}: {refused[0]} has no meaning in a chat")
        asked, turns = self.asked(controls, settings), chat.messages(messages)
        for number, turn in enumerate(turns, 1):
            chat.refuse_special(tokenizer, self.name, f"message {number}", turn.content)
        tokens, room = chat.encode(tokenizer, turns), self.room(asked)
        if len(tokens) + room > self.context:
            raise UsageError(
                f"the messages make {len(tokens):,} tokens, but with {room:,} left for the answer the context of"
                f" {self.name} takes {self.context - room:,}",
                hint="leave out the oldest messages, or lower max_tokens",
            )
        pieces = self.stream_tokens(tokens, seed=seed, controls=asked)
        return chat.before_special(tokenizer, "".join(piece.text for piece in pieces))

    def stream_tokens(
        self, prompt: Sequence[int], *, seed: int = 0, controls: TextControls
    ) -> Iterator[TextPiece]:
        """One sample's text as it is drawn, continuing token ids (a chat's, say) instead of text.

        Raises UsageError for a prompt longer than the context, WeightsError for ids that the network does not know.
        """
        self._check(prompt)
        return self._stream([""], [list(prompt)], Noise(seed), controls, self._tokenizer(), 1)

    def encode_prompt(self, text: str, controls: TextControls) -> list[int]:
        """The prompt's token ids, never none; cut at the left to leave room if `controls.truncate` says so.

        What the tokenizer puts in front of every text, such as a begin-of-text token, is not cut.
        Raises UsageError for a prompt longer than the context, WeightsError for ids that the network does not know.
        """
        tokenizer = self._tokenizer()
        tokens = tokenizer.encode(text) or list(tokenizer.start)
        context = self.context
        if len(tokens) >= context and controls.truncate == "left":
            room = self.room(controls)
            front = tokenizer.encode("")
            tokens = front + tokens[len(tokens) - (context - room - len(front)) :]
        self._check(tokens)
        return tokens

    @property
    def context(self) -> int:
        """The most tokens a text may have."""
        return int(self.network.context)  # type: ignore[arg-type]

    def room(self, controls: TextControls) -> int:
        """How many tokens of the context are kept for an answer where there is too much to read."""
        return min(controls.max_tokens, self.context // 2)

    def _check(self, tokens: Sequence[int]) -> None:
        """The network can read these ids, and has room for one more."""
        known = int(self.network.vocabulary)  # type: ignore[arg-type]
        unknown = [token for token in tokens if not 0 <= token < known]
        if unknown:
            raise WeightsError(
                f"the prompt has the token id {unknown[0]}, but the network of {self.name} knows 0 to {known - 1}",
                hint="the tokenizer files beside the weights are those of another model",
            )
        if len(tokens) >= self.context:
            raise UsageError(
                f"the prompt is {len(tokens):,} tokens long, but the context of {self.name} is"
                f" {self.context:,} tokens, one of which must be left for the answer",
                hint="shorten the prompt, or keep its end only with --truncate left",
            )

    def _tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise CapabilityError(
                f"{self.name} has no tokenizer files, so it cannot read or write text",
                hint="its network works on token ids; put tokenizer.json beside the weights for text",
            )
        return self.tokenizer

    def _stream(
        self,
        prompts: Sequence[str],
        encoded: Sequence[Sequence[int]],
        noise: Noise,
        controls: TextControls,
        tokenizer: Tokenizer,
        batch_size: int,
    ) -> Iterator[TextPiece]:
        for at in range(0, len(prompts), batch_size):
            rows, batch = slice(at, at + batch_size), Noise(noise.seed, noise.start + at)
            yield from self._stream_batch(prompts[rows], encoded[rows], batch, controls, tokenizer)

    def _stream_batch(
        self,
        prompts: Sequence[str],
        encoded: Sequence[Sequence[int]],
        noise: Noise,
        controls: TextControls,
        tokenizer: Tokenizer,
    ) -> Iterator[TextPiece]:
        writers = [TextWriter(tokenizer, tokens, controls.stop) for tokens in encoded]
        written = [0] * len(writers)
        done: set[int] = set()

        def end(row: int, text: str, finish: Finish) -> TextPiece:
            done.add(row)
            writer, index = writers[row], noise.start + row
            text += writer.finish()
            per_token = None
            if controls.logprobs is not None:
                from zoo.modality.token_probabilities import told

                per_token = told(self.network, tokenizer, encoded[row], writer.tokens, controls.logprobs)
            sample = TextSample(
                index, noise.seed, prompts[row], writer.text, writer.tokens, finish, per_token
            )
            return TextPiece(index, text, sample)

        for step in self.network.sample(encoded, noise, controls, done):  # type: ignore[operator]
            for row, token in enumerate(step):
                if token is None or row in done:
                    continue
                if token in tokenizer.end:
                    yield end(row, "", "end")
                    continue
                text = writers[row].add(token)
                written[row] += 1
                full = len(encoded[row]) + written[row] >= self.context
                if writers[row].stopped:
                    yield end(row, text, "stop")
                elif written[row] >= controls.max_tokens or full:
                    yield end(row, text, "length")
                elif text:
                    yield TextPiece(noise.start + row, text)


def opened(found: Target, network: nn.Module, files: dict[str, Path]) -> TextModel:
    """The model of a text family's network, with the tokenizer that its files hold."""
    family = found.family
    tokenizer = family.resolve("tokenizer")(files) if family.tokenizer and files else None
    return TextModel(
        found.name, family, found.config, network, files, found.entry, found.revision, tokenizer=tokenizer
    )


def _prompts(prompt: str | Sequence[str], count: int | None) -> list[str]:
    """The prompt of each sample. Raises UsageError for what is no text, or not as many as are to be drawn."""
    if count is not None:
        require_whole("count", count)
    if isinstance(prompt, str):
        return [prompt] * (1 if count is None else count)
    if not isinstance(prompt, Sequence) or not all(isinstance(text, str) for text in prompt):
        raise UsageError(f"prompt is {reprlib.repr(prompt)}, but must be text, or a list with one a sample")
    if count is not None and count != len(prompt):
        raise UsageError(f"count is {count}, but there are {len(prompt)} prompts; leave count out")
    return list(prompt)


def _in_order(pieces: Iterator[TextPiece], start: int) -> Iterator[TextSample]:
    """The finished samples in order of index, from `start` on."""
    waiting: dict[int, TextSample] = {}
    following = start
    for piece in pieces:
        if piece.sample is not None:
            waiting[piece.index] = piece.sample
        while following in waiting:
            yield waiting.pop(following)
            following += 1
