"""Files of sequences: text, tables whose rows are frames in order, and arrays. Each file's sequences are its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from zoo.datasets import records, sequence_arrays
from zoo.datasets.documents import Document
from zoo.datasets.sequence_arrays import read_arrays
from zoo.datasets.sequence_gathering import Gathered, Sequences, Wanted, codes_of
from zoo.datasets.sequence_tables import read_table
from zoo.datasets.source import Member
from zoo.modality.sequence_format import folded

__all__ = ["SUFFIXES", "Sequences", "Wanted", "lines_of", "read"]

SUFFIXES = (".txt", *records.SUFFIXES, *sequence_arrays.SUFFIXES)
"""Of files that are looked for in folders and archives; one that is named itself is text if it ends otherwise."""


def read(members: Sequence[Member], wanted: Wanted) -> Sequences:
    """The sequences of files, in order. All of them must be of one kind: text, or symbols, or numbers.

    Raises DataError, with file, row and column, for what is missing or no finite number; UsageError for a column that
    a file does not have; MissingDependencyError for Parquet without pyarrow.
    """
    gathered = Gathered()
    for member in members:
        suffix = PurePosixPath(member.name).suffix.lower()
        if records.is_table(member.name):
            read_table(member, wanted, gathered)
        elif suffix in sequence_arrays.SUFFIXES:
            read_arrays(member, wanted, gathered)
        else:
            _read_text(member, wanted, gathered)
    return gathered.sequences(wanted)


def _read_text(member: Member, wanted: Wanted, into: Gathered) -> None:
    into.expect(member, "text", ("symbol",))
    text = Document(member.stem, member).text
    for label, part in lines_of(text, str(member)) if wanted.lines else [(str(member), text)]:
        into.begin(label, member.stem)
        into.add(codes_of(folded(part) if wanted.letters else part))


def lines_of(text: str, label: str) -> Iterator[tuple[str, str]]:
    """The lines of a text that are not blank, with their names: "label:number", from 1 on.

    A line ends with a line feed alone, or after a carriage return; other separators belong to it.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{label}:{number}", line.removesuffix("\r")
