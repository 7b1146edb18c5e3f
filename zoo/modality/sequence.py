"""Sequences: what may be asked of a sequence model. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.settings import Settings, setting


@dataclass(frozen=True)
class SequenceControls(Settings):
    """What may be asked of a sequence model when sampling."""

    prompt: str = setting(
        "", help="text to continue, or symbols divided by blanks; - reads standard input", flags=("-p",)
    )
    length: int = setting(200, help="frames to draw", minimum=1, maximum=100_000_000, unit="frames")
