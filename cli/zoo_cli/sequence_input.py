"""Sequences in files as a model takes them: lines or wholes of text, tables with a row a frame, arrays."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from zoo import bounds
from zoo.errors import DataError, UsageError
from zoo.os_words import reason

if TYPE_CHECKING:
    from zoo.datasets.file_rules import FileRules
    from zoo.datasets.source import Member
    from zoo.modality.sequence_model import SequenceModel


@dataclass(frozen=True, eq=False)
class Item:
    """One sequence. sequence: its name in the file, such as a line's number; None where the file is one sequence."""

    file: str
    sequence: str | None
    given: Any

    @property
    def label(self) -> str:
        name = "standard input" if self.file == "-" else self.file
        return name if self.sequence is None else f"{name}:{self.sequence}"


def items(
    model: SequenceModel, file: str, column: str | None, rules: FileRules, *, whole: bool
) -> list[Item]:
    """The sequences of a file, or for "-" of standard input: text for a model of characters, CSV for others.

    A file is text unless its name says otherwise. column: of tables, which says the sequence; None for the one that
    the model's run had, if the table has it too. rules: how tables are written. whole: a file of text is one
    sequence, else each of its lines that is not blank.
    Raises DataError for what cannot be read or is not what the model's frames are.
    """
    from zoo.datasets.records import SUFFIXES as TABLES
    from zoo.datasets.records import is_table
    from zoo.datasets.sequence_arrays import SUFFIXES as ARRAYS
    from zoo.datasets.source import Member

    if file == "-" and not model.format.text:
        from zoo_cli import piped

        return list(_of_table(model, piped.csv(), column, "-", rules))
    if is_table(file) or PurePosixPath(file).suffix.lower() in ARRAYS:
        path = Path(file).expanduser()
        return list(_of_table(model, Member(path.name, path), column, file, rules))
    if not model.format.text:
        raise DataError(
            f"{file} is read as text, but the frames of {model.name} are no characters",
            hint=f"name a file that ends in {', '.join((*TABLES, *ARRAYS))}",
        )
    text = _text(file)
    found = [Item(file, None, text)] if whole else list(_lines(file, text))
    if not any(item.given.strip() for item in found):
        raise DataError(f"{Item(file, None, '').label} has no sequence: it is empty or blank")
    return found


def one(model: SequenceModel, file: Path) -> Any:
    """The only sequence of a file, to go on from. Raises UsageError for several, DataError as `items`."""
    from zoo.datasets.file_rules import PLAIN

    found = items(model, str(file), None, PLAIN, whole=True)
    if len(found) > 1:
        raise UsageError(
            f"{file} has {len(found)} sequences, but samples go on from one",
            hint="write it into a file of its own",
        )
    return found[0].given


def _of_table(
    model: SequenceModel, member: Member, column: str | None, file: str, rules: FileRules
) -> Iterator[Item]:
    from zoo.datasets import records, sequence_arrays, sequence_files
    from zoo.datasets.sequence_files import Wanted
    from zoo.datasets.table_columns import few
    from zoo.evaluation import materials
    from zoo.modality.sequence_samples import SEQUENCE

    own = model.format
    is_table = PurePosixPath(member.name).suffix.lower() not in sequence_arrays.SUFFIXES
    present = records.layout(member, rules, own.names).names if is_table else own.names
    if column is None:
        column = materials.sequence_column(model)
        column = column if column in present else SEQUENCE
    missing = tuple(name for name in own.names if name not in present)
    if missing and (own.symbols is None or len(set(present) - {column}) > 1):
        raise DataError(
            f"{member} has no column{'s' * (len(missing) != 1)} {few(missing)}; it has {few(present)}"
        )
    named = is_table and not missing
    columns = own.names if own.symbols is None or named else ()  # else the only one, whatever its name
    found = sequence_files.read(
        [member], Wanted(columns, column, symbols=own.symbols is not None, rules=rules)
    )
    if (found.format.symbols is None) != (own.symbols is None):
        raise DataError(
            f"{member} holds symbols, but the model's frames are numbers: {', '.join(own.names)[:200]}"
        )
    if found.format.symbols:
        unknown = [symbol for symbol in found.format.symbols if symbol not in own.numbers]
        if unknown:
            raise own.unknown(unknown, str(member))
    for label, values in zip(found.labels, found.split(), strict=True):
        given = found.format.decode(values)
        name = label.removeprefix(str(member)).removeprefix(":")
        yield Item(file, name or None, "".join(given) if own.text else given)


def _text(file: str) -> str:
    try:
        path = Path(file).expanduser()
        data = sys.stdin.buffer.read() if file == "-" else bounds.regular(path).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {reason(error)}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{error.object[error.start]:02x} in line {line}"
        raise DataError(f"{Item(file, None, '').label} is not UTF-8 text: {found}") from None


def _lines(file: str, text: str) -> Iterator[Item]:
    from zoo.datasets.sequence_files import lines_of

    for name, line in lines_of(text, ""):
        yield Item(file, name.removeprefix(":"), line)
