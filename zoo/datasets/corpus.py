"""The texts of a source, divided: those to train on, gone through as often as needed, and those to measure on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from zoo.datasets.documents import Document
from zoo.datasets.encoding import text_digest


class Corpus(Protocol):
    """Texts that need not fit into memory."""

    def train(self) -> Iterator[Document]:
        """The documents to train on, in the same order each time."""
        ...

    def measured(self) -> list[str]:
        """What is measured on, of the held-out documents: as much as the rules say, in memory."""
        ...

    def digest(self) -> str:
        """sha256, in hex, of what decides what `train` gives."""
        ...

    def summary(self) -> str:
        """How many documents there are, and how many of them are held out, as far as that is known."""
        ...


class FileCorpus:
    """A `Corpus` of documents that can be read again from their files."""

    def __init__(self, train: tuple[Document, ...], held_out: tuple[Document, ...], most: int) -> None:
        """most: characters to measure on."""
        self._train, self._held_out, self._most = train, held_out, most

    def train(self) -> Iterator[Document]:
        return iter(self._train)

    def measured(self) -> list[str]:
        return list(first_characters(self._held_out, self._most))

    def digest(self) -> str:
        return text_digest(self._train)

    def summary(self) -> str:
        return f"{len(self._train) + len(self._held_out):,} documents, {len(self._held_out):,} held out"


def first_characters(documents: Iterable[Document], most: int) -> Iterator[str]:
    """The documents' texts up to `most` characters, the last of them cut there."""
    for document in documents:
        parts = []
        for block in document.blocks():
            parts.append(block[:most])
            most -= len(parts[-1])
            if not most:
                break
        yield "".join(parts)
        if not most:
            return
