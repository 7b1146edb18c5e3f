"""`Model`: a built network with its name, its family and where it came from. Each modality adds how to sample it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError
from zoo.family import Family
from zoo.registry.entry import ModelEntry
from zoo.settings import make

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A built model. network: the plain module. files: what it was loaded from, empty for random weights."""

    name: str
    family: Family
    config: Any
    network: nn.Module
    files: dict[str, Path]
    entry: ModelEntry | None = None
    revision: str = ""

    def __repr__(self) -> str:
        weights = list(self.network.parameters())
        kinds = {str(weight.dtype).removeprefix("torch.") for weight in weights}
        where = f", {'/'.join(sorted(kinds))} on {weights[0].device}" if weights else ""
        count = sum(weight.numel() for weight in weights)
        return f"<{type(self).__name__} {self.name}: {self.family.name}, {count:,} parameters{where}>"

    def asked(self, controls: Any, settings: dict[str, Any]) -> Any:
        """What is asked when sampling: the family's controls as they are given, or made of their fields.

        Raises UsageError for both at once, for controls of another class, and for a bad setting.
        """
        if controls is None:
            return make(self.family.resolve("controls"), settings, what=f"sample {self.name}")
        if settings:
            raise UsageError(f"give either controls or {', '.join(settings)}, not both")
        wanted: type = self.family.resolve("controls")
        if not isinstance(controls, wanted):
            raise UsageError(f"controls is a {type(controls).__name__}, but must be {wanted.__name__}")
        return controls

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def folder(self) -> Path | None:
        """Where its files lie; None for random weights."""
        return next((path.parent for path in self.files.values()), None)
