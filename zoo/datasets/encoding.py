"""Documents as token ids, piece by piece, and the same ids as if each document had been encoded whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from zoo.datasets.documents import Document
from zoo.protocols import Tokenizer

_BESIDE = 64  # characters on either side of a cut that are encoded to try it
_PROBE = " The year's\n\n\tnaïve 12,345 “cafés” 世界 \U0001f980\n"
"""Text in which tokenizers differ: blanks, accents, digits, quotes, letters of other scripts."""


def with_start(text: str, tokenizer: Tokenizer) -> list[int]:
    """A document's token ids, begun by what the tokenizer starts a text from."""
    ids, start = tokenizer.encode(text), list(tokenizer.start)
    return ids if ids[: len(start)] == start else start + ids


def width(tokenizer: Tokenizer) -> np.dtype:
    """How ids are stored: two bytes where that is enough, else four, the lowest first."""
    return np.dtype("<u2" if tokenizer.vocabulary <= 2**16 else "<u4")


def encode(documents: Iterable[Document], tokenizer: Tokenizer) -> np.ndarray:
    """All documents one after the other as token ids of `width`, in memory."""
    parts = [np.array(ids, dtype=width(tokenizer)) for ids in encoded(documents, tokenizer)]
    return np.concatenate([np.empty(0, width(tokenizer)), *parts])


def encoded(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[list[int]]:
    """The token ids of the documents in parts that fit into memory.

    A long document is cut where its parts encode to what the whole does around the cut; a tokenizer for which no
    place is such, because it marks the beginning of every text, is given the document whole.
    """
    for document in documents:
        held: list[str] = []
        begun = False
        for piece in document.pieces():
            if held and _may_cut(held[-1][-_BESIDE:], piece[:_BESIDE], tokenizer):
                yield _part("".join(held), tokenizer, begun=begun)
                held, begun = [], True
            held.append(piece)
        yield _part("".join(held), tokenizer, begun=begun)


def _part(text: str, tokenizer: Tokenizer, *, begun: bool) -> list[int]:
    return _inside(text, tokenizer) if begun else with_start(text, tokenizer)


def _inside(text: str, tokenizer: Tokenizer) -> list[int]:
    """The ids of a text without those that the tokenizer puts in front of every text."""
    return tokenizer.encode(text)[len(tokenizer.encode("")) :]


def _may_cut(before: str, after: str, tokenizer: Tokenizer) -> bool:
    whole = _inside(before + after, tokenizer)
    return whole == _inside(before, tokenizer) + _inside(after, tokenizer)


class FilesRead(Mapping[str, Path]):
    """Files by name that remember which were asked for: those that a tokenizer was made of."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Path:
        path = self._files[name]
        self._read.add(name)
        return path

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def read(self) -> dict[str, Path]:
        """The files that were asked for."""
        return {name: self._files[name] for name in sorted(self._read)}

    def digest(self) -> str:
        """sha256, in hex, of the names and contents of the files that were asked for."""
        digest = hashlib.sha256()
        for name in sorted(self._read):
            with self._files[name].open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{name}\n{content}\n".encode())
        return digest.hexdigest()


def tokenizer_digest(tokenizer: Tokenizer, files: FilesRead) -> str:
    """sha256, in hex, of a tokenizer: of the files it was made of, and of what it does."""
    does = (tokenizer.vocabulary, tuple(tokenizer.start), tuple(with_start(_PROBE, tokenizer)))
    return hashlib.sha256(f"{files.digest()}\n{does}".encode()).hexdigest()


def text_digest(documents: Iterable[Document]) -> str:
    """sha256, in hex, of the documents' texts, in order."""
    digest = hashlib.sha256()
    for document in documents:
        content = hashlib.sha256()
        for block in document.blocks():
            content.update(block.encode())
        digest.update(content.digest())
    return digest.hexdigest()
