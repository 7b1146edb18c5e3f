"""Sequences gathered from files, one frame after the other, and the numbers that stand for their symbols.

Shapes: N frames of all sequences one after the other, S sequences, D columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.datasets.arrays import Pile
from zoo.datasets.file_rules import PLAIN, FileRules
from zoo.datasets.source import Member
from zoo.datasets.table_columns import few, unscaled
from zoo.errors import DataError
from zoo.modality.sequence_format import LETTERS, Format
from zoo.modality.sequence_samples import SEQUENCE

_CODES = 0x110000  # characters of Unicode
_AT_ONCE = 1 << 22  # frames


@dataclass(frozen=True)
class Wanted:
    """How files are read.

    columns: of tables, by name; none means all but `sequence`. sequence: the column that says which sequence a row
    belongs to; where a file has no column `SEQUENCE`, it is one sequence. lines: each line of a text is a sequence,
    else each file. letters: fold text to `LETTERS`. symbols: read numbers as symbols. rules: how tables are written,
    and what of them is left out.
    """

    columns: tuple[str, ...] = ()
    sequence: str = SEQUENCE
    lines: bool = False
    letters: bool = False
    symbols: bool = False
    rules: FileRules = PLAIN


@dataclass(frozen=True, eq=False)
class Sequences:
    """values: numbers of symbols (N,) int32, or (N, D) float64. lengths: (S,) int64, all at least 1.

    labels: where each sequence is from, for errors. names: what each is called: its file without suffix, or what a
    table or an archive calls it. format: of these values, unscaled. empty: how many were left out for having
    no frames. notes: what was found about the files, and what else was left out, for people.
    """

    values: np.ndarray
    lengths: np.ndarray
    labels: tuple[str, ...]
    names: tuple[str, ...]
    format: Format
    empty: int = 0
    notes: tuple[str, ...] = ()

    def bounds(self) -> np.ndarray:
        """(S + 1,) where each sequence begins, and the end."""
        return np.concatenate([[0], self.lengths.cumsum()])

    def split(self) -> list[np.ndarray]:
        """Each sequence's values."""
        return np.split(self.values, self.bounds()[1:-1])


class Gathered:
    """Sequences as they come: `begin`, then parts of its frames. What comes first decides the kind of all."""

    def __init__(self) -> None:
        self._kind: tuple[str, tuple[str, ...]] | None = (
            None  # "text", "symbols" or "numbers"; names of columns
        )
        self._first: Member | None = None
        self._pile = Pile((), np.float64)
        self._lengths: list[int] = []
        self._labels: list[str] = []
        self._names: list[str] = []
        self._symbols: dict[str, int] = {}
        self._unwanted: set[int] = set()
        self._notes: dict[str, None] = {}

    def expect(self, member: Member, kind: str, names: tuple[str, ...]) -> None:
        """Raises DataError when other files hold something else."""
        if self._kind is None:
            self._kind, self._first = (kind, names), member
            self._pile = Pile(
                (len(names),) if kind == "numbers" else (), np.float64 if kind == "numbers" else np.int32
            )
        elif self._kind != (kind, names):
            there = f"{self._kind[0]} in {few(self._kind[1])}"
            raise DataError(f"{member} holds {kind} in {few(names)}, but {self._first} holds {there}")

    def tell(self, notes: Iterable[str]) -> None:
        """What was found about a file, for people; said once."""
        self._notes |= dict.fromkeys(notes)

    def leave_out(self) -> None:
        """The last sequence, whole: frames that are missing would bring others together that are not neighbours."""
        self._unwanted.add(len(self._lengths) - 1)

    def begin(self, label: str, name: str) -> None:
        self._labels.append(label)
        self._names.append(name)
        self._lengths.append(0)

    def add(self, frames: np.ndarray | Sequence[str]) -> None:
        """More frames of the last sequence: numbers (n, D), or symbols as their texts or codes of characters."""
        if not isinstance(frames, np.ndarray):
            symbols = self._symbols
            frames = np.array([symbols.setdefault(symbol, len(symbols)) for symbol in frames], np.int32)
        self._pile.add(frames)
        self._lengths[-1] += len(frames)

    def sequences(self, wanted: Wanted) -> Sequences:
        assert self._kind is not None  # a source has at least one file
        kind, names = self._kind
        lengths, wanted_ones = np.array(self._lengths, np.int64), np.ones(len(self._lengths), bool)
        wanted_ones[list(self._unwanted)] = False
        kept = (lengths > 0) & wanted_ones
        if self._unwanted:
            several = f"{len(self._unwanted):,} sequence{'s' * (len(self._unwanted) != 1)}"
            self.tell([f"{several} with a missing value left out"])
        if not kept.any() and self._unwanted:
            raise DataError(f"{self._first}: every sequence has a missing value", hint="fill the values in")
        if not kept.any():
            raise DataError(
                f"{self._first} has no frames: its sequences are empty"
                if len(kept)
                else f"{self._first} is empty"
            )
        values = self._pile.array()
        if self._unwanted:
            values = _of_sequences(values, lengths, kept)
        labels, called = (tuple(itertools.compress(each, kept)) for each in (self._labels, self._names))
        if kind == "numbers":
            form = Format(None, unscaled(names))
        else:
            values, form = self._numbered(values, kind, names, wanted)
        empty = int((lengths == 0).sum())
        return Sequences(values, lengths[kept], labels, called, form, empty, tuple(self._notes))

    def _numbered(
        self, values: np.ndarray, kind: str, names: tuple[str, ...], wanted: Wanted
    ) -> tuple[np.ndarray, Format]:
        """Symbols by their numbers, in an order that does not depend on the data's."""
        if kind == "symbols":
            seen = list(self._symbols)
            order = sorted(range(len(seen)), key=lambda number: _sorting(seen[number]))
            symbols = [seen[number] for number in order]
            table = np.empty(len(seen), np.int32)
            table[order] = np.arange(len(seen), dtype=np.int32)
        else:
            codes = codes_of(LETTERS) if wanted.letters else np.flatnonzero(_present(values))
            symbols = [chr(code) for code in codes]
            table = np.zeros(_CODES, np.int32)
            table[codes] = np.arange(len(codes), dtype=np.int32)
        pile = Pile((), np.int32)
        for at in range(0, len(values), _AT_ONCE):
            pile.add(table[values[at : at + _AT_ONCE]])
        text = kind == "text"
        return pile.array(), Format(tuple(symbols), unscaled(names), text, text and wanted.letters)


def _of_sequences(values: np.ndarray, lengths: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The values of the sequences that are kept."""
    pile, starts = Pile(values.shape[1:], values.dtype), lengths.cumsum() - lengths
    for start, length in zip(starts[kept].tolist(), lengths[kept].tolist(), strict=True):
        pile.add(values[start : start + length])
    return pile.array()


def _sorting(symbol: str) -> tuple[bool, float, str]:
    """Whole numbers by size, then other symbols by their text."""
    whole = symbol.removeprefix("-").isdecimal() and symbol.isascii()
    return (not whole, float(symbol) if whole else 0.0, symbol)


def _present(codes: np.ndarray) -> np.ndarray:
    """(characters of Unicode,) which of them are among the codes."""
    found = np.zeros(_CODES, bool)
    for at in range(0, len(codes), _AT_ONCE):
        found[codes[at : at + _AT_ONCE]] = True
    return found


def codes_of(text: str) -> np.ndarray:
    """The numbers of a text's characters in Unicode, (T,) int32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<i4").astype(np.int32)
