"""Files of sequences: text, tables whose rows are frames in order, and arrays. Each file's sequences are its own.

Shapes: N frames of all sequences one after the other, S sequences, D columns.
"""

from __future__ import annotations

import itertools
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from zoo.datasets import records, table_files
from zoo.datasets.arrays import Pile
from zoo.datasets.documents import Document
from zoo.datasets.source import Member
from zoo.datasets.table_columns import few, numbered, unscaled
from zoo.errors import DataError, UsageError
from zoo.modality.sequence_format import LETTERS, Format, folded

TEXTS = (".txt",)
ARRAYS = (".npy", ".npz")
SUFFIXES = (*TEXTS, *records.SUFFIXES, *ARRAYS)

SEQUENCE = "sequence"
"""The column that says which sequence a row belongs to, unless another is named."""

_MOST_UNPACKED = 2**33  # bytes of arrays in one file
_CODES = 0x110000  # characters of Unicode


@dataclass(frozen=True)
class Wanted:
    """How files are read.

    columns: of tables, by name; none means all but `sequence`. sequence: the column that says which sequence a row
    belongs to; where a file has no column `SEQUENCE`, it is one sequence. lines: each line of a text is a sequence,
    else each file. letters: fold text to `LETTERS`. symbols: read numbers as symbols.
    """

    columns: tuple[str, ...] = ()
    sequence: str = SEQUENCE
    lines: bool = False
    letters: bool = False
    symbols: bool = False


@dataclass(frozen=True, eq=False)
class Sequences:
    """values: numbers of symbols (N,) int32, or (N, D) float64. lengths: (S,) int64, all at least 1.

    labels: what each sequence is called. format: of these values, unscaled. empty: how many were left out for having
    no frames.
    """

    values: np.ndarray
    lengths: np.ndarray
    labels: tuple[str, ...]
    format: Format
    empty: int = 0

    def bounds(self) -> np.ndarray:
        """(S + 1,) where each sequence begins, and the end."""
        return np.concatenate([[0], self.lengths.cumsum()])

    def split(self) -> list[np.ndarray]:
        """Each sequence's values."""
        return np.split(self.values, self.bounds()[1:-1])


def read(members: Sequence[Member], wanted: Wanted) -> Sequences:
    """The sequences of files, in order. All of them must be of one kind: text, or symbols, or numbers.

    Raises DataError, with file, row and column, for what is missing or no finite number; UsageError for a column that
    a file does not have; MissingDependencyError for Parquet without pyarrow.
    """
    gathered = _Gathered()
    for member in members:
        suffix = PurePosixPath(member.name).suffix.lower()
        if suffix in records.SUFFIXES:
            _read_table(member, wanted, gathered)
        elif suffix in ARRAYS:
            _read_arrays(member, wanted, gathered)
        else:
            _read_text(member, wanted, gathered)
    return gathered.sequences(wanted)


class _Gathered:
    """Sequences as they come: `begin`, then parts of its frames. What comes first decides the kind of all."""

    def __init__(self) -> None:
        self._kind: tuple[str, tuple[str, ...]] | None = (
            None  # "text", "symbols" or "numbers"; names of columns
        )
        self._first: Member | None = None
        self._pile = Pile((), np.float64)
        self._lengths: list[int] = []
        self._labels: list[str] = []
        self._symbols: dict[str, int] = {}

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

    def begin(self, label: str) -> None:
        self._labels.append(label)
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
        lengths = np.array(self._lengths, np.int64)
        kept = lengths > 0
        if not kept.any():
            raise DataError(
                f"{self._first} has no frames: its sequences are empty"
                if len(kept)
                else f"{self._first} is empty"
            )
        values = self._pile.array()
        labels = tuple(itertools.compress(self._labels, kept))
        if kind == "numbers":
            format_ = Format(None, unscaled(names))
        else:
            values, format_ = self._numbered(values, kind, names, wanted)
        return Sequences(values, lengths[kept], labels, format_, int((~kept).sum()))

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
            codes = _codes(LETTERS) if wanted.letters else np.flatnonzero(_present(values))
            symbols = [chr(code) for code in codes]
            table = np.zeros(_CODES, np.int32)
            table[codes] = np.arange(len(codes), dtype=np.int32)
        pile = Pile((), np.int32)
        for at in range(0, len(values), 1 << 22):
            pile.add(table[values[at : at + (1 << 22)]])
        text = kind == "text"
        return pile.array(), Format(tuple(symbols), unscaled(names), text, text and wanted.letters)


def _sorting(symbol: str) -> tuple[bool, float, str]:
    """Whole numbers by size, then other symbols by their text."""
    whole = symbol.removeprefix("-").isdecimal() and symbol.isascii()
    return (not whole, float(symbol) if whole else 0.0, symbol)


def _present(codes: np.ndarray) -> np.ndarray:
    """(characters of Unicode,) which of them are among the codes."""
    found = np.zeros(_CODES, bool)
    for at in range(0, len(codes), 1 << 22):
        found[codes[at : at + (1 << 22)]] = True
    return found


def _codes(text: str) -> np.ndarray:
    """The numbers of a text's characters in Unicode, (T,) int32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<i4").astype(np.int32)


def _read_text(member: Member, wanted: Wanted, into: _Gathered) -> None:
    into.expect(member, "text", ("symbol",))
    text = Document(member.stem, member).text
    for label, part in lines_of(text, str(member)) if wanted.lines else [(str(member), text)]:
        into.begin(label)
        into.add(_codes(folded(part) if wanted.letters else part))


def lines_of(text: str, label: str) -> Iterator[tuple[str, str]]:
    """The lines of a text that are not blank, with their names: "label:number", from 1 on.

    A line ends with a line feed alone, or after a carriage return; other separators belong to it.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{label}:{number}", line.removesuffix("\r")


# Tables


def _read_table(member: Member, wanted: Wanted, into: _Gathered) -> None:
    names, sequence = _columns(member, wanted)
    kind, begun = "", dict[str, None]()  # names of sequences in their order
    for part in records.parts(member, [*names, *((sequence,) if sequence else ())]):
        if not kind:
            kind = _kind(member, part, names, wanted)
            into.expect(member, kind, names)
        frames = _frames(member, part, names, kind)
        for name, start, end in _runs(member, part, sequence):
            if not begun or name != next(reversed(begun)):
                if name in begun:
                    raise DataError(
                        f"{member}: row {part.first + start} belongs to {sequence} {name!r} again, which ended above: "
                        "the rows of a sequence stand together",
                        hint="sort the rows by sequence, and within each by time",
                    )
                begun[name] = None
                into.begin(f"{member}:{name}" if sequence else str(member))
            into.add(frames[start:end])
    if not kind:
        raise DataError(f"{member} has no rows")


def _columns(member: Member, wanted: Wanted) -> tuple[tuple[str, ...], str]:
    """Names of a frame's columns, and of the one that says the sequence, "" where a file is one sequence."""
    present = table_files.column_names(member)
    sequence = wanted.sequence if wanted.sequence in present else ""
    if wanted.sequence not in ("", SEQUENCE, sequence):
        raise UsageError(f"data.sequence is {wanted.sequence!r}, but {member} has {few(present)}")
    names = table_files.column_names(member, wanted.columns) if wanted.columns else present
    names = tuple(name for name in names if name != sequence)
    if not names:
        raise DataError(f"{member} has no column of frames beside {sequence!r}")
    return names, sequence


def _kind(member: Member, part: records.Part, names: tuple[str, ...], wanted: Wanted) -> str:
    """Whether the columns hold numbers or symbols, by their first cells. Raises DataError for a mixture."""
    texts = [name for name in names if not _is_numeric(part.columns[name])]
    if not texts and not wanted.symbols:
        return "numbers"
    if len(names) > 1:
        hint = f"choose columns: --set data.columns={next((n for n in names if n not in texts), names[0])}"
        if texts:
            raise DataError(
                f"{member}: column {texts[0]!r} is text, which is read as symbols, but a frame has "
                f"{len(names)} columns: {few(names)}",
                hint=hint,
            )
        raise UsageError(f"data.symbols takes one column, but {member} has {few(names)}", hint=hint)
    return "symbols"


def _is_numeric(cells: list[str] | np.ndarray) -> bool:
    """A column whose first cell is a number or empty is one of numbers: a later text in it is a fault."""
    return isinstance(cells, np.ndarray) or not cells[0].strip() or _number(cells[0]) is not None


def _number(text: str) -> float | None:
    """None for what is no number; float takes 1_000."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _frames(member: Member, part: records.Part, names: tuple[str, ...], kind: str) -> Any:
    """The part's frames: numbers (n, D), or a list of symbols."""
    if kind == "numbers":
        return np.stack([_numbers(member, part, name) for name in names], axis=1)
    [name] = names
    cells = part.columns[name]
    if isinstance(cells, np.ndarray):
        return [_plain(value) for value in _numbers(member, part, name).tolist()]
    if "" in cells:
        raise _no_number(member, part, name, cells.index(""), "is empty", "a symbol")
    return cells


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _numbers(member: Member, part: records.Part, name: str) -> np.ndarray:
    """A column as (n,) float64, all finite. Cells are looked at one by one only when something among them is odd."""
    cells = part.columns[name]
    if isinstance(cells, np.ndarray):
        values = cells
    else:
        try:
            values = np.array(cells).astype(np.float64)
        except ValueError:
            values = np.array([math.nan])
        if not np.isfinite(values).all() or any("_" in cell for cell in cells):
            found = [_number(cell) for cell in cells]
            values = np.array([math.nan if value is None else value for value in found])
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        at = int(wrong[0])
        cell = cells[at]
        said = "is empty" if isinstance(cell, str) and not cell.strip() else f"is {str(cell)[:40]!r}"
        raise _no_number(member, part, name, at, said, "a finite number")
    return values


def _no_number(member: Member, part: records.Part, name: str, at: int, said: str, needed: str) -> DataError:
    return DataError(
        f"{member}: row {part.first + at}, column {name!r} {said}, not {needed}",
        hint="leave such rows out, or choose other columns: --set data.columns=NAME",
    )


def _runs(member: Member, part: records.Part, sequence: str) -> Iterator[tuple[str, int, int]]:
    """The rows of a part that stand together: name of their sequence, first, and end."""
    rows = len(next(iter(part.columns.values())))
    if not sequence:
        yield "", 0, rows
        return
    cells = part.columns[sequence]
    names = [_plain(value) for value in cells.tolist()] if isinstance(cells, np.ndarray) else cells
    if "" in names:
        raise _no_number(member, part, sequence, names.index(""), "is empty", "a sequence's name")
    at = 0
    for name, run in itertools.groupby(names):
        end = at + sum(1 for _ in run)
        yield name, at, end
        at = end


# Arrays


def _read_arrays(member: Member, wanted: Wanted, into: _Gathered) -> None:
    for label, frames in _sequences_of(member, _load(member)):
        columns = frames.shape[1] if frames.ndim > 1 else 1
        texts = frames.dtype.kind == "U"
        if not (texts or frames.dtype.kind in "iufb"):
            raise DataError(f"{label} holds {frames.dtype}, neither numbers nor text")
        if (texts or wanted.symbols) and columns != 1:
            raise DataError(f"{label} has frames of {columns} columns, but a symbol is one")
        names = ("value",) if columns == 1 else numbered(columns)
        if wanted.columns and wanted.columns != names:
            names, frames = _chosen(label, names, frames, wanted.columns)
        kind = "symbols" if texts or wanted.symbols else "numbers"
        into.expect(member, kind, ("symbol",) if kind == "symbols" else names)
        into.begin(label)
        if not texts and len(wrong := np.argwhere(~np.isfinite(frames))):
            at = tuple(wrong[0].tolist())
            raise DataError(f"{label}: frame {at[0]} is {frames[at]}, not a finite number")
        if kind == "numbers":
            into.add(frames.reshape(len(frames), -1).astype(np.float64))
        else:
            flat = frames.reshape(-1).tolist()
            into.add([value if isinstance(value, str) else _plain(float(value)) for value in flat])


def _chosen(
    label: str, names: tuple[str, ...], frames: np.ndarray, columns: tuple[str, ...]
) -> tuple[tuple[str, ...], np.ndarray]:
    """An array of as many columns as are named has them in that order; else they are chosen by number."""
    if len(columns) == len(names):
        return columns, frames
    for name in columns:
        if name not in names:
            raise UsageError(f"data.columns names {name!r}, but {label} has {few(names)}")
    return columns, frames[:, [names.index(name) for name in columns]]


def _sequences_of(member: Member, arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Each sequence of a file's arrays, (T,) or (T, D), with its name."""
    if set(arrays) == {"values", "lengths"}:
        yield from _by_lengths(member, arrays["values"], arrays["lengths"])
        return
    for name, array in arrays.items():
        label = f"{member}:{name}" if name else str(member)
        if array.ndim in (1, 2) and not (array.ndim == 2 and array.dtype.kind == "U"):
            yield label, array
        elif array.ndim in (2, 3):
            yield from ((f"{label}:{number}", each) for number, each in enumerate(array))
        else:
            raise DataError(
                f"{label} has the shape {array.shape}, but a sequence is (T,) or (T, D), and several are (B, T, D)"
            )


def _by_lengths(member: Member, values: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Sequences one after the other, (N,) or (N, D), or padded at their ends, (B, T) or (B, T, D)."""
    fits = lengths.ndim == 1 and lengths.dtype.kind in "iu" and bool((lengths >= 0).all()) and values.ndim > 0
    if fits and values.ndim < 3 and int(lengths.sum()) == len(values):
        parts = np.split(values, lengths.cumsum()[:-1].astype(np.int64)) if len(lengths) else []
    elif (
        fits
        and values.ndim in (2, 3)
        and len(values) == len(lengths)
        and lengths.max(initial=0) <= values.shape[1]
    ):
        parts = [each[:length] for each, length in zip(values, lengths.tolist(), strict=True)]
    else:
        raise DataError(
            f"{member}: values {values.shape} do not fit lengths {lengths.dtype} {lengths.shape}",
            hint="lengths (B,) are whole numbers; values are the sequences one after the other, or padded (B, T, D)",
        )
    yield from ((f"{member}:{number}", part) for number, part in enumerate(parts))


def _load(member: Member) -> dict[str, np.ndarray]:
    """The arrays of a file by name; that of an .npy file has none. Raises DataError for what numpy cannot read."""
    try:
        with member.open() as stream:
            if member.name.lower().endswith(".npy"):
                return {"": np.load(stream, allow_pickle=False)}
            with zipfile.ZipFile(stream) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > _MOST_UNPACKED:
                raise DataError(f"{member} unpacks to {unpacked:,} bytes, more than {_MOST_UNPACKED:,}")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except DataError:
        raise
    except Exception as error:  # numpy raises whatever a damaged file leads it to
        raise DataError(f"{member} cannot be read: {getattr(error, 'strerror', None) or error}") from None
