"""The command tree: which commands there are, and the typer app of those that a command line needs.

Each command is one module with `register(app, words)`, where `words` is what was typed after the command's name: a
command whose options depend on its model reads the model's name from it. Only the asked command's module is
imported, so `zoo list` does not pay for the others.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from zoo_cli import interrupts, streams, terminal

COMMANDS = {
    "list": "list_models",
    "info": "info",
    "pull": "pull",
    "cache": "cache",
    "sample": "sample",
    "chat": "chat",
    "score": "score",
    "eval": "evaluate",
    "train": "train",
    "push": "push",
    "convert": "convert",
    "plugin": "plugin",
    "doctor": "doctor",
}
"""Command name to module of `zoo_cli.commands`, in the order of `zoo --help`."""

GROUPS = ("cache", "plugin")
"""Commands that have commands of their own."""

BY_MODEL = ("sample", "score", "eval", "chat")
"""Commands whose options depend on their model, so MODEL is to come before them."""

COMPLETION_VARIABLE = "_ZOO_COMPLETE"


def run(words: Sequence[str]) -> int:
    """Run a command line; returns its exit code. Raises what the command raises, typer's usage errors included."""
    words = _help_asked(list(words))
    if words[0] == "list" and COMPLETION_VARIABLE not in os.environ:
        from zoo_cli.commands import list_models

        arguments = list_models.plain(words[1:])
        if arguments is not None:
            list_models.list_models(**arguments)
            return 0
    try:
        code = build(words)(args=words, prog_name="zoo", standalone_mode=False)
    except typer.Abort:
        return 1
    return code if isinstance(code, int) else 0


def _help_asked(words: list[str]) -> list[str]:
    """The words, with those that ask for help as people do: none at all, a group alone, `zoo help COMMAND`."""
    if words[:1] == ["help"]:
        words = [word for word in words[1:] if word != "help"]
    elif words and words not in [[group] for group in GROUPS]:
        return words
    return [*words, "--help"]


def build(words: Sequence[str]) -> typer.Typer:
    """The app with the command that `words` begins with, or with all of them (help, completion, a misspelt name)."""
    app = typer.Typer(
        help="A zoo of generative models: list, pull, sample, chat with and train them.",
        epilog="`zoo help COMMAND` shows its options. Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.",
        context_settings={"help_option_names": ["--help", "-h"]},
        rich_markup_mode=terminal.help_markup(),
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    completing = COMPLETION_VARIABLE in os.environ
    asked = words[0] if words and words[0] in COMMANDS and not completing else None
    for name, module in COMMANDS.items():
        if asked in (None, name):
            register = importlib.import_module(f"zoo_cli.commands.{module}").register
            with streams.apart():  # a model's options come from its plugin
                register(app, list(words[1:]) if asked else [])
    _guard(app)
    return app


def _guard(app: typer.Typer) -> None:
    """Let every command run with results apart from what else is printed, and hand on a Ctrl-C that ends it."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _guarded(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _guard(group.typer_instance)


def _guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def guarded(*values: Any, **named: Any) -> Any:
        try:
            with streams.apart():
                return command(*values, **named)
        except KeyboardInterrupt:  # typer would make an exit code of it, and the line would be lost
            raise interrupts.StoppedError from None

    return guarded


def _version(asked: bool) -> None:
    if asked:
        import zoo

        typer.echo(f"zoo {zoo.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
