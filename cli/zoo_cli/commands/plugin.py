"""zoo plugin: the installed plugins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from zoo_cli import options, streams, terminal

_STYLES = {"ok": "", "broken": "red", "disabled": "dim"}


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    plugins = typer.Typer(help="List the plugins, which bring families and models.")
    plugins.command("list")(_list)
    plugins.callback()(_plugins)
    app.add_typer(plugins, name="plugin")


def _plugins() -> None:
    """A group of its own, although it has one command so far."""


def _list(as_json: options.Json = False) -> None:
    """List the installed plugins.

    Each is loaded to see whether it works.

    To a pipe: one plugin a line, columns divided by tabs (name, version, status, models, reason).
    """
    found = installed()
    if as_json:
        terminal.out_json(found, indent=2)
    elif terminal.for_reading(streams.results()):
        _show_table(found)
    else:
        for plugin in found:
            cells = (plugin["name"], plugin["version"], plugin["status"], _count(plugin), plugin["reason"])
            terminal.out("\t".join(terminal.one_line(cell) for cell in cells))
    if not found:
        terminal.note("no plugin is installed; try `pip install zoo-gpt`")


def installed() -> list[dict[str, Any]]:
    """Every installed plugin, loaded to see whether it works, as `zoo plugin list --json` writes it."""
    from zoo import plugins
    from zoo.registry.catalogue import catalogue

    models: dict[str, list[str]] = {}
    for entry in catalogue().entries:
        models.setdefault(entry.plugin, []).append(entry.name)
    return [
        {
            "name": plugin.distribution,
            "entry_point": plugin.name,
            "version": plugin.version,
            "status": plugin.status,
            "reason": plugin.reason,
            "summary": plugin.summary,
            "models": models.get(plugin.distribution, []),
        }
        for plugin in plugins.check()
    ]


def _count(plugin: dict[str, Any]) -> str:
    return str(len(plugin["models"]))


def _show_table(found: Sequence[dict[str, Any]]) -> None:
    terminal.show_table(
        ("plugin", "version", "status", "models", "about"),
        [
            (each["name"], each["version"], each["status"], _count(each), each["reason"] or each["summary"])
            for each in found
        ],
        right=("models",),
        wrapped=("about",),
        optional=("models", "version"),
        styles=[_STYLES[each["status"]] for each in found],
    )
