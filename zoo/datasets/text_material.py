"""Text as training takes it: divided into documents, encoded by a tokenizer, and measured on what is held out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from zoo.datasets import documents, vocabulary
from zoo.datasets import text as data
from zoo.datasets.source import Source
from zoo.errors import DataError, UsageError
from zoo.family import Family
from zoo.protocols import Tokenizer

TOKENIZER = "tokenizer.json"
BITS = "held_out_bits_per_byte"


class TextMaterial:
    """A `zoo.datasets.material.Material` of text. `bind` comes before what needs a tokenizer."""

    def __init__(self, source: Source, rules: data.TextRules, seed: int) -> None:
        """Raises DataError when the text cannot be read or divided, UsageError for rules that do not fit it."""
        if source.path is None:
            raise DataError(f"{source.name} cannot be read as text")
        self._rules = rules
        self._split = data.split(documents.of_files(source), rules, seed)
        self._learned = False
        self._bound: tuple[Family, Tokenizer] | None = None
        self._window: int | None = rules.window
        train, held_out = len(self._split.train), len(self._split.held_out)
        self.summary = f"{train} documents, {held_out} held out"

    def learn(self, folder: Path) -> None:
        """Learn a byte-pair vocabulary from the text to train on, into folder/tokenizer.json."""
        texts = (document.text for document in self._split.train)
        vocabulary.learn(texts, self._rules.vocabulary, folder / TOKENIZER)
        self._learned = True

    def bind(self, family: Family, files: Mapping[str, Path]) -> dict[str, Any]:
        """Read the tokenizer. A new network's vocabulary is its; a network with weights keeps its own."""
        found: Tokenizer | None = family.resolve("tokenizer")(files)
        if found is None:
            raise DataError(f"{family.name}: there are no tokenizer files, so text cannot be encoded for it")
        self._bound = family, found
        return {"vocabulary": found.vocabulary} if self._learned else {}

    def rows(self, network: nn.Module, seed: int) -> data.TextRows:
        context: int = network.context  # type: ignore[assignment] # zoo.protocols.LanguageModel
        self._window = self._rules.window or context
        if self._window > context:
            raise UsageError(f"data.window is {self._window}, but the network's context is {context} tokens")
        ids = data.encode(self._split.train, self._binding()[1])
        count = len(self._split.train) + len(self._split.held_out)
        self.summary = f"{len(ids):,} tokens of {count} documents, {len(self._split.held_out)} held out"
        return data.TextRows(ids, self._window, seed)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Bits per byte over the held-out documents, in windows as long as those that are trained on."""
        from zoo.evaluation import text as bits

        texts = [document.text for document in self._split.held_out]
        if not texts:
            return {}
        found = bits.bits_per_byte(network, self._binding()[1], texts, window=self._window)
        return {BITS: found.per_byte}

    def preview(self, network: nn.Module, count: int, seed: int, stem: Path) -> Iterator[Path]:
        """Draw texts that begin from nothing, and write them into one .txt file under headings."""
        from zoo.modality.text_model import TextModel

        family, tokenizer = self._binding()
        model = TextModel(stem.name, family, None, network, {}, tokenizer=tokenizer)
        parts = [
            f"=== sample {sample.index}, seed {seed}\n{sample.text}\n"
            for sample in model.samples(count=count, seed=seed)
        ]
        path = stem.with_name(f"{stem.name}.txt")
        aside = path.with_name(f".{path.name}.partial")
        aside.write_text("\n".join(parts), encoding="utf-8")
        aside.replace(path)
        yield path

    def _binding(self) -> tuple[Family, Tokenizer]:
        if self._bound is None:
            raise DataError("the text has no tokenizer yet: bind it to the files beside the weights first")
        return self._bound
