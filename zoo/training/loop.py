"""The one training loop: a generator that changes the weights and yields each step. It saves and logs nothing.

A step is a function of the weights, the optimizers' memory, the plan and the step's number alone: rows, noise and
dropout come from the seed and the rows' numbers, not from a generator that runs on. So a run continued from a
checkpoint goes the same way as one that was never stopped, and several processes see the rows that one would.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from zoo.datasets.material import Rows
from zoo.errors import TrainingError, ZooWarning
from zoo.noise import Noise
from zoo.training import processes
from zoo.training.learner import Learner
from zoo.training.plan import Plan, learning_rate
from zoo.training.step import Step, due

Evaluate = Callable[[nn.Module], Mapping[str, float]]
"""Measures a network that is in evaluation mode and must not be changed."""


def train(
    learner: Learner, data: Rows, evaluate: Evaluate | None = None, *, device: str = "auto"
) -> Iterator[Step]:
    """Train from the step after the learner's to its plan's last, yielding each; whoever asks decides when to stop.

    device: one of `zoo.training.processes.DEVICES`. The learner is moved there and stays there.
    Raises TrainingError before the weights change when a loss or a gradient is not finite, and when memory runs out;
    UsageError when a batch cannot be divided evenly among processes and parts. Warns of what may not be meant.
    """
    plan = learner.counted(data)
    for said in plan.warnings(data.epoch, learner.rows_a_step):
        warnings.warn(said, ZooWarning, stacklevel=2)
    accelerator = processes.accelerator(plan, device)
    loop = _Loop(learner, data, plan, accelerator, learner.prepare(accelerator))
    began = time.perf_counter()
    while learner.step < plan.steps:
        started = time.perf_counter()
        with _memory_explained(learner):
            losses, norm, rate = loop.step(learner.step + 1)
        seconds = time.perf_counter() - started
        final = learner.step == plan.steps
        measured = evaluate is not None and due(plan.evaluate_every, learner.step, final=final)
        results = _measured(learner, evaluate) if evaluate is not None and measured else {}
        yield Step(
            learner.step,
            learner.step * learner.rows_a_step / data.epoch,
            losses,
            learner.rows_a_step * data.units / seconds,
            data.unit,
            time.perf_counter() - began,
            results,
            learning_rate=rate,
            gradient_norm=norm,
            final=final,
        )


@dataclass
class _Loop:
    learner: Learner
    data: Rows
    plan: Plan
    accelerator: Accelerator
    objectives: Mapping[str, nn.Module]

    def __post_init__(self) -> None:
        self.share = self.plan.share(self.accelerator.num_processes)

    def step(self, number: int) -> tuple[dict[str, float], float, float]:
        """Change the weights once; returns losses, gradient norm and learning rate."""
        self.learner.network.train()
        rate = learning_rate(self.plan, number)
        said: dict[str, float] = {}
        norms = []
        for index, turn in enumerate(self.learner.turns):
            before = self.learner.turns[:index].count(turn)
            first = (number - 1) * self.learner.rows_a_step + before * self.plan.batch_size
            self.learner.freeze_all_but(turn)
            losses = self._gradients(turn, first)
            weights = self.objectives[turn].parameters()
            norm = float(self.accelerator.clip_grad_norm_(weights, self.plan.gradient_clip or math.inf))
            _require_finite(losses, norm, number, first, rate, self.plan)
            optimizer = self.learner.optimizers[turn]
            for group in optimizer.param_groups:
                group["lr"] = rate * self.learner.rates[turn]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            said |= {_called(turn, name): value for name, value in losses.items()}
            norms.append(norm)
        self.learner.step = number
        self.learner.update_average()
        return said, max(norms), rate

    def _gradients(self, turn: str, first: int) -> dict[str, float]:
        """Gradients of the mean loss over the batch whose first row this is; returns the losses."""
        accelerator, objective, parts = self.accelerator, self.objectives[turn], self.plan.accumulation
        sums: dict[str, torch.Tensor] = {}
        for part in range(parts):
            row = first + (part * accelerator.num_processes + accelerator.process_index) * self.share
            batch = _on(accelerator.device, self.data.rows(row, self.share))
            noise = Noise(self.plan.seed, row)
            with _own_randomness(noise, turn, accelerator.device), accelerator.accumulate(objective):
                losses = objective(batch, noise)
                accelerator.backward(losses["loss"])
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach().float() / parts
        means = accelerator.reduce(torch.stack(list(sums.values())), reduction="mean")
        return dict(zip(sums, means.tolist(), strict=True))


def _called(turn: str, name: str) -> str:
    if turn == "main":
        return name
    return turn if name == "loss" else f"{turn}.{name}"


def _on(device: torch.device, batch: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: _on(device, value) for name, value in batch.items()}
    return tuple(_on(device, value) for value in batch)


@contextmanager
def _own_randomness(noise: Noise, turn: str, device: torch.device) -> Iterator[None]:
    """torch's generators seeded for these rows' dropout, and afterwards as they were for everybody else."""
    seed = int(noise.rows(1, f"dropout {turn}").uniform()[0] * 2**53)
    there: Any = torch.get_device_module(device) if device.type != "cpu" else None
    before = torch.get_rng_state(), there and there.get_rng_state()
    # not torch.manual_seed, which formats the stack for every kind of device that is not there
    torch.default_generator.manual_seed(seed)
    if there:
        there.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        if there:
            there.set_rng_state(before[1])


def _require_finite(
    losses: Mapping[str, float], norm: float, step: int, first: int, rate: float, plan: Plan
) -> None:
    if not (math.isfinite(losses["loss"]) and math.isfinite(norm)):
        raise TrainingError(
            f"step {step}: loss {losses['loss']:.4g}, gradient norm {norm:.4g} at learning rate {rate:.3g}, on rows "
            f"{first} to {first + plan.batch_size - 1}; the weights are those after step {step - 1}",
            hint=f"try a lower rate: --set plan.learning_rate={plan.learning_rate / 3:.1g}",
        )


@contextmanager
def _memory_explained(learner: Learner) -> Iterator[None]:
    """Memory that ran out, as an error that says what was asked for and what lowers it."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = " ".join(str(error).split())
        known = ("out of memory", "can't allocate memory", "not enough memory", "Unable to allocate")
        if not isinstance(error, MemoryError) and not any(words in text for words in known):
            raise
        plan = learner.plan
        held = sum(value.nbytes for value in learner.network.state_dict().values()) / 2**20
        raise TrainingError(
            f"step {learner.step + 1} ran out of memory: {text[:300]} (the weights are {held:,.0f} MiB; gradients "
            f"and AdamW's memory three times as much again; the rest grows with the rows at once, {plan.batch_size})",
            hint=f"--set plan.accumulation={2 * plan.accumulation} (same result, half the rows at once), a smaller "
            "--batch-size, --set plan.precision=bfloat16, or a smaller network",
        ) from error


def _measured(learner: Learner, evaluate: Evaluate) -> dict[str, float]:
    with learner.result() as network:
        network.eval()
        with torch.no_grad():
            return dict(evaluate(network))
