"""zoo chat: talk with a text model."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.errors import CapabilityError, UsageError, ZooError
from zoo.modality.chat import WITHOUT
from zoo.modality.text import TextControls
from zoo.targets import Target
from zoo_cli import flags, interrupts, model_options, options, streams, terminal

if TYPE_CHECKING:
    from zoo_cli.conversation import Conversation

HELP = """Talk with a text model.

Each line is a turn; the answer streams. /reset forgets the conversation, /exit or Ctrl-D ends it, Ctrl-C stops an
answer. Standard input may be a pipe.
"""
_PROMPT = "> "


def register(app: typer.Typer, words: Sequence[str]) -> None:
    target = model_options.find(words)
    controls = TextControls if target is None else target.family.resolve("controls")
    panel = "Controls" if target is None else f"Controls of {terminal.for_help(target.name)}"
    command = functools.partial(_chat, target, controls)
    app.command("chat", help=HELP)(
        flags.with_settings(command, controls, into="asked", panel=panel, without=WITHOUT)
    )


def _chat(
    target: Target | None,
    controls_class: type[TextControls],
    model: options.Model,
    asked: dict[str, Any],
    system: Annotated[
        str, typer.Option("--system", metavar="TEXT", help="System message: what the model is told first.")
    ] = "",
    seed: options.Seed = None,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Compile the decoding: faster after a slow first start.")
    ] = False,
    revision: options.Revision = "",  # noqa: ARG001 - already used, to find `target`
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    from zoo import settings
    from zoo_cli.conversation import Conversation
    from zoo_cli.loading import load, random_seed

    target = model_options.text_model(target, "chat", model, hint=_who_chats())
    if target.entry is not None and target.entry.weights.status == "none":
        raise CapabilityError(
            f"{target.name} is an architecture without published weights, so it cannot chat",
            hint=_who_chats(),
        )
    controls = settings.make(controls_class, asked, what=f"zoo chat {target.name}")
    loaded = load(target, device=device, dtype=dtype, offline=offline, compile_=compile_, quiet=quiet)
    if loaded.tokenizer is None:
        raise CapabilityError(f"{target.name} has no tokenizer files, so it cannot chat", hint=_who_chats())
    if not loaded.tokenizer.chat_template:
        terminal.warn(
            f"{target.name} is a base model without a chat template: it continues what you write; {_who_chats()}"
        )
    conversation = Conversation(loaded, loaded.tokenizer, controls, system=system)
    _talk(conversation, random_seed() if seed is None else seed, quiet=quiet)


def _who_chats() -> str:
    """Which registered models have a chat template."""
    from zoo.registry.catalogue import catalogue

    return "models that chat: " + ", ".join(
        entry.name for entry in catalogue().entries if "chat" in entry.can
    )


def _talk(conversation: Conversation, seed: int, *, quiet: bool) -> None:
    interactive = terminal.is_terminal(sys.stdin)
    if interactive:
        terminal.note("/reset forgets, /exit or Ctrl-D ends", quiet=quiet)
    while (line := _line(interactive)) is not None:
        said = line.strip()
        if said == "/exit":
            return
        if said == "/reset":
            conversation.reset()
            terminal.note("the conversation is forgotten", quiet=quiet)
        elif said.startswith("/"):
            terminal.warn(f"there is no command {said.split()[0]}; there are /reset and /exit")
        elif said:
            _turn(conversation, said, seed, interactive=interactive, quiet=quiet)
            seed = (seed + 1) % 2**63


def _line(interactive: bool) -> str | None:
    """The next line typed or piped; None at the end."""
    if not interactive:
        return sys.stdin.readline() or None
    with contextlib.suppress(ImportError):  # Windows has none
        import readline  # noqa: F401 - importing it gives `input` editing and a history
    shown = terminal.is_terminal(streams.results())  # else `input` would write the prompt among the results
    if not shown:
        terminal.ask(_PROMPT)
    try:
        return input(_PROMPT if shown else "")
    except EOFError:
        terminal.note("")  # ends the prompt's line
        return None


def _turn(conversation: Conversation, text: str, seed: int, *, interactive: bool, quiet: bool) -> None:
    forgotten = conversation.forgotten
    answer = conversation.answer(text, seed=seed)
    try:
        for piece in answer:
            terminal.out(piece.text, end="")
    except KeyboardInterrupt:
        answer.close()
        if not interactive:
            raise
        interrupts.heard()
    except ZooError as error:
        if not interactive or not isinstance(error, UsageError):
            raise
        terminal.error(str(error), error.hint)
        return
    terminal.out()
    if conversation.forgotten > forgotten:
        terminal.note(
            f"the context is full: the first {conversation.forgotten} messages are forgotten", quiet=quiet
        )
