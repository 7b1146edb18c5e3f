"""The command `zoo` on processes that share the weights out by FSDP, on a CPU, where accelerate itself never does.

Run by a launcher: accelerate.commands.launch ... sharded_command.py train ...
"""

from __future__ import annotations

import sys

from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.tensor import DTensor

from zoo.training import processes
from zoo.training.learner import Learner
from zoo_cli.main import main

unsharded, prepared = processes.accelerator, Learner.prepare


def sharded(plan, device):
    accelerator = unsharded(plan, device)
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["Block"],
        state_dict_type="FULL_STATE_DICT",
        cpu_ram_efficient_loading=False,
    )
    return accelerator


def checked(self, accelerator):
    objectives = prepared(self, accelerator)
    if not all(isinstance(weight, DTensor) for weight in self.network.parameters()):
        sys.exit("the weights are not in shards")
    return objectives


if __name__ == "__main__":
    processes.accelerator = sharded
    Learner.prepare = checked
    sys.exit(main())
