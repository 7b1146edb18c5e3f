"""All that training changes: the network, its running average, the optimizers and the number of steps done."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from zoo.datasets.material import Rows
from zoo.errors import PluginError, TrainingError, UsageError
from zoo.noise import Noise
from zoo.training.plan import Plan

_MEMORY = ("exp_avg", "exp_avg_sq")
"""AdamW's running means of the gradient and of its square."""


class Objective(nn.Module):
    """One objective of a network as a forward pass, which is what accelerate's wrappers hook into."""

    def __init__(self, network: nn.Module, turn: str) -> None:
        super().__init__()
        self.network: Any = network  # a zoo.protocols.Trainable
        self.turn = turn

    def forward(self, batch: Any, noise: Noise) -> dict[str, torch.Tensor]:
        """What is minimised as "loss", and whatever else the network says of it."""
        found = self.network.loss(batch, self.turn, noise)
        return dict(found) if isinstance(found, Mapping) else {"loss": found}


class Learner:
    """A network in training. `train` moves it to its device, and shards it where accelerate is told to.

    turns: the network's objectives in the order of a step; a name that comes twice is trained twice a step.
    rates: what the plan's learning rate is multiplied by for each.
    average: the running average of every weight by name, None when the plan has none.
    """

    def __init__(self, network: nn.Module, plan: Plan) -> None:
        """Raises PluginError when the parts of alternating objectives are not apart."""
        self.network = network.requires_grad_(True)
        self.plan = plan
        self.step = 0
        self.turns: tuple[str, ...] = tuple(getattr(network, "turns", ("main",)))
        self._require_apart()
        said = getattr(network, "rates", {})
        self.rates: dict[str, float] = {turn: float(said.get(turn, 1.0)) for turn in self.turns}
        self.optimizers: dict[str, Any] = {turn: adamw(self.part(turn), plan) for turn in self.turns}
        self.average = (
            {name: value.detach().clone() for name, value in self._state()} if plan.average else None
        )
        self._memory: dict[str, torch.Tensor] = {}  # of the optimizers, to be put back when they are prepared
        self._whole: nn.Module | None = None  # an unsharded twin, where the network itself is in shards

    @property
    def rows_a_step(self) -> int:
        """Rows that a step goes on in the data: a batch, or one for each time that the most frequent turn comes."""
        return self.plan.batch_size * max(self.turns.count(turn) for turn in self.turns)

    def counted(self, data: Rows) -> Plan:
        """The plan with epochs written as steps."""
        return self.plan.counted(data.epoch, self.rows_a_step)

    def epochs(self, data: Rows) -> float:
        """How often the whole plan goes through the data."""
        return self.plan.steps * self.rows_a_step / data.epoch

    @property
    def finished(self) -> bool:
        return self.step >= self.plan.steps

    def part(self, turn: str) -> nn.Module:
        """What a turn changes: the whole network, unless objectives alternate."""
        if len(self.turns) == 1:
            return self.network
        network: Any = self.network  # a zoo.protocols.Alternating
        part: nn.Module = network.part(turn)
        return part

    def _require_apart(self) -> None:
        """Two optimizers of one weight would undo each other; a weight outside the network would not be saved."""
        names = {weight: name for name, weight in self.network.named_parameters()}
        owners: dict[torch.Tensor, str] = {}
        for turn in dict.fromkeys(self.turns):
            for weight in self.part(turn).parameters():
                if weight not in names:
                    raise PluginError(f"the turn {turn!r} changes a parameter that is not the network's")
                if weight in owners:
                    raise PluginError(
                        f"the turns {owners[weight]!r} and {turn!r} both change {names[weight]}"
                    )
                owners[weight] = turn

    def freeze_all_but(self, turn: str) -> None:
        """No gradients for what another turn changes: they would cost time and be thrown away."""
        if len(self.optimizers) > 1:
            self.network.requires_grad_(False)
            self.part(turn).requires_grad_(True)

    def prepare(self, accelerator: Accelerator) -> dict[str, nn.Module]:
        """Onto accelerate's device and into its wrappers; the objective of each turn, to be called for its losses.

        Raises UsageError for what accelerate was told to do and cannot be done here.
        """
        kind = accelerator.distributed_type.value
        sharded = kind == "FSDP"
        if kind in ("DEEPSPEED", "MEGATRON_LM") or (sharded and not accelerator.is_fsdp2):
            raise UsageError(
                f"accelerate's configuration asks for {kind}, but only processes and FSDP version 2 are known",
                hint="change it with `accelerate config`",
            )
        if sharded and len(self.optimizers) > 1:
            raise UsageError("alternating objectives cannot be sharded: use several processes without FSDP")
        if sharded:
            self._whole = copy.deepcopy(self.network)
        objectives = {}
        for turn in self.optimizers:
            self.freeze_all_but(turn)  # so that only this part's gradients are exchanged among processes
            objectives[turn], self.optimizers[turn] = accelerator.prepare(
                Objective(self.network, turn), self.optimizers[turn]
            )
        self.network.requires_grad_(True)
        if self.average is not None:
            current = dict(self._state())
            self.average = {name: _like(current[name], value) for name, value in self.average.items()}
        self._put_back()
        return objectives

    @contextmanager
    def result(self) -> Iterator[nn.Module]:
        """The network to measure and to keep: with its average, if the plan has one, in place of its weights.

        Every process must ask at the same time: a network in shards is gathered from all of them.
        """
        if self._whole is not None:
            values = self.average if self.average is not None else dict(self._state())
            self._whole.load_state_dict({name: whole(value) for name, value in values.items()})
            yield self._whole
            return
        self._exchange_average()
        try:
            yield self.network
        finally:
            self._exchange_average()

    def take_average(self) -> None:
        """The average, if there is one, becomes the weights: training is over."""
        self._exchange_average()
        self.average = None

    def _exchange_average(self) -> None:
        for name, value in self._state():
            if self.average is not None:
                value.data, self.average[name] = self.average[name], value.data

    @torch.no_grad()
    def update_average(self) -> None:
        """average <- memory average + (1 - memory) weights; remembers less at first, when weights are still poor."""
        if self.average is None:
            return
        new = 1 - min(self.plan.average, self.step / (self.step + 9))
        names = {name for name, _ in self.network.named_parameters()}
        pairs = [(name, self.average[name], value) for name, value in self._state()]
        torch._foreach_lerp_(
            [kept for name, kept, _ in pairs if name in names],
            [value.detach() for name, _, value in pairs if name in names],
            new,
        )
        for name, kept, value in pairs:
            if name not in names:
                kept.copy_(value)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that training changes, by a name that says what it is: weights, their average, the optimizers' memory.

        Every process must ask at the same time, as for `result`.
        """
        found = {f"network.{name}": value for name, value in self._state()}
        found |= {f"average.{name}": value for name, value in (self.average or {}).items()}
        found |= self._memory
        for optimizer in self.optimizers.values():
            for name, weight in self.network.named_parameters():
                memory = optimizer.state.get(weight, {})
                found |= {f"{kind}.{name}": memory[kind] for kind in _MEMORY if kind in memory}
        return {name: whole(value.detach()) for name, value in found.items()}

    def restore(
        self, stored: Mapping[str, torch.Tensor], step: int, notes: Mapping[str, Any] | None = None
    ) -> None:
        """Be where `tensors` were taken. Only before `train`. notes: of the checkpoint; nothing in them is needed.

        Raises TrainingError when they are of another network or plan.
        """
        del notes
        wanted = self.tensors()
        known = {**wanted}
        for name, weight in self.network.named_parameters():
            known |= {f"{kind}.{name}": weight for kind in _MEMORY}
        strange = [name for name in stored if name not in known or known[name].shape != stored[name].shape]
        absent = [name for name in wanted if name not in stored]
        if strange or absent:
            raise TrainingError(f"of another network or plan: {(strange + absent)[0]} does not fit")
        with torch.no_grad():
            for name, value in wanted.items():
                value.copy_(stored[name])
        self._memory = {name: value for name, value in stored.items() if name not in wanted}
        self.step = step

    def _put_back(self) -> None:
        """The optimizers' memory as it was stored: AdamW makes its own, of zeros, at its first step only."""
        weights = dict(self.network.named_parameters())
        for turn, optimizer in self.optimizers.items():
            mine = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
            for name, weight in weights.items():
                memory = {
                    kind: _like(weight, self._memory[f"{kind}.{name}"])
                    for kind in _MEMORY
                    if id(weight) in mine and f"{kind}.{name}" in self._memory
                }
                if memory:
                    done = float(self.step * self.turns.count(turn))
                    optimizer.state[weight] = {"step": torch.tensor(done, device=weight.device), **memory}
        self._memory = {}

    def _state(self) -> list[tuple[str, torch.Tensor]]:
        """Parameters and stored buffers by name; a tensor with two names under its first."""
        found: dict[int, tuple[str, torch.Tensor]] = {}
        for name, value in self.network.state_dict(keep_vars=True).items():
            found.setdefault(id(value), (name, value))
        return list(found.values())


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


def whole(value: torch.Tensor) -> torch.Tensor:
    """A tensor that lies in shards on many processes, gathered; any other as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _like(weight: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A value on a weight's device, and sharded as the weight is."""
    if isinstance(weight, DTensor):
        return distribute_tensor(value.to(weight.device), weight.device_mesh, weight.placements)
    return value.to(weight.device, copy=True)
