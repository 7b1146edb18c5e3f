"""Where a stored tensor of another layout goes, as a plugin says it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Placement:
    """Where a tensor of a Hub checkpoint goes in a built module.

    name: the module's parameter. transpose: the stored matrix is its transpose (the view is used, not a copy).
    """

    name: str
    transpose: bool = False


@dataclass(frozen=True)
class GgufPlacement:
    """Where a tensor of a GGUF file goes in a Hub checkpoint.

    transpose: the Hub stores the transpose. rotary_heads: GGUF pairs neighbouring rows of each of this many heads for
    rotary positions, the Hub pairs row i with row i + half; 0 where both agree.
    """

    name: str
    transpose: bool = False
    rotary_heads: int = 0


@dataclass(frozen=True)
class GgufLayout:
    """A GGUF file in the Hub's terms. config: the content of config.json.

    tensors: where each tensor of the file goes; None drops it.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, GgufPlacement | None]
