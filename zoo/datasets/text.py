"""Text for training: documents, which of them are held out, and rows that a seed and a number alone decide."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.datasets import token_cache
from zoo.datasets.documents import Document, of_files
from zoo.datasets.encoding import encode, with_start
from zoo.datasets.source import Source
from zoo.datasets.split import split_rows, split_seed
from zoo.errors import DataError, UsageError
from zoo.noise import Noise
from zoo.settings import Settings, setting

__all__ = [
    "Document",
    "Split",
    "TextRows",
    "TextRules",
    "encode",
    "read",
    "read_documents",
    "split",
    "with_start",
]

if TYPE_CHECKING:
    import torch

    from zoo.datasets.text_material import TextMaterial


@dataclass(frozen=True)
class TextRules(Settings):
    """How a data folder becomes training and held-out text."""

    vocabulary: int = setting(
        1024,
        help="byte-pair tokens to learn, for a new network",
        minimum=257,
        maximum=1_000_000,
        unit="tokens",
    )
    window: int | None = setting(
        None, help="a row's length; the network's context when unset", minimum=2, unit="tokens"
    )
    held_out: tuple[str, ...] = setting((), help="names of the documents never trained on")
    held_out_share: float = setting(
        0.05, help="share that the seed draws when none is named", minimum=0.0, maximum=0.9
    )
    split_seed: int | None = split_seed()
    held_out_characters: int = setting(
        4_000_000, help="most held-out text to measure on", minimum=1, unit="characters"
    )
    column: str | None = setting(None, help="the column of rows that is text; else text, or the only one")
    documents: int | None = setting(None, help="the first documents only; all when unset", minimum=1)


@dataclass(frozen=True)
class Split:
    """Documents to train on and documents to measure on; no document, and no line, is in both."""

    train: tuple[Document, ...]
    held_out: tuple[Document, ...]


def read_documents(path: Path) -> tuple[Document, ...]:
    """A text file is one document, a folder one for each .txt file in it, in order of name. Raises DataError."""
    return of_files(Source(str(path), path=path))


def split(documents: Sequence[Document], rules: TextRules, seed: int) -> Split:
    """Named documents are held out; without names, the seed draws the rules' share of them, at least one.

    A single document is cut in two at a line's end instead. A share of 0 holds nothing out.
    Raises UsageError for a name that no document has, DataError when nothing is left to train on.
    """
    if rules.held_out:
        names = [document.name for document in documents]
        for name in rules.held_out:
            if name not in names:
                raise UsageError(f"held_out names {name!r}, but the documents are {', '.join(names)}")
        chosen = set(rules.held_out)
    elif rules.held_out_share == 0:
        chosen = set()
    elif len(documents) == 1:
        head, tail = documents[0].divided(rules.held_out_share)
        return Split((head,), (tail,))
    else:
        held_out = split_rows(len(documents), rules.held_out_share, seed)[1].tolist()
        chosen = {documents[index].name for index in held_out}
    train = tuple(document for document in documents if document.name not in chosen)
    if not train:
        raise DataError(f"all {len(documents)} documents are held out: nothing is left to train on")
    return Split(train, tuple(document for document in documents if document.name in chosen))


@dataclass(frozen=True, eq=False)
class TextRows:
    """Windows of `window` + 1 token ids. An epoch goes through the whole text once, in windows side by side.

    ids: (tokens,) of two or four bytes each, in memory or mapped from a file.
    Which window is row 0, 1, ... of the run depends on the seed and on that number alone. Each epoch lays its windows
    from another first token, so that their edges move. A `zoo.datasets.material.Rows`.
    """

    ids: np.ndarray
    window: int
    seed: int

    def __post_init__(self) -> None:
        least = 2 * self.window + 1
        if len(self.ids) < least:
            raise DataError(
                f"the text has {len(self.ids)} tokens, but windows of {self.window} need at least {least}",
                hint=f"more text, or shorter windows: --set data.window={max(2, (len(self.ids) - 1) // 2)}",
            )

    @property
    def unit(self) -> str:
        return "tokens"

    @property
    def units(self) -> int:
        """Tokens that a row predicts."""
        return self.window

    @property
    def epoch(self) -> int:
        """Windows an epoch."""
        return (len(self.ids) - self.window - 1) // self.window

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of the ids, whatever their width, to tell whether a run goes on with the same text."""
        return token_cache.fingerprint(self.ids)

    def rows(self, first: int, count: int) -> torch.Tensor:
        """Rows first .. first + count - 1, counted from 0: (count, window + 1) int64 token ids, on the CPU."""
        import torch

        starts = [self._start(*divmod(row, self.epoch)) for row in range(first, first + count)]
        rows = np.stack([self.ids[start : start + self.window + 1] for start in starts])
        return torch.from_numpy(rows.astype(np.int64))

    def _start(self, epoch: int, at: int) -> int:
        offset, order = _epoch(self.seed, epoch, self.epoch, self.window)
        return offset + self.window * int(order[at])


@functools.lru_cache(maxsize=4)
def _epoch(seed: int, epoch: int, windows: int, window: int) -> tuple[int, np.ndarray]:
    """Where the first window of an epoch begins, and the order of its windows."""
    draws = Noise(seed, epoch).rows(1, "batches")
    offset = math.floor(float(draws.uniform()[0]) * window)
    return offset, draws.uniform(windows)[0].numpy().argsort(kind="stable")


def read(source: Source, rules: TextRules, seed: int) -> TextMaterial:
    """The material of a text source; see `zoo.datasets.reading.read`."""
    from zoo.datasets.text_material import TextMaterial

    return TextMaterial(source, rules, seed)
