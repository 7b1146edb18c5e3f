"""zoo score: the log-likelihood of texts, rows or sequences under a model. What else it takes, its modality says."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import typer

from zoo.errors import CapabilityError
from zoo_cli import model_options

_MODALITIES = ("text", "table", "sequence")


def register(app: typer.Typer, words: Sequence[str]) -> None:
    target = model_options.find(words)
    modality = target.family.modality if target else "text"
    if target and modality not in _MODALITIES:
        raise CapabilityError(f"zoo score knows {', '.join(_MODALITIES)}; {target.name} makes {modality}")
    module = importlib.import_module(f"zoo_cli.scoring.{modality}")
    app.command("score", help=module.HELP)(module.command(target))
