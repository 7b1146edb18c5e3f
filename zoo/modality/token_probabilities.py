"""How likely each token of a sample was, and which others were likeliest, by the model's own distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zoo.modality.text import TextWriter, TokenProbability
from zoo.nn.likelihood import next_token_log_probs
from zoo.protocols import Tokenizer

if TYPE_CHECKING:
    import torch

_BEFORE = 8  # tokens that a token's text may depend on


def told(
    network: Callable[[torch.Tensor], torch.Tensor],
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    tokens: Sequence[int],
    most: int,
) -> tuple[TokenProbability, ...]:
    """Of each of the sample's tokens, with the `most` likeliest in its place. The texts joined are what tokens say.

    They are computed in one pass over the sample alone, so they are the same for every batch it is drawn in.
    """
    if not tokens:
        return ()
    whole = [*prompt, *tokens]
    values, places, best = next_token_log_probs(network, whole, len(prompt), most)
    writer = TextWriter(tokenizer, prompt)
    texts = [writer.add(token) for token in tokens]
    texts[-1] += writer.finish()
    return tuple(
        TokenProbability(
            token,
            texts[at],
            values[at],
            tuple(
                TokenProbability(other, _text(tokenizer, whole[: len(prompt) + at], other), value)
                for other, value in zip(places[at], best[at], strict=True)
            ),
        )
        for at, token in enumerate(tokens)
    )


def _text(tokenizer: Tokenizer, before: Sequence[int], token: int) -> str:
    """What a token adds to the text of those before it."""
    writer = TextWriter(tokenizer, before[-_BEFORE:])
    return writer.add(token) + writer.finish()
