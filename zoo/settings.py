"""Frozen dataclasses that say something a person sets: a model's config, its sampling controls, a training plan.

Each field carries its help text, range and unit, so the command's flags, their checks, the recipe files and the
documentation all come from the one declaration:

    @dataclass(frozen=True)
    class Controls(Settings):
        temperature: float = setting(1.0, help="divides the logits", minimum=0.0)

    Controls(temperature=-1.0)  # UsageError: Controls: temperature is -1.0, but must be at least 0
"""

from __future__ import annotations

import contextvars
import dataclasses
import difflib
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from zoo.errors import UsageError

T = TypeVar("T")

LARGEST_WHOLE = 2**63 - 1
"""What tensors count with; no whole number may be larger, whatever it says."""
MOST_AT_ONCE = 1_000_000
"""Rows, samples or texts that are asked to be computed together."""

_KEY = "zoo"
_MOST_SHOWN, _MOST_ASSIGNED = 40, 60  # characters of a value, and of an assignment, in a message
_checks = contextvars.ContextVar("checks", default=True)  # False while `make` builds what it checked


@dataclass(frozen=True)
class Described:
    """What is said about one field beyond its name, type and default.

    minimum, maximum: inclusive unless `above` is set, which makes the minimum exclusive.
    choices: the allowed values, for a field with few of them. flags: extra option names, such as ("-p",).
    """

    help: str
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    flags: tuple[str, ...] = ()


def setting(
    default: Any = dataclasses.MISSING,
    *,
    help: str,  # noqa: A002 - the field's standard word, as in argparse
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "",
    flags: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its description (see `Described`). Without `default` the field is required."""
    described = Described(help, minimum, above, maximum, choices, unit, flags)
    return dataclasses.field(default=default, metadata={_KEY: described})


_fields: dict[type, tuple[Setting, ...]] = {}  # of each class once: type hints take long to resolve


class Settings:
    """The base of settings dataclasses: values are checked when one is made, before its own `__post_init__`.

    A bad value raises UsageError; a list becomes a tuple, and a whole number a float where one is wanted.
    """

    def __init_subclass__(cls) -> None:
        further: Callable[[Any], None] | None = cls.__dict__.get("__post_init__")
        if further is not None:

            def checked_first(self: Any) -> None:
                Settings.__post_init__(self)
                further(self)

            cls.__post_init__ = checked_first  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        if not _checks.get():
            return
        for field in fields(type(self)):
            value = getattr(self, field.name)
            if value is not field.default:  # which most are
                object.__setattr__(self, field.name, checked(field, value, what=type(self).__name__))


@dataclass(frozen=True)
class Setting:
    """One field of a settings class as the command and the documentation need it."""

    name: str
    kind: type  # bool, int, float or str; the element's type when `many`
    optional: bool  # may be None
    many: bool  # a tuple of values
    default: Any  # dataclasses.MISSING when required
    described: Described


def fields(settings_class: type) -> tuple[Setting, ...]:
    """The fields of a settings class, in order of declaration."""
    if settings_class not in _fields:
        hints = typing.get_type_hints(settings_class)
        found = []
        for field in dataclasses.fields(settings_class):
            kind, optional, many = _kind(hints[field.name])
            described = field.metadata.get(_KEY, Described(help=""))
            found.append(Setting(field.name, kind, optional, many, field.default, described))
        _fields[settings_class] = tuple(found)
    return _fields[settings_class]


def _kind(hint: Any) -> tuple[type, bool, bool]:
    """`int | None` -> (int, True, False); `tuple[str, ...]` -> (str, False, True)."""
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        [hint] = [part for part in typing.get_args(hint) if part is not type(None)]
        optional = True
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], optional, True
    return hint, optional, False


def make(settings_class: type[T], values: Mapping[str, Any], *, what: str) -> T:
    """Build a settings value from plain data (a registry file's mapping, keyword arguments), checked.

    what: names the thing in errors, such as "config of gpt2-small".
    Raises UsageError for an unknown field (naming the nearest), a missing one, a wrong type or a value out of range.
    """
    known = {field.name: field for field in fields(settings_class)}
    for name in values:
        if name not in known:
            raise unknown_name(name, known, what=what)
    missing = [n for n, f in known.items() if f.default is dataclasses.MISSING and n not in values]
    if missing:
        raise UsageError(f"{what}: missing {', '.join(missing)}")
    right = {name: checked(known[name], value, what=what) for name, value in values.items()}
    token = _checks.set(False)
    try:
        return settings_class(**right)
    finally:
        _checks.reset(token)


def unknown_name(name: str, known: typing.Iterable[str], *, what: str) -> UsageError:
    """The error for a name that no field has; it suggests the nearest."""
    known = list(known)
    suggestion = _nearest(name, known) or f"allowed: {', '.join(known)}"
    return UsageError(f"{what}: there is no setting {name!r}; {suggestion}")


def _nearest(name: str, known: typing.Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def checked(field: Setting, value: Any, *, what: str) -> Any:
    """The value as the field's type, within its range. Raises UsageError otherwise, which `what` begins."""
    if value is None and field.optional:
        return None
    if field.many:
        items = (value,) if isinstance(value, str) or not isinstance(value, list | tuple) else value
        return tuple(_checked_item(field, item, what) for item in items)
    return _checked_item(field, value, what)


def _checked_item(field: Setting, value: Any, what: str) -> Any:
    said = field.described
    name = f"{what}: {field.name}" if what else field.name
    value = _of_kind(field.kind, value)
    if type(value) is not field.kind and field.kind in (bool, int, float, str):
        raise UsageError(f"{name} is {shown(value)}, but must be {_name(field.kind)}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low = said.minimum if said.minimum is not None else said.above
        too_low = low is not None and (value < low or (said.above is not None and value <= said.above))
        too_high = said.maximum is not None and value > said.maximum
        if too_low or too_high or (field.kind is float and not math.isfinite(value)):
            finite = "finite and " if value == math.inf and low is not None and not too_high else ""
            raise UsageError(f"{name} is {shown(value)}, but must be {finite}{range_text(said)}")
        if field.kind is int and abs(value) > LARGEST_WHOLE:
            raise UsageError(f"{name} is {shown(value)}, but must be at most {LARGEST_WHOLE:,}")
    if said.choices and value not in said.choices:
        near = _nearest(value, said.choices)
        raise UsageError(
            f"{name} is {shown(value)}, but must be one of {', '.join(said.choices)}"
            + (f"; {near}" if near else "")
        )
    return value


def _of_kind(kind: type, value: Any) -> Any:
    """A number of numpy's, or a whole one where a float is wanted, as Python's own; else the value itself."""
    if type(value) is kind or isinstance(value, bool):
        return value
    if kind is int and isinstance(value, numbers.Integral):
        return int(value)
    if kind is float and isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:  # a whole number beyond all floats
            return -math.inf if value < 0 else math.inf
    return str(value) if kind is str and isinstance(value, str) else value


def _name(kind: type) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]


def require_whole(name: str, value: Any, *, minimum: int = 1) -> None:
    """Raises UsageError for what is not a whole number of at least `minimum`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise UsageError(f"{name} is {shown(value)}, but must be a whole number")
    if value < minimum:
        raise UsageError(f"{name} is {shown(value)}, but must be at least {minimum}")
    if value > LARGEST_WHOLE:
        allowed = f"at least {minimum} and at most {LARGEST_WHOLE:,}"
        raise UsageError(f"{name} is {shown(value)}, but must be {allowed}")


def shown(value: Any) -> str:
    """A value for a message, the middle of a long one left out."""
    if isinstance(value, int) and value.bit_length() > 10_000:  # Python does not write it out
        return f"a whole number of {value.bit_length():,} bits"
    text = repr(value)
    if len(text) <= _MOST_SHOWN:
        return text
    half = _MOST_SHOWN // 2 - 2
    return f"{text[:half]}...{text[-half:]} ({len(text):,} characters)"


def range_text(said: Described) -> str:
    """The numbers a field allows, as in "at least 0 and at most 1"; "finite" when it sets no limit."""
    parts = []
    if said.minimum is not None:
        parts.append(f"at least {_written(said.minimum)}")
    if said.above is not None:
        parts.append(f"above {_written(said.above)}")
    if said.maximum is not None:
        parts.append(f"at most {_written(said.maximum)}")
    text = " and ".join(parts) or "finite"
    unit = said.unit.removesuffix("s") if text.endswith(" 1") else said.unit
    return f"{text} {unit}" if unit else text


def _written(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"


def parse(field: Setting, text: str, *, what: str) -> Any:
    """A value written as text (`--set layers=2`), as the field's type. Raises UsageError when it is none."""
    if field.optional and text.lower() in ("none", "null"):
        return None
    if field.kind is bool:
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{what}: {field.name} is {shown(text)}, but must be true or false")
        return checked(field, text.lower() == "true", what=what)
    try:
        items = [field.kind(item) for item in (text.split(",") if field.many else [text])]
    except ValueError:
        raise UsageError(f"{what}: {field.name} is {shown(text)}, but must be {_name(field.kind)}") from None
    return checked(field, items if field.many else items[0], what=what)


def assigned(assignment: str, classes: Mapping[str, type]) -> tuple[str, str, Any]:
    """What an assignment such as "config.layers=2" says: section, setting, and the value as its type.

    classes: the settings class of each section. Raises UsageError for an unknown section or setting, naming the
    nearest, or a value that does not fit.
    """
    what = (
        f"--set {assignment}"
        if len(assignment) <= _MOST_ASSIGNED
        else f"--set {assignment[:_MOST_ASSIGNED]}..."
    )
    name, equals, text = assignment.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot):
        raise UsageError(f"{what}: must be written as section.setting=value")
    if section not in classes:
        raise unknown_name(section, classes, what=what)
    known = {setting.name: setting for setting in fields(classes[section])}
    if key not in known:
        raise unknown_name(key, known, what=what)
    return section, key, parse(known[key], text.strip(), what=what)


def plain(settings: Any) -> dict[str, Any]:
    """The settings as plain data (dict of numbers, strings, lists), for a header, a recipe or JSON."""
    values = dataclasses.asdict(settings)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
