"""Linear maps whose matrix product can be exchanged for a faster one, as `zoo.nn.fast` does.

Both leave their weights undrawn: a model's own `initialise` draws them, or a loader assigns them. Drawing twice would
cost seconds on a large model, and over a second on the meta device however small it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

Product = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""(x (..., I), weight (O, I), bias (O,) or None) -> (..., O)."""


class Linear(nn.Linear):
    """y = x W^T + b."""

    product: Product = staticmethod(functional.linear)

    def reset_parameters(self) -> None:
        """Nothing is drawn here (see the top of this file)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.product(x, self.weight, self.bias)


class Embedding(nn.Embedding):
    """Token ids to vectors; `logits` is the head tied to it."""

    product: Product = staticmethod(functional.linear)

    def reset_parameters(self) -> None:
        """Nothing is drawn here (see the top of this file)."""

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., E) -> (..., V)."""
        return self.product(x, self.weight, None)
