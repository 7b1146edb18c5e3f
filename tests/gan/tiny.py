"""The two GANs small enough to train in milliseconds, images to train them on, and what a run of them leaves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from gan.dcgan import DCGAN, GAN, WGANGP, Config, WGANGPConfig, layer_norm
from zoo.datasets.arrays import ArrayRows, Selection
from zoo.training.learner import Learner
from zoo.training.loop import train
from zoo.training.plan import Plan
from zoo.training.step import Step

ROWS = 40
PLAN = Plan(
    steps=5,
    batch_size=8,
    learning_rate=2e-3,
    schedule="constant",
    warmup=0,
    beta_1=0.5,
    weight_decay=0.01,
    gradient_clip=0.0,
    evaluate_every=0,
)


class LayerNormDCGAN(DCGAN):
    """Without batch norm, so that a row's loss does not depend on which other rows are computed with it."""

    norm = staticmethod(layer_norm)


def dcgan() -> GAN:
    return _made(DCGAN, Config(latents=3, features=4))


def layer_norm_dcgan() -> GAN:
    return _made(LayerNormDCGAN, Config(latents=3, features=4))


def wgan_gp() -> GAN:
    return _made(WGANGP, WGANGPConfig(latents=3, features=4, critic_turns=2))


def _made(kind: Callable[[Config], GAN], config: Config) -> GAN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return kind(config)


def images(seed: int = 0) -> ArrayRows:
    """40 images (1, 8, 8) with a diagonal stripe each; the first pixel of image i is i / 40."""
    row, column = np.mgrid[0:8, 0:8]
    phase = np.arange(ROWS)[:, None, None] / ROWS
    pixels = np.sin(2 * np.pi * (phase + (row + column) / 8))[:, None]  # (N, 1, 8, 8)
    pixels[:, 0, 0, 0] = np.arange(ROWS) / ROWS
    chosen = Selection((pixels.astype(np.float32),), np.arange(ROWS), torch.from_numpy)
    return ArrayRows(chosen, "images", 1, seed)


def trained(network: nn.Module, plan: Plan = PLAN) -> tuple[Learner, list[Step]]:
    """The learner after all its plan's steps, and these."""
    learner = Learner(network, plan)
    return learner, list(train(learner, images(plan.seed), device="cpu"))
