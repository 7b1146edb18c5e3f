"""The one training loop: a generator that changes the weights and yields each step. It saves and logs nothing.

A step is a function of the weights, the optimizer's memory, the plan and the step's number alone: batch and dropout
come from (seed, step), not from a generator that runs on. So a run continued from a checkpoint goes the same way as
one that was never stopped.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import nn

from zoo.errors import TrainingError, UsageError
from zoo.noise import Noise
from zoo.training.plan import Plan, learning_rate

DEVICES = ("auto", "cpu")
"""auto: what accelerate finds, or was told to use by its own configuration."""

Evaluate = Callable[[nn.Module], Mapping[str, float]]
"""Measures a network that is in evaluation mode and must not be changed."""


class Batches(Protocol):
    """What the loop learns from."""

    @property
    def predictions(self) -> int:
        """Values that a batch predicts (tokens, pixels), which the speed counts."""
        ...

    def batch(self, step: int) -> torch.Tensor:
        """The batch of step 1, 2, ... for `network.loss`: the same whenever it is asked for."""
        ...


@dataclass(frozen=True)
class Step:
    """What one step did.

    loss: the batch's mean in nats, before the change. gradient_norm: before clipping. seconds: since the loop began.
    results: what was measured after this step; empty when it was not due.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    seconds: float
    results: Mapping[str, float] = field(default_factory=dict)


class Learner:
    """All that training changes: the network, its running average, the optimizer and the number of steps done."""

    def __init__(self, network: nn.Module, plan: Plan) -> None:
        self.network = network.requires_grad_(True)
        self.average = copy.deepcopy(network).requires_grad_(False) if plan.average else None
        self.optimizer = adamw(network, plan)
        self.step = 0

    @property
    def result(self) -> nn.Module:
        """The network to measure and to keep: the average if the plan has one."""
        return self.network if self.average is None else self.average


class Objective(nn.Module):
    """A network's loss as a forward pass, which is what accelerate's wrappers for several processes hook into."""

    def __init__(self, network: nn.Module, turn: str = "main") -> None:
        super().__init__()
        self.network: Any = network  # has `loss`, as in zoo.protocols.LanguageModel
        self.turn = turn

    def forward(self, batch: Any) -> torch.Tensor:
        loss: torch.Tensor = self.network.loss(batch, self.turn)
        return loss


def adamw(network: nn.Module, plan: Plan) -> torch.optim.AdamW:
    """AdamW that decays matrices only: norms and biases have no reason to be small.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """
    weights = list(network.parameters())
    groups = [
        {"params": [weight for weight in weights if weight.dim() >= 2], "weight_decay": plan.weight_decay},
        {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(plan.beta_1, plan.beta_2), fused=True)


def train(
    learner: Learner, data: Batches, plan: Plan, evaluate: Evaluate | None = None, *, device: str = "auto"
) -> Iterator[Step]:
    """Train from the step after the learner's to the plan's last, yielding each; whoever asks decides when to stop.

    device: one of `DEVICES`. The learner is moved there and stays there.
    Raises TrainingError before the weights change when a loss or a gradient is not finite.
    """
    accelerator = Accelerator(cpu=only_cpu(device))
    objective, optimizer = accelerator.prepare(Objective(learner.network), learner.optimizer)
    if learner.average is not None:
        learner.average.to(accelerator.device)
    began = time.perf_counter()
    while learner.step < plan.steps:
        started = time.perf_counter()
        number = learner.step + 1
        batch = data.batch(number).to(accelerator.device)
        learner.network.train()
        with _own_randomness(plan.seed, number, accelerator.device):
            with torch.autocast(
                accelerator.device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"
            ):
                loss = objective(batch)
            accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(learner.network.parameters(), plan.gradient_clip or math.inf)
        rate = learning_rate(plan, number)
        _require_finite(float(loss.detach()), float(norm), number, rate, plan)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if learner.average is not None:
            _update_average(learner.average, learner.network, plan.average, number)
        learner.step = number
        done = time.perf_counter()
        speed = data.predictions / (done - started)
        due = evaluate is not None and plan.due(plan.evaluate_every, number)
        results = _measured(learner.result, evaluate) if evaluate is not None and due else {}
        yield Step(number, float(loss.detach()), rate, float(norm), speed, done - began, results)


def only_cpu(device: str) -> bool:
    """Whether a device of `DEVICES` rules out an accelerator. Raises UsageError for any other."""
    if device not in DEVICES:
        raise UsageError(
            f"device is {device!r}, but must be one of {', '.join(DEVICES)}",
            hint="CUDA_VISIBLE_DEVICES chooses among several GPUs",
        )
    return device == "cpu"


@contextmanager
def _own_randomness(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """torch's generators seeded for this step's dropout, and afterwards as they were for everybody else."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(Noise(seed, step).rows(1, "dropout").uniform()[0] * 2**53))
        yield


def _require_finite(loss: float, norm: float, step: int, rate: float, plan: Plan) -> None:
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise TrainingError(
            f"step {step}: loss {loss:.4g}, gradient norm {norm:.4g} at learning rate {rate:.3g}; "
            f"the weights are those after step {step - 1}",
            hint=f"try a lower rate: --set plan.learning_rate={plan.learning_rate / 3:.1g}",
        )


def _measured(network: nn.Module, evaluate: Evaluate) -> dict[str, float]:
    network.eval()
    with torch.inference_mode():
        return dict(evaluate(network))


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, memory: float, step: int) -> None:
    """average <- memory average + (1 - memory) weights; remembers less at first, when weights are still poor."""
    new = 1 - min(memory, step / (step + 9))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), new)
    for kept, buffer in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)
