"""zoo list: the models of the installed plugins and of the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_cli import cards, completion, human, options, streams, terminal

if TYPE_CHECKING:
    from zoo.registry.entry import ModelEntry


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    app.command("list")(list_models)


def plain(words: Sequence[str]) -> dict[str, Any] | None:
    """The arguments of `list_models` in the words after `zoo list`; None for what only typer can read: help, errors.

    typer imports pydantic to read an option's value, which takes longer than all else that `zoo list` does.
    """
    flags = {"--json": "as_json", "--installed": "installed"}
    values = {"--task": "task", "--family": "family", "--plugin": "plugin"}
    arguments: dict[str, Any] = {}
    following = iter(words)
    for word in following:
        value = next(following, "-") if word in values else word
        if word in flags:
            arguments[flags[word]] = True
        elif value.startswith("-") or (word not in values and "pattern" in arguments):
            return None
        else:
            arguments[values.get(word, "pattern")] = value
    return arguments


def list_models(
    pattern: Annotated[
        str,
        typer.Argument(
            metavar="PATTERN",
            help="Names to list; wildcards are possible, as in 'gpt2*'.",
            autocompletion=completion.models,
            show_default=False,
        ),
    ] = "*",
    task: Annotated[
        str, typer.Option(metavar="TASK", autocompletion=completion.tasks, help="Only models for this task.")
    ] = "",
    family: Annotated[
        str, typer.Option(metavar="FAMILY", autocompletion=completion.families, help="Only this family.")
    ] = "",
    plugin: Annotated[
        str,
        typer.Option(metavar="PLUGIN", autocompletion=completion.plugins, help="Only this plugin's models."),
    ] = "",
    installed: Annotated[
        bool, typer.Option("--installed", help="Leave out models whose plugin is not installed.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List the models, installed and known.

    On a terminal: a table; models of plugins that are not installed are dimmed, with the line that installs them.

    To a pipe: one model a line, columns divided by tabs (name, plugin, family, task, parameters, status of the
    weights, bytes, installed).
    """
    from zoo import plugins
    from zoo.registry.catalogue import catalogue

    known = catalogue()
    entries = known.match(pattern, task=task, family=family, plugin=plugin, installed=installed)
    if as_json:
        terminal.out_json([cards.summary(entry) for entry in entries], indent=2)
    elif terminal.for_reading(streams.results()):
        _show_table(entries)
    else:
        for entry in entries:
            terminal.out("\t".join(terminal.one_line(cell) for cell in _cells(entry)))
    if not entries:
        terminal.note(f"no model matches {pattern!r}" + _wider(pattern))
    if known.problems:
        terminal.warn(f"{len(known.problems)} registry file(s) cannot be read; `zoo doctor` says why")
    if broken := [found.distribution for found in plugins.discover() if found.status == "broken"]:
        terminal.warn(f"{', '.join(broken)} cannot be used; `zoo doctor` says why")


def _wider(pattern: str) -> str:
    return "" if set(pattern) & set("*?[") else f"; try `zoo list '*{pattern}*'`"


def _cells(entry: ModelEntry) -> tuple[str, ...]:
    """A line's columns for programs: exact numbers, nothing left out."""
    weights = entry.weights
    return (
        entry.name,
        entry.plugin,
        entry.family,
        entry.task,
        str(entry.parameters),
        weights.status,
        "" if weights.bytes is None else str(weights.bytes),
        "installed" if entry.installed else "not installed",
    )


def _show_table(entries: Sequence[ModelEntry]) -> None:
    rows = [
        (
            entry.name,
            entry.family,
            entry.task,
            human.count(entry.parameters),
            _weights(entry),
            entry.plugin,
        )
        for entry in entries
    ]
    terminal.show_table(
        ("model", "family", "task", "parameters", "weights", "plugin"),
        rows,
        right=("parameters",),
        optional=("task", "plugin", "weights", "family", "parameters"),
        styles=["" if entry.installed else "dim" for entry in entries],
    )
    missing = dict.fromkeys(entry.plugin for entry in entries if not entry.installed)
    if missing:
        terminal.out(f"dimmed: pip install {' '.join(missing)}", style="dim")


def _weights(entry: ModelEntry) -> str:
    """Status and size: `converted, 548 MB`; `trained here, in the package`; `none`."""
    weights = entry.weights
    if weights.status == "none":
        return "none"
    if weights.package:
        return f"{weights.status}, in the package"
    return weights.status if weights.bytes is None else f"{weights.status}, {human.size(weights.bytes)}"
