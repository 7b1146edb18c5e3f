"""The one place where errors become exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.

Whatever goes wrong is said in one line on standard error, with a second line that says what to do; the traceback
is shown when ZOO_DEBUG=1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line `words` (default: this process's) and return its exit code."""
    try:
        code = _run(list(sys.argv[1:] if words is None else words))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has gone: nobody is left to tell
        _discard_output()
        return FAILED
    except SystemExit as ended:  # typer's own, after --show-completion and after a broken pipe
        return ended.code if isinstance(ended.code, int) else DONE
    return code


def _run(words: list[str]) -> int:
    from zoo_cli import app, terminal

    terminal.write_any_character()
    try:
        return app.run(words)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("ZOO_DEBUG") == "1":
            import traceback

            terminal.warn_lines(traceback.format_exc())
        return _report(error, words)


def _report(error: Exception, words: Sequence[str]) -> int:
    """Say what failed; the exit code that goes with it."""
    from typer import TyperException

    from zoo.errors import UsageError, ZooError
    from zoo_cli import terminal, usage_errors

    if isinstance(error, ZooError):
        terminal.error(str(error), error.hint)
        return USAGE if isinstance(error, UsageError) else FAILED
    if isinstance(error, TyperException):
        terminal.error(usage_errors.message(error), _usage_hint(words))
        return error.exit_code
    if isinstance(error, OSError):
        terminal.error(str(error))
        return FAILED
    terminal.error(f"{type(error).__name__}: {error}", "set ZOO_DEBUG=1 for the traceback")
    return FAILED


def _usage_hint(words: Sequence[str]) -> str:
    from zoo_cli.app import BY_MODEL, COMMANDS

    command = words[0] if words and words[0] in COMMANDS else ""
    if command in BY_MODEL and words[1:] and words[1].startswith("-"):
        return f"MODEL comes first: zoo {command} MODEL [options]"
    return (
        f"`zoo {command} --help` shows what is possible" if command else "`zoo --help` shows what is possible"
    )


def _discard_output() -> None:
    """Keep Python's own flush at exit from complaining about the closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
