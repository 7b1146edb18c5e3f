"""What one step of a training or a fit did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """What one step did.

    epoch: how often the data was gone through when it was done. losses: each objective's mean over the whole batch,
    in nats for likelihoods, before the change: "loss" for a single one, else by its turn, with what the network says
    beside it as "turn.name"; of a turn that comes several times, the last's. Of a fit, what it says of the step,
    first "log_likelihood". speed: `unit`s (tokens, images) a second, over all processes. seconds: since the loop
    began. results: what was measured after this step; empty when it was not due. learning_rate: the plan's.
    gradient_norm: before clipping, the largest of the turns'. Both None for a fit. final: no step follows.
    """

    step: int
    epoch: float
    losses: Mapping[str, float]
    speed: float
    unit: str
    seconds: float
    results: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float | None = None
    gradient_norm: float | None = None
    final: bool = False

    @property
    def loss(self) -> float:
        """The first objective's; of a fit, the log-likelihood."""
        return next(iter(self.losses.values()))

    def due(self, every: int) -> bool:
        """Whether something done `every` so many steps, and at the end, is done after this one."""
        return due(every, self.step, final=self.final)


def due(every: int, step: int, *, final: bool) -> bool:
    """Whether something done `every` so many steps, and at the end, is done after step number `step`."""
    return final or (every > 0 and step % every == 0)
