"""A training plan: how long, how fast and how exactly. What is trained and on what, the recipe says."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zoo.settings import setting

_LARGEST_DECAY = 0.9999999  # below one, or nothing would ever be learned


@dataclass(frozen=True)
class Plan:
    """How the one loop trains. A step is one change of the weights."""

    steps: int = setting(1000, help="changes of the weights", minimum=1, unit="steps")
    batch_size: int = setting(16, help="rows a step", minimum=1, unit="rows")
    seed: int = setting(0, help="of first weights, data order, dropout, split", minimum=0, maximum=2**63 - 1)
    learning_rate: float = setting(1e-3, help="AdamW's largest learning rate", above=0.0)
    warmup: int = setting(100, help="over which the rate rises from zero", minimum=0, unit="steps")
    floor: float = setting(
        0.1, help="share of the rate left at the end of its cosine", minimum=0.0, maximum=1.0
    )
    weight_decay: float = setting(0.1, help="of matrices; vectors are left alone", minimum=0.0)
    beta_1: float = setting(0.9, help="AdamW's memory of the gradient", minimum=0.0, maximum=_LARGEST_DECAY)
    beta_2: float = setting(0.99, help="AdamW's memory of its square", minimum=0.0, maximum=_LARGEST_DECAY)
    gradient_clip: float = setting(
        1.0, help="largest norm of the whole gradient; 0 clips nothing", minimum=0.0
    )
    average: float = setting(
        0.0,
        help="memory, a step, of the averaged weights that are measured and saved; 0 averages nothing",
        minimum=0.0,
        maximum=_LARGEST_DECAY,
    )
    precision: str = setting(
        "float32", help="of the products; weights stay float32", choices=("float32", "bfloat16")
    )
    evaluate_every: int = setting(250, help="0 measures at the end only", minimum=0, unit="steps")
    checkpoint_every: int = setting(250, help="0 saves no checkpoint", minimum=0, unit="steps")
    save_dtype: str = setting(
        "float32", help="of the saved weights", choices=("float32", "float16", "bfloat16")
    )

    def due(self, every: int, step: int) -> bool:
        """Whether something done `every` so many steps, and at the end, is done after this one."""
        return step == self.steps or (every > 0 and step % every == 0)


def learning_rate(plan: Plan, step: int) -> float:
    """The rate of step 1 .. plan.steps: a line up to the largest, then half a cosine down to the floor.

    Source of the cosine: Loshchilov and Hutter, "SGDR", 2017.
    """
    if step <= plan.warmup:
        return plan.learning_rate * step / plan.warmup
    done = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return plan.learning_rate * (plan.floor + (1 - plan.floor) * cosine)
