"""Load a model for a command: say what takes time, and show what is downloaded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from zoo_cli import progress, terminal

if TYPE_CHECKING:
    from zoo.modality.text_model import TextModel
    from zoo.targets import Target


def load(
    target: Target, *, device: str, dtype: str, offline: bool, compile_: bool = False, quiet: bool
) -> TextModel:
    """The loaded model of a found target. Raises what `zoo.api.load` raises."""
    from zoo import api

    terminal.note(f"loading {target.name}", quiet=quiet or not terminal.is_terminal(sys.stderr))
    with progress.downloads(quiet=quiet) as report:
        return api.load(target, device=device, dtype=dtype, offline=offline, compile=compile_, report=report)


def random_seed() -> int:
    """A seed for a run that was given none; short enough to be typed again."""
    import random

    return random.SystemRandom().randrange(2**32)
