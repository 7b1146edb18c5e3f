"""The prompt of `zoo sample`: a word after MODEL, an option, a file, or what is piped in."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path
from typing import Annotated

import typer

from zoo.errors import UsageError
from zoo.os_words import sentence
from zoo_cli import terminal

Word = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPT",
        help="Text to continue, as --prompt; without either, what is piped in is the prompt.",
        show_default=False,
    ),
]
Hidden = Annotated[
    bool,
    typer.Option("--no-prompt", help="Leave the prompt out of what is shown, and of saved text."),
]


def given(word: str | None, option: str | None, file: Path | None, *, file_option: str) -> str:
    """The prompt as text; "" where there is none, or where a file is given, which is left to the caller.

    word: the argument after MODEL. option: of --prompt. "-" reads standard input, and so do no word, option and file
    at all where something is piped in. Its last line end, which `echo` adds, is not part of the prompt.
    Raises UsageError for more than one of them, and for what is not UTF-8 text.
    """
    if sum(each is not None for each in (word, option, file)) > 1:
        raise UsageError(f"the prompt is given twice: give one of PROMPT, --prompt and {file_option}")
    text = option if word is None else word
    try:
        if text == "-" or (text is None and file is None and _is_piped()):
            return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
        (text or "").encode()
    except UnicodeError:
        raise UsageError("the prompt is not UTF-8 text") from None
    return text or ""


def of_file(path: Path) -> str:
    """A file's whole text. Raises UsageError when it cannot be read."""
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the prompt: {sentence(error)}") from None
    except UnicodeError:
        raise UsageError("the prompt is not UTF-8 text") from None


def _is_piped() -> bool:
    """Whether somebody wrote `... | zoo` or `zoo < FILE`: a pipe or a file, neither a terminal nor a device."""
    if terminal.is_terminal(sys.stdin):
        return False
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except io.UnsupportedOperation:  # a stream of Python's own in its place
        return True
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
