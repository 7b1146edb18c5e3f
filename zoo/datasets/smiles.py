"""SMILES in files, line by line; their tokens, and the vocabulary that numbers these.

Source of the notation: Weininger, "SMILES, a chemical language and information system", 1988.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from zoo import bounds
from zoo.datasets.source import Member
from zoo.errors import DataError
from zoo.os_words import reason

SUFFIXES = (".smi", ".smiles", ".txt", ".csv", ".gz")
PADDING, START, END = 0, 1, 2
SPECIAL = ("<padding>", "<start>", "<end>")
"""The first tokens of every vocabulary, in order of their number; no molecule has them."""

MOST_TOKENS = 4096
"""Of a vocabulary; there are about a hundred elements, so what needs more is no SMILES."""

_COLUMN = "smiles"
_MOST_BYTES = 4096  # of a line
_TOKEN = re.compile(
    r"\[[^\[\]]*\]|Br|Cl|[!-~]"
)  # a bracket atom, an atom of two letters, any other character
_NOT_SMILES = re.compile(r"[^!-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def tokens(smiles: str) -> list[str]:
    """A molecule's tokens: `[NH3+]`, `Cl` and `Br` are one each, every other character is one."""
    return _TOKEN.findall(smiles)


def molecules(member: Member) -> Iterator[tuple[int, list[str]]]:
    """(line number, tokens) of each line; no tokens for an empty one.

    In a .csv it is what the column `smiles` has; elsewhere the first word of the line, and a first line that only
    names the column is passed over. A .gz is unpacked as it is read.
    Raises DataError, with the line's number, for what cannot be a molecule.
    """
    name = member.name.lower().removesuffix(".gz")
    with member.open() as file:
        numbered = _decoded(member, file)
        for number, smiles in _of_csv(member, numbered) if name.endswith(".csv") else _of_words(numbered):
            if odd := _NOT_SMILES.search(smiles):
                raise DataError(f"{member}: line {number} has {odd[0]!r}, which no SMILES has")
            found = tokens(smiles)
            if "[" in found or "]" in found:
                raise DataError(f"{member}: line {number} opens or closes a bracket without the other")
            yield number, found


def _of_words(numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in numbered:
        smiles = line.replace("\t", " ").partition(" ")[0]
        if number > 1 or smiles.lower() != _COLUMN:
            yield number, smiles


def _of_csv(member: Member, numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    reader = csv.reader(f"{line}\n" for _, line in numbered)
    names = [name.strip().lower() for name in next(reader, [])]
    if _COLUMN not in names:
        raise DataError(f"{member} has no column {_COLUMN!r}, but {', '.join(names) or 'nothing'}"[:300])
    at = names.index(_COLUMN)
    try:
        for cells in reader:
            if cells and len(cells) <= at:
                raise DataError(f"{member}: line {reader.line_num} has {len(cells)} of {len(names)} columns")
            yield reader.line_num, cells[at].strip() if cells else ""
    except csv.Error as error:
        raise DataError(f"{member}: line {reader.line_num}: {error}") from None


def _decoded(member: Member, file: IO[bytes]) -> Iterator[tuple[int, str]]:
    """(number, text without its end) of each line; only one line is in memory."""
    stream = bounds.gunzipped(file, str(member)) if member.name.lower().endswith(".gz") else file
    for number in itertools.count(1):
        try:
            line = stream.readline(_MOST_BYTES + 1)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{member}: damaged after line {number - 1}: {reason(error)}") from None
        if not line:
            return
        if len(line) > _MOST_BYTES:
            raise DataError(f"{member}: line {number} is longer than {_MOST_BYTES} bytes")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise DataError(f"{member}: line {number} is not UTF-8 text") from None
        if odd := _CONTROL.search(text):
            raise DataError(f"{member}: line {number} has the control character 0x{ord(odd[0]):02x}")
        yield number, text


@dataclass(frozen=True)
class Vocabulary:
    """tokens: in order of their number, `SPECIAL` first. length: the most that a molecule has, without those."""

    tokens: tuple[str, ...]
    length: int

    def decode(self, ids: Sequence[int]) -> str:
        """The molecule that token ids say, up to the end."""
        found = []
        for number in ids:
            if number in (PADDING, END):
                break
            if number != START:
                found.append(self.tokens[number])
        return "".join(found)

    def to_json(self) -> str:
        return json.dumps({"schema": 1, "length": self.length, "tokens": self.tokens}, indent=1) + "\n"


def read_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary beside a network's weights. Raises DataError when it is none."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        found = Vocabulary(tuple(said["tokens"]), said["length"])
        fits = said["schema"] == 1 and found.tokens[:3] == SPECIAL and type(found.length) is int
        fits = fits and all(isinstance(token, str) and token for token in found.tokens) and found.length > 0
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        fits = False
    if not fits or len(set(found.tokens)) != len(found.tokens):
        raise DataError(f"{path} is not a vocabulary of SMILES tokens")
    return found
