"""The only place that writes to the terminal: untrusted text is made safe here, and colours are decided here.

Results go to standard output, everything else to standard error. Colours and drawn layouts appear only where a
person reads them: on a terminal, or where FORCE_COLOR asks for them; NO_COLOR turns colours off.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal

from zoo.os_words import naming
from zoo.text_safety import safe_json, safe_text
from zoo_cli import streams

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

OUTPUT = "standard output"
"""The file that an error of writing a result names."""

_CODES = {"bold": "1", "dim": "2", "red": "31", "yellow": "33", "cyan": "36"}


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person sits at the other end: bars, prompts and questions make sense."""
    return stream.isatty()


def for_reading(stream: IO[str]) -> bool:
    """Whether to lay text out for a person instead of for a program."""
    return is_terminal(stream) or bool(os.environ.get("FORCE_COLOR"))


def has_colour(stream: IO[str]) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: IO[str]) -> str:
    """Text made safe, in one of the styles bold, dim, red, yellow, cyan where the stream has colours."""
    text = safe_text(text, newlines=True)
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if text and has_colour(stream) else text


def help_markup() -> Literal["rich"] | None:
    """typer's markup mode: drawn panels on a terminal, plain lines elsewhere."""
    return "rich" if for_reading(streams.results()) else None


def for_help(text: str) -> str:
    """A plugin's text for typer's help: safe, and never read as markup."""
    text = safe_text(text)
    return text.replace("[", r"\[") if help_markup() else text


def one_line(text: str) -> str:
    """Text for a cell of a table or a line of a card."""
    return safe_text(text)


def out(text: str = "", *, end: str = "\n", style: str = "") -> None:
    """Write a result to standard output, at once. Line feeds and tabs in it stay."""
    shown = styled(text, style, streams.results()) if style else safe_text(text, newlines=True)
    _write(shown + end)


def out_json(value: Any, *, indent: int | None = None) -> None:
    """Write a result as JSON to standard output. Harmful characters are escaped, so the value is exact."""
    _write(safe_json(json.dumps(value, ensure_ascii=False, indent=indent)) + "\n")


def _write(text: str) -> None:
    with naming(OUTPUT):
        streams.results().write(text)
        streams.results().flush()


def note(text: str, *, quiet: bool = False) -> None:
    """Say on standard error what is going on; --quiet leaves it out."""
    if not quiet:
        _err(styled(safe_text(text), "dim", sys.stderr))


def status(text: str) -> None:
    """Show on standard error how far things are, over what was shown before; "" clears it. For terminals only."""
    _tell("\r\x1b[K" + safe_text(text))


@contextmanager
def meanwhile(text: str, *, quiet: bool = False) -> Iterator[None]:
    """Say on a terminal what is going on, for as long as it does."""
    shown = is_terminal(sys.stderr) and not quiet
    if shown:
        status(text)
    try:
        yield
    finally:
        if shown:
            status("")


def warn_lines(text: str) -> None:
    """Several lines on standard error, such as a traceback."""
    _err(safe_text(text, newlines=True).rstrip("\n"))


def warn(text: str) -> None:
    _err(styled("warning:", "yellow", sys.stderr) + " " + safe_text(text))


def error(message: str, hint: str = "") -> None:
    """The one line that says what failed, and the line that says what to do."""
    _err(styled("error:", "red", sys.stderr) + " " + safe_text(message))
    if hint:
        _err(styled("hint:", "cyan", sys.stderr) + " " + safe_text(hint))


def _err(line: str) -> None:
    _tell(line + "\n")


def _tell(text: str) -> None:
    """Write to standard error, if it can be written: a note that nobody can read fails no command."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def ask(question: str) -> None:
    """Write on standard error what waits for an answer on the same line."""
    _tell(safe_text(question))


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on the terminal. `yes` answers for the person. Raises UsageError where nobody can be asked."""
    if yes:
        return True
    if not is_terminal(sys.stdin):
        from zoo.errors import UsageError

        raise UsageError("this needs a yes, and there is no terminal to ask on", hint="add --yes")
    ask(f"{question} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def console(stream: IO[str]) -> Console:
    """A rich console that takes text as it is: no markup, no emoji names, no highlighting. Make text safe first."""
    from rich.console import Console

    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        color_system="auto" if has_colour(stream) else None,
        force_terminal=for_reading(stream),
        soft_wrap=False,
    )


def cut(text: str, characters: int) -> str:
    """Text of at most so many characters; the last of one that was longer is an ellipsis."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def table(*columns: str, right: Collection[str] = (), wrapped: Collection[str] = ()) -> Table:
    """A table without lines; cells of `wrapped` columns run over several lines where others are cut."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column not in wrapped,
            overflow="fold" if column in wrapped else "ellipsis",
        )
    return made


def show_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    wrapped: Collection[str] = (),
    optional: Collection[str] = (),
    styles: Sequence[str] = (),
) -> None:
    """Write rows of text to standard output as a table; no cell is cut, and every cell is made safe.

    Where the table is wider than the terminal, the `optional` columns are left out, in that order, until it fits;
    what is still too wide is wrapped, as cells of `wrapped` columns always may be. styles: one of rich's a row.
    """
    shown = console(streams.results())
    cells = [dict(zip(columns, map(one_line, row), strict=True)) for row in rows]
    least = {
        column: _least_width([column, *(row[column] for row in cells)], column in wrapped)
        for column in columns
    }
    for column in optional:
        if sum(least.values()) > shown.width:
            del least[column]
    fits = sum(least.values()) <= shown.width
    made = table(*least, right=right, wrapped=wrapped if fits else tuple(least))
    for row, style in zip(cells, styles or [""] * len(cells), strict=True):
        made.add_row(*(row[column] for column in least), style=style)
    shown.print(made)


def _least_width(cells: Sequence[str], wraps: bool) -> int:
    """Columns of the terminal that these cells need, the gap before the next column included."""
    from rich.cells import cell_len

    return 2 + max(cell_len(word) for cell in cells for word in (cell.split() or [""] if wraps else [cell]))
