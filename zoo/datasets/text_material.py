"""Text as training takes it: divided into documents, encoded by a tokenizer, and measured on what is held out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from zoo.datasets import documents, encoding, hub_rows, token_cache, vocabulary
from zoo.datasets import text as data
from zoo.datasets.arrays import evaluating
from zoo.datasets.corpus import Corpus, FileCorpus
from zoo.datasets.previews import write
from zoo.datasets.row_corpus import RowCorpus
from zoo.datasets.source import Source
from zoo.errors import DataError, UsageError
from zoo.family import Family
from zoo.modality import CODEC_FILE
from zoo.protocols import Tokenizer

TOKENIZER = CODEC_FILE["text"]
BITS = "held_out_bits_per_byte"


class TextMaterial:
    """A `zoo.datasets.material.Material` of text. `bind` comes before what needs a tokenizer."""

    def __init__(self, source: Source, rules: data.TextRules, seed: int) -> None:
        """Raises DataError when the text cannot be read or divided, UsageError for rules that do not fit it."""
        self._rules = rules
        self._corpus = _corpus(source, rules, seed)
        self._learned = False
        self._bound: tuple[Family, Tokenizer, str] | None = None
        self._window: int | None = rules.window
        self.summary = self._corpus.summary()

    def learn(self, folder: Path) -> None:
        """Learn a byte-pair vocabulary from the text to train on, into folder/tokenizer.json."""
        pieces = (piece for document in self._corpus.train() for piece in document.pieces())
        digest = self._corpus.digest()
        vocabulary.learn_once(pieces, digest, self._rules.vocabulary, folder / TOKENIZER)
        self._learned = True

    def bind(self, family: Family, files: Mapping[str, Path]) -> dict[str, Any]:
        """Read the tokenizer. A new network's vocabulary is its; a network with weights keeps its own."""
        read = encoding.FilesRead(files)
        found: Tokenizer | None = family.resolve("tokenizer")(read)
        if found is None:
            raise DataError(f"{family.name}: there are no tokenizer files, so text cannot be encoded for it")
        self._bound = family, found, encoding.tokenizer_digest(found, read)
        return {"vocabulary": found.vocabulary} if self._learned else {}

    def rows(self, network: nn.Module, seed: int) -> data.TextRows:
        """Windows of the text, which is encoded once and then mapped from the token cache."""
        context, known = int(network.context), int(network.vocabulary)  # type: ignore[arg-type] # LanguageModel
        self._window = self._rules.window or context
        if self._window > context:
            raise UsageError(f"data.window is {self._window}, but the network's context is {context} tokens")
        _, tokenizer, digest = self._binding()
        key = token_cache.key(digest, self._corpus.digest())
        parts = encoding.encoded(self._corpus.train(), tokenizer)
        ids = token_cache.cached(key, encoding.width(tokenizer), parts)
        if len(ids) and (largest := int(np.max(ids))) >= known:
            raise DataError(
                f"the text has the token id {largest}, but the network knows 0 to {known - 1}",
                hint="the tokenizer files beside the weights are those of another model",
            )
        self.summary = f"{len(ids):,} tokens of {self._corpus.summary()}"
        return data.TextRows(ids, self._window, seed)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Bits per byte of the held-out documents, in windows as long as those trained on, and how many bytes."""
        from zoo.evaluation import text as bits

        texts = self._corpus.measured()
        if not texts:
            return {}
        _, tokenizer, _ = self._binding()
        with evaluating(network):
            found = bits.bits_per_byte(network, tokenizer, texts, window=self._window)
        return {BITS: found.per_byte, "held_out_bytes": found.bytes}

    def preview(self, network: nn.Module, count: int, seed: int, stem: Path) -> Iterator[Path]:
        """Draw texts that begin from nothing, and write them into one .txt file under headings."""
        from zoo.modality.text_model import TextModel

        family, tokenizer, _ = self._binding()
        model = TextModel(stem.name, family, None, network, {}, tokenizer=tokenizer)
        with evaluating(network):
            parts = [
                f"=== sample {sample.index}, seed {seed}\n{sample.text}\n"
                for sample in model.samples(count=count, seed=seed)
            ]
        yield write(stem.with_name(f"{stem.name}.txt"), "\n".join(parts).encode())

    def _binding(self) -> tuple[Family, Tokenizer, str]:
        if self._bound is None:
            raise DataError("the text has no tokenizer yet: bind it to the files beside the weights first")
        return self._bound


def _corpus(source: Source, rules: data.TextRules, seed: int) -> Corpus:
    if hub_rows.has_rows(source):
        return RowCorpus(hub_rows.settle(source), rules, seed)
    found = data.split(documents.of_files(source)[: rules.documents], rules, seed)
    return FileCorpus(found.train, found.held_out, rules.held_out_characters)
