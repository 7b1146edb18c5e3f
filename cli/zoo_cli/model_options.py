"""Commands whose options are a model's own: find MODEL among what was typed, and the class of its controls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import CapabilityError, UsageError

if TYPE_CHECKING:
    from zoo.targets import Target

_FLAGS = frozenset(
    {
        "--json",
        "--quiet",
        "-q",
        "--yes",
        "-y",
        "--offline",
        "--compile",
        "--greedy",
        "--help",
        "-h",
        "--no-prompt",
        "--dry-run",
        "--states",
        "--whole",
        "--per-token",
        "--labels",
    }
)
"""Options without a value. A word after any other option is taken for that option's value."""


def model_word(words: Sequence[str]) -> str | None:
    """MODEL among the words after the command's name: the first that is neither an option nor an option's value."""
    expects_value = False
    for word in words:
        if word == "--":
            expects_value = False
        elif word.startswith("-") and word != "-":
            expects_value = word not in _FLAGS and "=" not in word
        elif expects_value:
            expects_value = False
        else:
            return word
    return None


def find(words: Sequence[str]) -> Target | None:
    """The target MODEL names; None without MODEL. typer has not parsed --offline and --cache-dir yet.

    Raises what `zoo.targets.find` raises.
    """
    from zoo import targets

    model = model_word(words)
    if model is None:
        return None
    _set_environment(words)
    return targets.find(model, revision=_value("--revision", words), offline="--offline" in words)


def after(target: Target | None, command: str, model: str) -> Target:
    """The found target. None: only typer could tell MODEL from the options before it; raises UsageError."""
    if target is None:
        raise UsageError(
            f"{model} comes after options that may be its own",
            hint=f"MODEL comes first: zoo {command} {model} ...",
        )
    return target


def text_model(target: Target | None, command: str, model: str, *, hint: str = "") -> Target:
    """The found target, if it is a text model. Raises UsageError as `after`, CapabilityError for another."""
    target = after(target, command, model)
    if target.family.modality != "text":
        raise CapabilityError(
            f"zoo {command} knows text models; {target.name} makes {target.family.modality}", hint=hint
        )
    return target


def _set_environment(words: Sequence[str]) -> None:
    from zoo_cli import options

    if "--offline" in words:
        options.set_offline(True)
    folder = _value("--cache-dir", words)
    if folder:
        options.set_cache_dir(Path(folder))


def _value(option: str, words: Sequence[str]) -> str:
    for at, word in enumerate(words):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option and at + 1 < len(words):
            return words[at + 1]
    return ""
