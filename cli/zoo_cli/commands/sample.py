"""zoo sample: draw samples from a model. Its options are the model's own controls and those of its modality."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import typer

from zoo.errors import CapabilityError
from zoo.modality.text import TextControls
from zoo_cli import model_options, terminal

HELP = """Draw samples and show them as they arrive.

Sample i depends on the seed and on i alone: `-n 8` and `-n 3 --start 2` agree on samples 2 to 4, for every batch
size. Without --seed every run draws another one, and says which on standard error.
"""
_MODALITIES = ("text", "table", "sequence")


def register(app: typer.Typer, words: Sequence[str]) -> None:
    target = model_options.find(words)
    if target is None:
        controls: type = TextControls
        panel = "Controls of text models (`zoo sample MODEL --help` shows a model's own)"
    else:
        controls = target.family.resolve("controls")
        panel = f"Controls of {terminal.for_help(target.name)}"
    modality = target.family.modality if target else "text"
    if target and modality not in _MODALITIES:
        raise CapabilityError(f"zoo sample knows {', '.join(_MODALITIES)}; {target.name} makes {modality}")
    module = importlib.import_module(f"zoo_cli.sampling.{modality}")
    epilog = None if target else "`zoo sample MODEL --help` shows the controls of that model."
    app.command("sample", help=HELP, epilog=epilog)(module.command(target, controls, panel))
