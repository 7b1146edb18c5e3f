"""Devices and processes: what accelerate was told, and what all processes of a run agree on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from zoo.errors import UsageError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator, PartialState

    from zoo.datasets.passes import Team
    from zoo.training.plan import Plan

DEVICES = ("auto", "cpu")
"""auto: what accelerate finds, or was told to use by its own configuration."""

_MIXED = {"float32": "no", "bfloat16": "bf16"}


def only_cpu(device: str) -> bool:
    """Whether a device of `DEVICES` rules out an accelerator. Raises UsageError for any other."""
    if device not in DEVICES:
        raise UsageError(
            f"device is {device!r}, but must be one of {', '.join(DEVICES)}",
            hint="CUDA_VISIBLE_DEVICES chooses among several GPUs",
        )
    return device == "cpu"


def launched() -> bool:
    """Whether this is one of several processes that a launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def state(device: str) -> PartialState:
    """accelerate's view of this process among the others, whom it meets at the first call."""
    from accelerate import PartialState

    return PartialState(cpu=_without_accelerator(device))


def _without_accelerator(device: str) -> bool:
    """Processes on a machine without an accelerator meet only when accelerate is told that there is none."""
    import torch

    return only_cpu(device) or not torch.accelerator.is_available()


def accelerator(plan: Plan, device: str) -> Accelerator:
    """accelerate as the plan and its own configuration want it.

    accelerate keeps one state a process and refuses another precision or device; a second training in the same
    process, such as a notebook's, is to have its own.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    AcceleratorState._reset_state(reset_partial_state=not launched())
    return Accelerator(
        cpu=_without_accelerator(device),
        mixed_precision=_MIXED[plan.precision],
        gradient_accumulation_steps=plan.accumulation,
        dynamo_backend="inductor" if plan.compile else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )


def team(device: str) -> Team:
    """The processes as a fit sees them."""
    from accelerate.utils import reduce

    from zoo.datasets.passes import Team

    known = state(device)

    def total(value: torch.Tensor) -> torch.Tensor:
        summed: torch.Tensor = reduce(value, reduction="sum") if known.num_processes > 1 else value
        return summed

    return Team(known.device, known.process_index, known.num_processes, total)


def is_main() -> bool:
    """Whether this process writes the run's files and speaks to the person."""
    return int(os.environ.get("RANK", "0")) == 0


def any_says(yes: bool) -> bool:
    """Whether this or any other process says yes. Every process must ask."""
    import torch

    if not torch.distributed.is_initialized():
        return yes
    from accelerate import PartialState
    from accelerate.utils import reduce

    told: torch.Tensor = reduce(torch.tensor(float(yes), device=PartialState().device), reduction="sum")
    return bool(told.item() > 0)


def wait() -> None:
    """Until every process is here."""
    from accelerate import PartialState

    if launched():
        PartialState().wait_for_everyone()


def finish() -> None:
    """Part from the other processes; without it, they complain at exit."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()  # one that left while another still speaks to it could take that down with it
        torch.distributed.destroy_process_group()
