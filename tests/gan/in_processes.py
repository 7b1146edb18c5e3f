"""Run by a launcher: train GANs in however many processes there are, and write the losses of every step as JSON.

python -m torch.distributed.run --nproc-per-node 2 -m gan.in_processes FILE
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import torch

from gan import tiny
from zoo.training import processes

PLAN = dataclasses.replace(tiny.PLAN, steps=20, gradient_clip=1.0, average=0.9)


def losses() -> dict[str, list[dict[str, float]]]:
    """Of each GAN whose rows do not depend on one another, step by step."""
    kinds = {"layer_norm_dcgan": tiny.layer_norm_dcgan, "wgan_gp": tiny.wgan_gp}
    return {
        name: [{**step.losses, "gradient_norm": step.gradient_norm} for step in tiny.trained(make(), PLAN)[1]]
        for name, make in kinds.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    processes.state("cpu")
    found = losses()
    if processes.is_main():
        Path(sys.argv[1]).write_text(json.dumps(found))
    processes.finish()
