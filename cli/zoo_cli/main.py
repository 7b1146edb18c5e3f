"""The one place where errors become exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.

Whatever goes wrong is said in one line on standard error, with a second line that says what to do; the traceback
is shown when ZOO_DEBUG=1.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line `words` (default: this process's, which then takes Ctrl-C too); returns its exit code."""
    if words is not None:
        return _main(list(words))
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupted_at_start)
    from zoo_cli import interrupts

    interrupts.listen()
    code = _main(sys.argv[1:])
    interrupts.finished(code)
    return code


def _interrupted_at_start(*_: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def _main(words: list[str]) -> int:
    from zoo_cli import streams

    try:
        streams.prepare()
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _stopped()
    except BrokenPipeError:  # the reader, such as `head`, has gone: nobody is left to tell
        streams.discard_output()
        return FAILED
    except OSError as error:  # of the last flush
        return _report(error, words)
    except SystemExit as ended:  # typer's own, after --show-completion and after a broken pipe
        return ended.code if isinstance(ended.code, int) else DONE
    return code


def _run(words: list[str]) -> int:
    from zoo_cli import app, interrupts, terminal

    try:
        code = app.run(words)
    except BrokenPipeError:
        raise
    except interrupts.StoppedError as stopped:
        return _stopped(str(stopped))
    except Exception as error:
        if interrupts.asked():  # what an interrupt became in code that it came upon
            return _stopped()
        if os.environ.get("ZOO_DEBUG") == "1":
            import traceback

            terminal.warn_lines(traceback.format_exc())
        return _report(error, words)
    return _stopped() if interrupts.asked() and code == INTERRUPTED else code


def _stopped(said: str = "") -> int:
    """Say on the one line that the command was interrupted, and what is left of its work."""
    from zoo_cli import interrupts, terminal

    interrupts.heard()
    terminal.note(said or interrupts.SAID)
    return INTERRUPTED


def _report(error: Exception, words: Sequence[str]) -> int:
    """Say what failed; the exit code that goes with it."""
    from typer import TyperException

    from zoo import os_words
    from zoo.errors import UsageError, ZooError
    from zoo_cli import streams, terminal, usage_errors

    if isinstance(error, ZooError):
        terminal.error(str(error), error.hint)
        return USAGE if isinstance(error, UsageError) else FAILED
    if isinstance(error, TyperException):
        terminal.error(usage_errors.message(error), _usage_hint(error, words))
        return error.exit_code
    if isinstance(error, OSError):
        if error.errno and streams.cannot_be_written():
            error.filename = terminal.OUTPUT
        terminal.error(os_words.sentence(error), os_words.hint(error))
        return FAILED
    terminal.error(
        f"{type(error).__name__}: {os_words.plain(str(error))}", "set ZOO_DEBUG=1 for the traceback"
    )
    return FAILED


def _usage_hint(error: Exception, words: Sequence[str]) -> str:
    """Where the help is: of the very command, and for the model whose options it has."""
    from zoo_cli import model_options
    from zoo_cli.app import BY_MODEL, COMMANDS

    context = getattr(error, "ctx", None)  # none where an option's value is missing
    command = context.command_path if context else " ".join(["zoo", *filter(COMMANDS.get, words[:1])])
    if words[:1] and words[0] in BY_MODEL:
        if words[1:] and words[1].startswith("-"):
            return f"MODEL comes first: {command} MODEL [options]"
        command = " ".join([command, *filter(None, [model_options.model_word(words[1:])])])
    return f"`{command} --help` shows what is possible"
