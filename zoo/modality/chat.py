"""Chat: a conversation to the text that a model expects, by the model's own template.

A template is a program from a stranger (Jinja, in tokenizer_config.json). It runs in jinja2's sandbox, in a process
of its own with little time and memory, and sees nothing but the messages and the names of special tokens.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from zoo.errors import MissingDependencyError, UsageError, WeightsError, ZooError

MOST_TEMPLATE_CHARACTERS = 200_000

_SECONDS = 20.0
_WORKER = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from zoo.modality import chat_worker
chat_worker.main()
"""
_TOO_MUCH = {"error": "it takes too much time or memory"}


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


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
