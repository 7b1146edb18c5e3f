"""Plans of training: how long, how fast and how exactly. What is trained and on what, the recipe says."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from zoo.errors import UsageError
from zoo.settings import MOST_AT_ONCE, Settings, setting

_LONGEST_WARMUP = 100  # steps, unless a plan says otherwise
_LARGEST_DECAY = 0.9999999  # below one, or nothing would ever be learned

SAVE_DTYPES = ("auto", "float32", "float16", "bfloat16")
SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class Plan(Settings):
    """How the one loop trains. A step is one change of the weights, or of each part's where objectives alternate."""

    steps: int = setting(1000, help="changes of the weights", minimum=1, unit="steps")
    epochs: float | None = setting(
        None, help="in place of steps: how often to go through the data", above=0.0, unit="epochs"
    )
    batch_size: int = setting(
        16, help="rows a step, over all processes and parts", minimum=1, maximum=MOST_AT_ONCE, unit="rows"
    )
    accumulation: int = setting(
        1,
        help="parts that a process computes its share of a batch in, to save memory",
        minimum=1,
        unit="parts",
    )
    seed: int = setting(0, help="of first weights, data order, dropout, split", minimum=0, maximum=2**63 - 1)
    learning_rate: float = setting(1e-3, help="AdamW's largest learning rate", above=0.0)
    schedule: str = setting("cosine", help="how the rate falls after the warm-up", choices=SCHEDULES)
    warmup: int | None = setting(
        None,
        help="over which the rate rises from zero; unset, a tenth of all steps and at most 100",
        minimum=0,
        unit="steps",
    )
    floor: float = setting(0.1, help="share of the rate left when it has fallen", minimum=0.0, maximum=1.0)
    weight_decay: float = setting(0.1, help="of matrices; vectors are left alone", minimum=0.0)
    beta_1: float = setting(0.9, help="AdamW's memory of the gradient", minimum=0.0, maximum=_LARGEST_DECAY)
    beta_2: float = setting(0.99, help="AdamW's memory of its square", minimum=0.0, maximum=_LARGEST_DECAY)
    gradient_clip: float = setting(
        1.0, help="largest norm of the whole gradient; 0 clips nothing", minimum=0.0
    )
    average: float = setting(
        0.0,
        help="memory, a step, of the averaged weights (EMA) that are measured and saved; 0 averages nothing",
        minimum=0.0,
        maximum=_LARGEST_DECAY,
    )
    precision: str = setting(
        "float32", help="of the products; weights stay float32", choices=("float32", "bfloat16")
    )
    compile: bool = setting(False, help="torch.compile: minutes once, then faster steps")
    evaluate_every: int = setting(250, help="0 measures at the end only", minimum=0, unit="steps")
    checkpoint_every: int = setting(250, help="0 saves no checkpoint", minimum=0, unit="steps")
    keep: int = setting(2, help="newest checkpoints kept, beside the best", minimum=1, unit="checkpoints")
    preview_every: int = setting(0, help="0 draws no previews", minimum=0, unit="steps")
    previews: int = setting(4, help="samples in a preview", minimum=1, maximum=256, unit="samples")
    save_dtype: str = setting(
        "auto", help="of the saved weights; auto is the one they are trained in", choices=SAVE_DTYPES
    )

    def share(self, processes: int) -> int:
        """Rows that a process computes at once. Raises UsageError when a batch cannot be divided evenly."""
        shares = processes * self.accumulation
        share, left = divmod(self.batch_size, shares)
        if left:
            raise UsageError(
                f"plan.batch_size is {self.batch_size}, but must be a multiple of {shares}: "
                f"{processes} processes x plan.accumulation {self.accumulation}"
            )
        return share

    @property
    def rise(self) -> int:
        """Steps of the warm-up."""
        return min(_LONGEST_WARMUP, self.steps // 10) if self.warmup is None else self.warmup

    def counted(self, epoch: int, rows_a_step: int) -> Plan:
        """The plan with its steps in numbers. epoch: the rows in one. rows_a_step: see `Learner`."""
        plan = self
        if self.epochs is not None:
            steps = max(1, math.ceil(self.epochs * epoch / rows_a_step))
            plan = dataclasses.replace(self, steps=steps, epochs=None)
        return dataclasses.replace(plan, warmup=plan.rise)

    def warnings(self, epoch: int, rows_a_step: int) -> Iterator[str]:
        """What a person may not have meant, in words. The plan is a counted one."""
        if self.rise > self.steps:
            reached = learning_rate(self, self.steps)
            yield (
                f"plan.warmup is {self.rise} steps, but the run has {self.steps}: the learning rate rises to its end "
                f"and reaches {reached:.2g} of {self.learning_rate:.2g} (--set plan.warmup={self.steps // 10})"
            )
        if rows_a_step > epoch:
            yield (
                f"a batch has {self.batch_size} rows (--batch-size), but the data {epoch}: a step goes through it "
                f"{rows_a_step / epoch:.2g} times"
            )


@dataclass(frozen=True)
class FitPlan(Settings):
    """How a model is fitted that learns by passes over the data. A step is an iteration over all rows, or a batch."""

    steps: int = setting(100, help="most iterations", minimum=1, unit="steps")
    epochs: float | None = setting(
        None, help="in place of steps: how often to go through the data", above=0.0, unit="epochs"
    )
    until_converged: bool = setting(
        True, help="end as soon as the fit has converged, by the tolerance in its config"
    )
    seed: int = setting(0, help="of the start, the split, previews", minimum=0, maximum=2**63 - 1)
    keep_best: bool = setting(
        True, help="keep the weights that are best on what is held out; false keeps the newest"
    )
    evaluate_every: int = setting(10, help="0 measures at the end only", minimum=0, unit="steps")
    checkpoint_every: int = setting(10, help="0 saves no checkpoint", minimum=0, unit="steps")
    keep: int = setting(2, help="newest checkpoints kept, beside the best", minimum=1, unit="checkpoints")
    preview_every: int = setting(0, help="0 draws no previews", minimum=0, unit="steps")
    previews: int = setting(4, help="samples in a preview", minimum=1, maximum=256, unit="samples")
    save_dtype: str = setting(
        "auto", help="of the saved weights; auto is the one they are fitted in", choices=SAVE_DTYPES
    )

    def counted(self, rows: int, rows_a_step: int) -> FitPlan:
        """The plan with epochs written as steps. rows: in all. rows_a_step: see `Fitter`."""
        if self.epochs is None:
            return self
        batches = math.ceil(rows / rows_a_step)
        return dataclasses.replace(self, steps=max(1, math.ceil(self.epochs * batches)), epochs=None)


def learning_rate(plan: Plan, step: int) -> float:
    """The rate of step 1 .. plan.steps: a line up to the largest, then the schedule down to the floor.

    cosine: half a period (Loshchilov and Hutter, "SGDR", 2017). linear: a line. constant: it stays the largest.
    """
    if step <= plan.rise:
        return plan.learning_rate * step / plan.rise
    done = (step - plan.rise) / max(1, plan.steps - plan.rise)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[
        plan.schedule
    ]
    return plan.learning_rate * (plan.floor + (1 - plan.floor) * left)
