"""How a text file writes a table: delimiter, decimal sign, names of columns, found from its beginning.

Only what can be read one way is found; where there are two, the setting that says which is named. Python's
csv.Sniffer guesses instead, and takes 1,5;2,5 for three columns.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from zoo.datasets import cells
from zoo.datasets.file_rules import DELIMITERS, FileRules, to_set
from zoo.datasets.table_columns import numbered
from zoo.errors import DataError

Record = Sequence[str]

COMMENT = "#"
"""A line that begins so is a comment where the first line of the file is one."""
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_NAMELESS = re.compile(r"|Unnamed: \d+")  # pandas calls them so when it has read them once
_LEAST_ROWS = 5  # that a first line of numbers is held against


@dataclass(frozen=True)
class Dialect:
    """names: of all columns, in the file's order. header: whether the first line is theirs.

    comments: whether lines that begin with # are passed over. first: the first rows, as (columns,) of cells.
    idle: places of columns without a name that only count the rows, or are empty. notes: what was found, for people.
    """

    encoding: str
    delimiter: str
    decimal: str = "."
    names: tuple[str, ...] = ()
    header: bool = True
    comments: bool = False
    first: tuple[tuple[str, ...], ...] = ()
    idle: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> tuple[str, ...]:
        """The first cells of a column."""
        at = self.names.index(name)
        return tuple(record[at] for record in self.first if len(record) > at)


def of(
    file: str, lines: Sequence[str], encoding: str, rules: FileRules, columns: Sequence[str] = ()
) -> Dialect:
    """The dialect of a file by its first lines. columns: what those of a file without names are called.

    Raises DataError where the lines can be read in two ways.
    """
    top, lines = _parted(lines)
    usual = "\t" if file.lower().removesuffix(".gz").endswith(".tsv") else ","
    delimiter = DELIMITERS[rules.delimiter] if rules.delimiter else _delimiter(file, lines, usual)
    table = _records(lines, delimiter)
    decimal = rules.decimal or _decimal(file, table, delimiter)
    notes = (
        [] if encoding in ("utf-8-sig", "utf-16", "utf-32") or rules.encoding else ["read as Latin-1 text"]
    )
    if (delimiter != usual and not rules.delimiter) or (decimal != "." and not rules.decimal):
        commas = " with decimal commas" if decimal == "," else ""
        notes.append(f"columns divided by {_name(delimiter)}{commas}")
    if not table:
        return Dialect(encoding, delimiter, decimal)
    names = _names_above(top, delimiter, table[0], decimal) if rules.header is not False else ()
    comments = len(top) > (1 if names else 0)
    if comments:
        notes.append(f"lines that begin with {COMMENT} passed over")
    header = bool(names) and not comments  # else the line of names is passed over as the other comments are
    rows = table
    if not names and (
        rules.header if rules.header is not None else _has_names(file, table, decimal, columns)
    ):
        names, header, rows = tuple(name.strip() for name in table[0]), True, table[1:]
    elif not names:
        names = tuple(columns) if len(columns) == len(table[0]) else numbered(len(table[0]))
        notes.append(f"no line of names: the columns are {', '.join(names[:3])}{', ...' * (len(names) > 3)}")
    first = tuple(map(tuple, rows))
    found = Dialect(encoding, delimiter, decimal, names, header, comments, first)
    idle, said = _idle(found)
    return replace(found, idle=idle, notes=(*notes, *said))


def _records(lines: Iterable[str], delimiter: str) -> list[list[str]]:
    """The cells of each line that is not empty. Raises csv.Error, which says the line."""
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        return [record for record in reader if record]
    except csv.Error as error:
        raise csv.Error(f"line {reader.line_num}: {error}") from None


def _parted(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """The comments at the top, and the lines that are none, without empty ones."""
    lines = [line for line in lines if line.strip()]
    top = list(itertools.takewhile(lambda line: line.startswith(COMMENT), lines))
    return top, [line for line in lines if not (top and line.startswith(COMMENT))]


def _delimiter(file: str, lines: Sequence[str], usual: str) -> str:
    """The only one that divides every line into as many cells; of several, the only one that leaves no other."""
    fitting = {sign: table for sign in DELIMITERS.values() if (table := _even(lines, sign))}
    if len(fitting) > 1:
        clean = {sign: table for sign, table in fitting.items() if _is_clean(table[1:] or table, sign)}
        if len(clean) != 1:
            signs = " or by ".join(map(_name, fitting))
            raise DataError(
                f"{file}: its columns may be divided by {signs}",
                hint=f"say which: {to_set('delimiter', _setting(next(iter(fitting))))}",
            )
        fitting = clean
    if fitting:
        return next(iter(fitting))
    heads = [sign for sign in DELIMITERS.values() if lines and sign in lines[0]]
    return heads[0] if len(heads) == 1 and not _even(lines, usual, least=1) else usual


def _even(lines: Sequence[str], sign: str, *, least: int = 2) -> list[list[str]]:
    """The records, if all have as many cells, at least so many; else none."""
    if not lines or (least > 1 and sign not in lines[0]):
        return []
    try:
        table = _records(lines, sign)
    except csv.Error:
        return []
    return table if len(table[0]) >= least and len(set(map(len, table))) == 1 else []


def _is_clean(table: Sequence[Record], sign: str) -> bool:
    """Whether no cell has another delimiter but as the decimal comma of a number."""
    others = [other for other in DELIMITERS.values() if other != sign]
    return not any(
        any(other in cell for other in others)
        and not (sign != "," and _DECIMAL_COMMA.fullmatch(cell.strip()))
        for record in table
        for cell in record
    )


def _decimal(file: str, table: Sequence[Record], delimiter: str) -> str:
    """The comma only where it is in numbers, every cell of their columns is one, and no point is in any."""
    if delimiter == ",":
        return "."
    body = table[1:] or table
    columns = [[cell.strip() for cell in column] for column in zip(*_whole(body), strict=True)]
    commas = [cell for column in columns for cell in column if _DECIMAL_COMMA.fullmatch(cell)]
    if not commas:
        return "."
    points = [cell for column in columns for cell in column if "." in cell and cells.is_number(cell)]
    others = [
        cell
        for column in columns
        if any(map(_DECIMAL_COMMA.fullmatch, column))
        for cell in column
        if not (cells.is_missing(cell) or cells.is_number(cell, ","))
    ]
    if not (points or others or all(map(_THOUSANDS.fullmatch, commas))):
        return ","
    beside = f" beside {(points or others)[0][:40]!r}" if points or others else ""
    raise DataError(
        f"{file}: the comma in {commas[0][:40]!r}{beside} may be a decimal sign, or divide thousands",
        hint="say which sign begins the decimals: --set data.decimal=, or --set data.decimal=.",
    )


def _whole(table: Sequence[Record]) -> list[Record]:
    """The records with as many cells as the first."""
    return [record for record in table if len(record) == len(table[0])]


def _has_names(file: str, table: Sequence[Record], decimal: str, columns: Sequence[str]) -> bool:
    """Whether the first record names the columns. columns: wanted ones. Raises DataError where it may be a row."""
    head, rows = [cell.strip() for cell in table[0]], _whole(table)[1:]
    if columns and set(columns) <= set(head):
        return True
    numbers = [
        at for at, cell in enumerate(head) if cells.is_number(cell, decimal) and not cells.is_truth(cell)
    ]
    again = all(any(row[at].strip() == cell for row in rows) for at, cell in enumerate(head))
    if not numbers and not again:
        return True
    counts = any(
        head == [str(first + at) for at in range(len(head))] for first in (0, 1)
    )  # pandas' own names
    like_rows = len(rows) >= _LEAST_ROWS and all(_is_among(head[at], rows, at, decimal) for at in numbers)
    if len(numbers) == len(head):
        if like_rows and not counts:
            return False
    elif numbers and (not like_rows or _are_years([head[at] for at in numbers])):
        return True
    shown = ", ".join(cell[:20] for cell in head[:4]) + ", ..." * (len(head) > 4)
    raise DataError(
        f"{file}: its first line, {shown}, may be the names of the columns or a row",
        hint="say which: --set data.header=true, or --set data.header=false for a file without names",
    )


def _are_years(said: Sequence[str]) -> bool:
    """Whether names are numbers that count up, as those of years or weeks do."""
    found = [int(name) for name in said if name.isdigit()]
    return len(found) == len(said) > 1 and found == list(range(found[0], found[0] + len(found)))


def _is_among(cell: str, rows: Sequence[Record], at: int, decimal: str) -> bool:
    """Whether a number is no further from those of a column than they are apart."""
    found = [value for row in rows if (value := cells.number(row[at], decimal)) == value]
    if not found:
        return False
    low, high = min(found), max(found)
    return low - (high - low) <= cells.number(cell, decimal) <= high + (high - low)


def _names_above(top: Sequence[str], delimiter: str, record: Record, decimal: str) -> tuple[str, ...]:
    """Names that stand in the last comment above a row, as numpy.savetxt writes them; else none."""
    if not top or not any(cells.is_number(cell, decimal) for cell in record):
        return ()
    [said] = _records([top[-1].removeprefix(f"{COMMENT} ")], delimiter) or [[]]
    names = tuple(name.strip() for name in said)
    right = len(names) == len(record) and not any(cells.is_number(name, decimal) for name in names)
    return names if right else ()


def _idle(found: Dialect) -> tuple[frozenset[int], list[str]]:
    """The columns without a name that are the first and count the rows, as pandas and R write them, or are empty."""
    rows = _whole(found.first)
    idle, said = set(), []
    for at, name in enumerate(found.names):
        if not found.header or not rows or not _NAMELESS.fullmatch(name) or len(rows[0]) <= at:
            continue
        column = [row[at].strip() for row in rows]
        counts = [list(map(str, range(first, first + len(column)))) for first in (0, 1)]
        if not any(column):
            idle.add(at)
            said.append("an empty column without a name left out")
        elif at == 0 and len(found.names) > 1 and column in counts:
            idle.add(at)
            said.append("the first column, which has no name and counts the rows, left out")
    return frozenset(idle), said


def _name(delimiter: str) -> str:
    return "tabs" if delimiter == "\t" else repr(delimiter)


def _setting(delimiter: str) -> str:
    return next(name for name, sign in DELIMITERS.items() if sign == delimiter)
