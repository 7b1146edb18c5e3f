"""The sandbox a chat template runs in, as a process of its own: `python -m zoo.modality.chat_worker`.

Reads a request as JSON from standard input and writes {"text": ...}, {"refused": ...} or {"error": ...}. jinja2's
sandbox keeps a template from Python's objects, but not from using up time and memory: the process's limits do that.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_CHARACTERS = 4_000_000
"""The longest text a template may make: more than any context holds."""

CPU_SECONDS = 10
MEMORY_BYTES = 1 << 29


class RefusedError(TemplateError):
    """The template itself said that it cannot take these messages (`raise_exception`)."""


class _Generation(Extension):
    """{% generation %}...{% endgeneration %} marks the model's own words for training; here it is transparent."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def rendered(template: str, messages: Sequence[Mapping[str, str]], special: Mapping[str, str]) -> str:
    """The text that asks the model for its next turn, as transformers' `apply_chat_template` makes it.

    Raises jinja2's TemplateError (RefusedError when the template refused), and any error of its expressions.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals.update(raise_exception=_refuse, strftime_now=_strftime_now)
    pieces = environment.from_string(template).generate(
        messages=messages, add_generation_prompt=True, tools=None, documents=None, **special
    )
    text = ""
    for piece in pieces:
        text += piece
        if len(text) > MOST_CHARACTERS:
            raise TemplateError(f"it makes more than {MOST_CHARACTERS:,} characters")
    return text


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """As templates expect it: plain JSON, not escaped for HTML as jinja2's own filter does."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _refuse(message: str) -> NoReturn:
    raise RefusedError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit is the only one
        return
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def main() -> None:
    request = json.load(sys.stdin)
    _limit()
    try:
        answer = {"text": rendered(request["template"], request["messages"], request["special"])}
    except RefusedError as refusal:
        answer = {"refused": str(refusal)}
    except Exception as error:  # whatever a stranger's template does is its own failure
        answer = {"error": f"{type(error).__name__}: {error}"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
