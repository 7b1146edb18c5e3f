"""Bounded YAML: text from a stranger to plain data that remembers its lines.

Built on PyYAML's events rather than its loaders, so that no tag makes an object, no alias multiplies text, no
duplicate key hides another, and size, depth and count are capped. Plain scalars follow the core rules of YAML 1.2:
`no`, `on` and dates stay text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import yaml

from zoo.errors import RegistryError

MOST_BYTES = 1 << 20
MOST_DEPTH = 16  # a registry file needs 6
MOST_VALUES = 100_000

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the parser in C is 10 times as fast

_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBER_STARTS = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?[0-9]{1,19}")
_BASED = re.compile(r"0o[0-7]{1,21}|0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class Map(dict[str, Any]):
    """A mapping. lines: the 1-based line of each key. line: where the mapping starts."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class List(list[Any]):
    """A sequence. lines: the 1-based line of each item. line: where the sequence starts."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


def shown(value: object) -> str:
    """A value as an error says it: its repr, which escapes control characters, at most 80 characters of it."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def joined(path: str, key: str | int) -> str:
    """The path of a key (`weights.repo`) or an item (`models[3]`) below `path`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not key.isidentifier():
        key = shown(key)
    return f"{path}.{key}" if path else key


def fault(name: str, line: int, path: str, problem: str) -> RegistryError:
    """`file:line: field.path: problem`; a problem of the whole file has no path."""
    return RegistryError(f"{name}:{line}: {path}: {problem}" if path else f"{name}:{line}: {problem}")


def parse(text: str, *, name: str) -> Any:
    """The one document in `text` as Map, List, str, int, float, bool or None. Numbers are finite.

    name: what errors call the file. Raises RegistryError, `name:line: field.path: ...`, for what is not YAML and for
    what this reader refuses.
    """
    unreadable = _UNREADABLE.search(text)
    if unreadable:
        line = text.count("\n", 0, unreadable.start()) + 1
        raise fault(name, line, "", f"has U+{ord(unreadable[0]):04X}, a character that YAML does not allow")
    if len(text.encode()) > MOST_BYTES:
        raise fault(name, 1, "", f"is larger than {MOST_BYTES} bytes, the most allowed")
    loader = _Loader(text)
    try:
        return _Builder(loader.get_event, name).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise fault(name, mark.line + 1 if mark else 1, "", f"is not YAML: {error.problem}") from None
    finally:
        loader.dispose()


class _Builder:
    """Builds one document from parse events, refusing on the way whatever exceeds the bounds."""

    def __init__(self, next_event: Callable[[], Any], name: str) -> None:
        self._next = next_event
        self._name = name
        self._values = 0

    def document(self) -> Any:
        self._next()  # the stream's start
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self._value(self._next(), "", 0)
        self._next()  # the document's end
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            self._refuse(event, "", "a second document starts here; allowed: one document a file")
        return value

    def _value(self, event: Any, path: str, depth: int) -> Any:
        self._values += 1
        if self._values > MOST_VALUES:
            self._refuse(event, path, f"is past {MOST_VALUES} values, the most allowed")
        if type(event) is yaml.AliasEvent:
            self._refuse(
                event, path, f"is the alias *{event.anchor}; write the value out, aliases are not allowed"
            )
        if event.anchor is not None:
            self._refuse(event, path, f"has the anchor &{event.anchor}; anchors are not allowed")
        if event.tag is not None:
            self._refuse(event, path, f"has the tag {shown(event.tag)}; tags are not allowed")
        if type(event) is yaml.ScalarEvent:
            return self._scalar(event, path)
        if depth >= MOST_DEPTH:
            self._refuse(event, path, f"is nested deeper than {MOST_DEPTH} levels, the most allowed")
        if type(event) is yaml.MappingStartEvent:
            return self._mapping(event, path, depth + 1)
        return self._sequence(event, path, depth + 1)

    def _mapping(self, start: Any, path: str, depth: int) -> Map:
        found = Map(start.start_mark.line + 1)
        while type(event := self._next()) is not yaml.MappingEndEvent:
            key = self._value(event, path, depth)
            line = event.start_mark.line + 1
            if type(key) is not str:
                self._refuse(event, path, f"has the key {shown(key)}, but keys must be text (quote it)")
            below = joined(path, key)
            if key in found:
                self._refuse(
                    event, below, f"is written twice, first on line {found.lines[key]}; allowed: once"
                )
            found[key] = self._value(self._next(), below, depth)
            found.lines[key] = line
        return found

    def _sequence(self, start: Any, path: str, depth: int) -> List:
        found = List(start.start_mark.line + 1)
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            found.lines.append(event.start_mark.line + 1)
            found.append(self._value(event, f"{path}[{len(found)}]", depth))
        return found

    def _scalar(self, event: Any, path: str) -> Any:
        text: str = event.value
        if not event.implicit[0]:  # quoted, or a block
            return text
        try:
            return plain_scalar(text)
        except ValueError as error:
            self._refuse(event, path, f"is {shown(text)}, but {error}")

    def _refuse(self, event: Any, path: str, problem: str) -> NoReturn:
        raise fault(self._name, event.start_mark.line + 1, path, problem)


def plain_scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted scalar means by the core rules of YAML 1.2. Raises ValueError for numbers out of range."""
    if text in _BOOL:
        return _BOOL[text]
    if text in _NULL:
        return None
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        if text.lstrip("+-").isdigit():
            raise ValueError("whole numbers may have at most 19 digits (quote text)")
        value = float(text)
        if not math.isfinite(value):
            raise ValueError("numbers must be finite")
        return value
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("numbers must be finite (quote text)")
    return text
