"""A command's options made from a settings dataclass: one option a field, with its help, range and default.

What a plugin declares once as its controls is thus what `zoo sample MODEL --help` shows, what the command line
accepts and what is checked (by `zoo.settings`; typer itself only reads the types).
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any

import typer

from zoo import settings
from zoo.errors import PluginError
from zoo_cli import terminal


def with_settings(
    function: Callable[..., None],
    settings_class: type,
    *,
    into: str,
    panel: str,
    without: Collection[str] = (),
) -> Callable[..., None]:
    """`function` for typer, with its parameter `into` replaced by one option for each field of the settings class.

    The function then gets as `into` a dict of the values that were given.
    panel: the heading of these options in the help. without: fields that are no options here.
    Raises PluginError when a field has the name of one of the function's own options.
    """
    own = inspect.signature(function, eval_str=True).parameters
    fields = [field for field in settings.fields(settings_class) if field.name not in without]
    taken = sorted(own.keys() & {field.name for field in fields})
    if taken:
        raise PluginError(f"{settings_class.__qualname__}: the command has its own option {taken[0]!r}")
    parameters: list[inspect.Parameter] = []
    for parameter in own.values():
        if parameter.name == into:
            parameters += [_parameter(field, panel) for field in fields]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def command(**values: Any) -> None:
        given = {field: value for field in fields if (value := values.pop(field.name)) is not None}
        for field, value in given.items():
            settings.checked(dataclasses.replace(field, name=_option(field)), value, what="")
        function(**values, **{into: {field.name: value for field, value in given.items()}})

    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def bound(function: Callable[..., None], *given: Any) -> Callable[..., None]:
    """`function` for typer, with its first arguments given."""

    def command(**values: Any) -> None:
        function(*given, **values)

    own = inspect.signature(functools.partial(function, *given), eval_str=True).parameters
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own.values()]
    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(field: settings.Setting, panel: str) -> inspect.Parameter:
    name = _option(field)
    required = field.default is dataclasses.MISSING
    kind: Any = list[field.kind] if field.many else field.kind  # type: ignore[name-defined]
    decided = field.kind is bool and field.default is False
    choices = field.described.choices
    option = typer.Option(
        name if decided or field.kind is not bool else f"{name}/--no-{name[2:]}",
        *field.described.flags,
        help=terminal.for_help(_help(field)),
        metavar=None if field.kind is bool else "|".join(choices) or _METAVARS.get(field.kind, "VALUE"),
        autocompletion=(lambda: list(choices)) if choices else None,
        rich_help_panel=panel,
        show_default=False,
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[kind if required else kind | None, option],
    )


def _option(field: settings.Setting) -> str:
    return "--" + field.name.replace("_", "-")


_METAVARS: dict[type, str] = {int: "N", float: "NUMBER", str: "TEXT"}


def _help(field: settings.Setting) -> str:
    said = field.described
    limits = [] if said.minimum is said.above is said.maximum is None else [settings.range_text(said)]
    shown = field.default not in (dataclasses.MISSING, None, "", (), False)
    if shown:
        limits.append(f"default {_plain(field.default)}")
    return said.help[:1].upper() + said.help[1:] + (f" ({'; '.join(limits)})." if limits else ".")


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
