"""`Model`: a built network with its name, its family and where it came from. Each modality adds how to sample it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.family import Family
from zoo.registry.entry import ModelEntry

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, eq=False)
class Model:
    """A built model. network: the plain module. files: what it was loaded from, empty for random weights."""

    name: str
    family: Family
    config: Any
    network: nn.Module
    files: dict[str, Path]
    entry: ModelEntry | None = None
    revision: str = ""

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def folder(self) -> Path | None:
        """Where its files lie; None for random weights."""
        return next((path.parent for path in self.files.values()), None)
