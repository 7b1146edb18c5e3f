"""The fields of one mapping of a registry file, read one by one, each checked where it stands.

Every error is a RegistryError `file:line: field.path: what is wrong (the value) and what is allowed`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from zoo.registry.document import List, Map, fault, joined, shown
from zoo.text_safety import safe_text

Check = Callable[[str], bool]
"""Whether a text is allowed; paired with words that say what is."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DISTRIBUTION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SETTING = re.compile(r"[a-z][a-z0-9_]{0,63}")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_HEX_40 = re.compile(r"[0-9a-f]{40}")
_HEX_64 = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"https://\S+")
_UNSAFE_PATH = re.compile(r'[\\:*?"<>|]|(^|/)([\s/]|\Z)|[.\s](/|\Z)')  # as in schema.json


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def is_relative_file(text: str) -> bool:
    """A relative path with forward slashes that stays below its folder on every system; at most 200 characters.

    Called on text that `Fields.text` has already found free of control and bidirectional characters.
    """
    return len(text) <= 200 and not _UNSAFE_PATH.search(text)


NAME = (is_name, "lower-case letters, digits, '.', '_' and '-', starting with a letter or digit, at most 64")
DISTRIBUTION = (
    lambda t: _DISTRIBUTION.fullmatch(t) is not None,
    "lower-case words joined by '-', as on PyPI",
)
FILE = (is_relative_file, "a relative path of at most 200 characters without '..', backslash or ':*?\"<>|'")
REPO = (lambda t: _REPO.fullmatch(t) is not None and ".." not in t, "a Hub repo, user/name")
COMMIT = (lambda t: _HEX_40.fullmatch(t) is not None, "a full commit: 40 lower-case hexadecimal digits")
SHA256 = (lambda t: _HEX_64.fullmatch(t) is not None, "64 lower-case hexadecimal digits")
URL = (lambda t: _URL.fullmatch(t) is not None, "an https:// address")
LINE = (lambda t: bool(t.strip()) and len(t) <= 300, "1 to 300 characters on one line")


class Fields:
    """A mapping of a registry file. Unknown keys are refused at once, naming the nearest known one."""

    def __init__(self, value: Any, *, file: str, line: int, path: str, known: Sequence[str]) -> None:
        self.file, self.path = file, path
        if not isinstance(value, Map):
            raise fault(file, line, path, f"is {shown(value)}, but must be a mapping with {', '.join(known)}")
        self._values = value
        for key in value:
            if key not in known:
                raise fault(file, value.lines[key], joined(path, key), f"is unknown; {_near(key, known)}")

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise the error of one field, at its line, or at the mapping's when the field is absent."""
        line = self._values.lines.get(key, self._values.line)
        raise fault(self.file, line, joined(self.path, key), problem)

    def has(self, key: str) -> bool:
        return key in self._values

    def text(self, key: str, allowed: tuple[Check, str] = LINE, *, default: str | None = None) -> str:
        """A text that passes `allowed`. Required without a default."""
        if key not in self._values and default is not None:
            return default
        return self._text(self._required(key), joined(self.path, key), self._line(key), allowed)

    def texts(self, key: str, allowed: tuple[Check, str]) -> tuple[str, ...]:
        """A list of different texts; () when the key is absent."""
        found: list[str] = []
        for path, line, item in self._items(key):
            text = self._text(item, path, line, allowed)
            if text in found:
                raise fault(self.file, line, path, f"is {shown(text)} again; allowed: each once")
            found.append(text)
        return tuple(found)

    def choice(self, key: str, options: Sequence[str], *, default: str | None = None) -> str:
        return self.text(key, (options.__contains__, "one of " + ", ".join(options)), default=default)

    def integer(self, key: str, minimum: int, maximum: int = 1 << 62) -> int:
        """A whole number from `minimum` to `maximum`, both included; 1.5e9 is one."""
        value = self._required(key)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or not minimum <= value <= maximum:
            most = f" to {maximum}" if maximum < 1 << 62 else " or more"
            self.fail(key, f"is {shown(value)}, but must be a whole number, {minimum}{most}")
        return value

    def number(self, key: str) -> float:
        value = self._required(key)
        if type(value) not in (int, float):
            self.fail(key, f"is {shown(value)}, but must be a number")
        return float(value)

    def mapping(self, key: str, known: Sequence[str]) -> Fields:
        value = self._required(key)
        return Fields(value, file=self.file, line=self._line(key), path=joined(self.path, key), known=known)

    def mappings(self, key: str, known: Sequence[str]) -> list[Fields]:
        """A list of mappings; empty when the key is absent."""
        return [
            Fields(item, file=self.file, line=line, path=path, known=known)
            for path, line, item in self._items(key)
        ]

    def settings(self, key: str) -> dict[str, Any]:
        """A mapping of setting names to numbers, texts, true, false, null or lists of these; {} when absent."""
        if key not in self._values:
            return {}
        value = self._values[key]
        if not isinstance(value, Map):
            self.fail(key, f"is {shown(value)}, but must be a mapping of the family's config")
        path = joined(self.path, key)
        for name, item in value.items():
            where = joined(path, name)
            if not _SETTING.fullmatch(name):
                raise fault(self.file, value.lines[name], where, "is no setting; allowed: a-z, 0-9 and '_'")
            for one in item if isinstance(item, List) else [item]:
                if isinstance(one, Map | List):
                    raise fault(
                        self.file,
                        value.lines[name],
                        where,
                        "is nested, but must be a value or a list of values",
                    )
                if isinstance(one, str):
                    self._text(one, where, value.lines[name], _ANY)
        return {name: list(item) if isinstance(item, List) else item for name, item in value.items()}

    def _required(self, key: str) -> Any:
        if key not in self._values:
            self.fail(key, "is missing; it is required")
        return self._values[key]

    def _line(self, key: str) -> int:
        return self._values.lines[key]

    def _items(self, key: str) -> list[tuple[str, int, Any]]:
        if key not in self._values:
            return []
        value = self._values[key]
        if not isinstance(value, List):
            self.fail(key, f"is {shown(value)}, but must be a list")
        path = joined(self.path, key)
        return [
            (f"{path}[{i}]", line, item)
            for i, (line, item) in enumerate(zip(value.lines, value, strict=True))
        ]

    def _text(self, value: Any, path: str, line: int, allowed: tuple[Check, str]) -> str:
        if type(value) is not str:
            raise fault(self.file, line, path, f"is {shown(value)}, but must be text (quote it)")
        if safe_text(value) != value:
            problem = (
                f"is {shown(value)}, but control, line-breaking and bidirectional characters are not allowed"
            )
            raise fault(self.file, line, path, problem)
        check, words = allowed
        if not check(value):
            raise fault(self.file, line, path, f"is {shown(value)}, but must be {words}")
        return value


_ANY = (lambda t: len(t) <= 10_000, "at most 10000 characters")


def _near(key: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else f"allowed: {', '.join(known)}"
