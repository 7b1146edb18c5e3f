"""The encoding of a text file of rows, told from its first bytes, or said."""

from __future__ import annotations

import codecs
import re

from zoo.datasets.file_rules import FileRules
from zoo.errors import DataError, UsageError

_MARKS = (  # UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = re.compile(rb"[A-Za-z][\x80-\xff]{1,2}|[\x80-\xff]{1,2}[A-Za-z]")


def encoding_of(file: str, data: bytes, rules: FileRules) -> str:
    """Python's name of the encoding that a file's first bytes are in. Raises DataError where it is not to be told."""
    if rules.encoding:
        named = checked_encoding(rules.encoding)
        marked = (both for mark, both in _MARKS if data.startswith(mark))
        return next((both for both in marked if codecs.lookup(named).name.startswith(both)), named)
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    if data.startswith(b"PK\3\4"):
        raise DataError(
            f"{file} is no text, but an archive, as workbooks of spreadsheets are",
            hint="save the sheet as CSV",
        )
    if b"\0" in data:
        raise DataError(
            f"{file} is no text: it has bytes of value 0",
            hint="if it is text of two bytes a character: --set data.encoding=utf-16-le",
        )
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError as error:
        foreign = _WESTERN.sub(b"", data)
        if foreign.isascii() and _decodes(data, "cp1252"):
            return "cp1252"
        raise not_text(file, data.count(b"\n", 0, error.start), "utf-8-sig") from None
    return "utf-8-sig"


def checked_encoding(name: str) -> str:
    """Raises UsageError for one that Python does not know."""
    try:
        codecs.lookup(name)
        "".encode(name)
    except (LookupError, UnicodeError, TypeError):
        raise UsageError(
            f"data.encoding is {name!r}, which is no encoding of text",
            hint="such as utf-8, latin-1 or utf-16",
        ) from None
    return "utf-8-sig" if codecs.lookup(name).name == "utf-8" else name


def not_text(file: str, line: int, encoding: str) -> DataError:
    """The error for bytes after a line that are not of the encoding."""
    name = {"utf-8-sig": "UTF-8", "cp1252": "Windows-1252"}.get(encoding, encoding)
    return DataError(
        f"{file}: after line {line} it is not {name} text",
        hint="name its encoding, as in --set data.encoding=latin-1",
    )


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
