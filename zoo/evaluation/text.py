"""How well a language model predicts text: bits per byte, which can be compared across vocabularies.

`python -m zoo.evaluation.text MODEL FILE...` measures any text model on text files, as training measures its own.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from zoo.datasets.text import read_documents, with_start
from zoo.errors import DataError, ZooError
from zoo.protocols import Tokenizer

_TOKENS_A_PASS = 4096


@dataclass(frozen=True)
class Bits:
    """The mean number of bits a byte of UTF-8 text costs, and over how many bytes and tokens it was taken."""

    per_byte: float
    bytes: int
    tokens: int


@torch.inference_mode()
def bits_per_byte(
    network: Any, tokenizer: Tokenizer, texts: Sequence[str], *, window: int | None = None
) -> Bits:
    """Predict every token of each text once, from the tokenizer's start and the text before it.

    network: token ids (B, T) to logits (B, T, V), in evaluation mode. window: tokens it sees at most, its context
    when None. Windows overlap by half, so that all but a text's first tokens see at least half a window.
    """
    window = min(window or network.context, network.context)
    device = next(network.parameters()).device
    at_once = max(1, _TOKENS_A_PASS // window)
    size = sum(len(text.encode()) for text in texts)
    if size == 0:
        raise DataError("there is no text to measure on: all of it is empty")
    nats, predicted = 0.0, 0
    for text in texts:
        ids = torch.tensor(with_start(text, tokenizer))
        spans = _spans(len(ids) - 1, window, max(1, window // 2))
        for at in range(0, len(spans), at_once):
            tokens, counted = _rows(ids, spans[at : at + at_once], window)
            tokens, counted = tokens.to(device), counted.to(device)
            logits = network(tokens[:, :-1])[counted].float()  # (predicted, V)
            nats += float(functional.cross_entropy(logits, tokens[:, 1:][counted], reduction="sum"))
            predicted += len(logits)
    return Bits(nats / math.log(2) / size, size, predicted)


def _spans(inputs: int, window: int, stride: int) -> list[tuple[int, int, int]]:
    """(start, end, first): a window over inputs start .. end - 1, of which first .. end - 1 are new."""
    spans = [(0, min(window, inputs), 0)]
    while (first := spans[-1][1]) < inputs:
        end = min(first + stride, inputs)
        spans.append((max(0, end - window), end, first))
    return spans


def _rows(
    ids: torch.Tensor, spans: Sequence[tuple[int, int, int]], window: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, window + 1), padded at the right, and which predictions count (B, window)."""
    tokens = torch.zeros(len(spans), window + 1, dtype=torch.int64)
    counted = torch.zeros(len(spans), window, dtype=torch.bool)
    for row, (start, end, first) in enumerate(spans):
        tokens[row, : end - start + 1] = ids[start : end + 1]
        counted[row, first - start : end - start] = True
    return tokens, counted


def main(words: Sequence[str]) -> int:
    """Measure the model `words[0]` on the text files after it; print bits per byte, bytes and tokens."""
    from zoo import api

    if len(words) < 2:
        sys.stderr.write("usage: python -m zoo.evaluation.text MODEL FILE...\n")
        return 2
    try:
        model = api.load(words[0])
        texts = [document.text for file in words[1:] for document in read_documents(Path(file))]
        if model.tokenizer is None:
            raise DataError(f"{words[0]} comes without a tokenizer, so text cannot be encoded for it")
        found = bits_per_byte(model.network, model.tokenizer, texts)
    except ZooError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{found.per_byte:.4f} bits per byte, {found.bytes} bytes, {found.tokens} tokens\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
