"""zoo convert: pickled checkpoints and GGUF files to safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from zoo_cli import options, terminal


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    app.command("convert")(_convert)


def _convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A .bin, .pt or .gguf file, or a folder.", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="The new folder.", show_default=False)
    ],
    dtype: options.Dtype = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Turn a pickled or GGUF checkpoint into safetensors.

    Nothing is unpickled that is not a plain tensor. The folder made loads like a model: zoo sample FOLDER.
    """
    from zoo.api import dtype_named
    from zoo.weights.convert import convert

    made = convert(
        source, output, dtype=dtype_named(dtype), report=lambda line: terminal.note(line, quiet=quiet)
    )
    terminal.out(str(made))
