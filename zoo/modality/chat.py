"""Chat: a conversation to the text that a model expects, by the model's own template.

A template is a program from a stranger (Jinja, in tokenizer_config.json). It runs in jinja2's sandbox, in a process
of its own with little time and memory, and sees nothing but the messages and the names of special tokens.
"""

from __future__ import annotations

import importlib.util
import json
import reprlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from zoo.errors import MissingDependencyError, UsageError, WeightsError, ZooError

if TYPE_CHECKING:
    from zoo.protocols import Tokenizer

MOST_TEMPLATE_CHARACTERS = 200_000

_SECONDS = 20.0
_WORKER = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from zoo.modality import chat_worker
chat_worker.main()
"""
_TOO_MUCH = {"error": "it takes too much time or memory"}


WITHOUT = ("prompt", "truncate", "logprobs")
"""Controls without a meaning in a chat: the turns are the prompt, and an answer is text."""

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


def messages(given: Sequence[Mapping[str, str]]) -> list[Message]:
    """Turns written as {"role": ..., "content": ...}. Raises UsageError for none, and for what is no such turn."""
    form = 'must be {"role": "system", "user" or "assistant", "content": text}'
    if not isinstance(given, Sequence) or not given:
        raise UsageError(
            f"messages is {reprlib.repr(given)}, but must be a list of at least one", hint=f"each {form}"
        )
    for number, turn in enumerate(given, 1):
        fits = isinstance(turn, Mapping) and turn.keys() == {"role", "content"}
        if not fits or turn["role"] not in get_args(Role) or not isinstance(turn["content"], str):
            raise UsageError(f"message {number} is {reprlib.repr(turn)}, but {form}")
    return [Message(turn["role"], turn["content"]) for turn in given]  # type: ignore[arg-type] # it was looked at


def encode(tokenizer: Tokenizer, turns: Sequence[Message]) -> list[int]:
    """The token ids that ask for the assistant's next turn, by the tokenizer's template. Raises as `render`."""
    return tokenizer.encode_chat(render(tokenizer.chat_template, turns, tokenizer.special))


def refuse_special(tokenizer: Tokenizer, name: str, what: str, text: str) -> None:
    """Raises UsageError for text with a special token written out, which could end its turn and forge others.

    name: the model's. what: the text as the error names it.
    """
    if found := tokenizer.special_in(text):
        raise UsageError(
            f"{what} holds {found[0]!r}, a special token of {name} that marks turns",
            hint="leave it out, or put a space inside it",
        )


def before_special(tokenizer: Tokenizer, text: str) -> str:
    """An answer up to a special token written out in it, which would be read as one in the next turn's prompt."""
    return text[: min((max(text.find(token), 0) for token in tokenizer.special_in(text)), default=len(text))]


def render(template: str, messages: Sequence[Message], special: Mapping[str, str]) -> str:
    """The text that asks for the assistant's next turn, special tokens written out.

    special: names the template may use, such as bos_token, to their text.
    Raises UsageError when the template refuses these messages (say, a system message where it knows none),
    WeightsError when it is broken, forbidden or endless, MissingDependencyError without jinja2, ZooError when the
    process for it does not start.
    """
    if importlib.util.find_spec("jinja2") is None:
        raise MissingDependencyError("chat templates need jinja2", hint='pip install "zoo-core[chat]"')
    if len(template) > MOST_TEMPLATE_CHARACTERS:
        raise WeightsError(
            f"the chat template has {len(template):,} characters, but at most {MOST_TEMPLATE_CHARACTERS:,} are taken"
        )
    turns = [{"role": message.role, "content": message.content} for message in messages]
    answer = _ask({"template": template, "messages": turns, "special": dict(special)})
    if "refused" in answer:
        raise UsageError(f"the chat template refuses this conversation: {answer['refused'][:500]}")
    if "error" in answer:
        raise WeightsError(f"the chat template does not work: {answer['error'][:500]}")
    return answer["text"]


def _ask(request: dict[str, object]) -> dict[str, str]:
    """What the worker process answers; `error` when it was ended for using too much time or memory."""
    # -I leaves the environment out, PYTHONPATH and the user's site-packages too: modules come from where this
    # process has them
    places = json.dumps([str(place) for place in sys.path])
    try:
        worker = subprocess.run(
            [sys.executable, "-I", "-c", _WORKER, places],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _TOO_MUCH
    if (
        worker.returncode < 0 or b"MemoryError" in worker.stderr
    ):  # the processor's or the memory's limit ended it
        return _TOO_MUCH
    try:
        answer: dict[str, str] = json.loads(worker.stdout)
    except ValueError:
        said = worker.stderr.decode(errors="replace").strip().splitlines() or [
            f"exit code {worker.returncode}"
        ]
        raise ZooError(
            f"the process that renders chat templates does not work: {said[-1][:500]}",
            hint="run `zoo doctor`",
        ) from None
    return answer
