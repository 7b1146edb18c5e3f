"""The one loop against GANs trained by hand in plain PyTorch: same weights, rows and noise, so the same losses."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from gan.tiny import PLAN, dcgan, images, trained, wgan_gp
from zoo.noise import Noise

pytestmark = pytest.mark.usefixtures("one_thread")

LONG = dataclasses.replace(PLAN, steps=30)
BATCH = LONG.batch_size


def optimizer(network):
    """AdamW as the plan says, with decay of matrices and filters only."""
    weights = list(network.parameters())
    groups = [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": LONG.weight_decay},
        {"params": [weight for weight in weights if weight.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LONG.learning_rate, betas=(LONG.beta_1, LONG.beta_2))


def drawn(first, stream, *shape):
    """The noise of a batch's rows, (B, *shape)."""
    return Noise(LONG.seed, first).rows(BATCH, stream).normal(*shape).float()


def by_hand_dcgan(generator, critic):
    """As PyTorch's DCGAN tutorial: labels one and zero, and the generator is told that its images are real."""
    for_critic, for_generator = optimizer(critic), optimizer(generator)
    real, generated = torch.ones(BATCH), torch.zeros(BATCH)
    for step in range(LONG.steps):
        latents = drawn(step * BATCH, "latents", 3)
        critic.zero_grad()
        made = generator(latents)
        on_made = cross_entropy(critic(made.detach()), generated)
        on_real = cross_entropy(critic(images().rows(step * BATCH, BATCH)), real)
        (on_made + on_real).backward()
        for_critic.step()
        generator.zero_grad()
        fooled = cross_entropy(critic(generator(latents)), real)
        fooled.backward()
        for_generator.step()
        yield (on_made + on_real).item(), fooled.item()


def by_hand_wgan_gp(generator, critic):
    """Algorithm 1 of the paper, with two turns of the critic."""
    for_critic, for_generator = optimizer(critic), optimizer(generator)
    for step in range(LONG.steps):
        for turn in range(2):
            first = (2 * step + turn) * BATCH
            x = images().rows(first, BATCH)
            made = generator(drawn(first, "latents", 3)).detach()
            mix = Noise(LONG.seed, first).rows(BATCH, "mix").uniform().float().view(-1, 1, 1, 1)
            between = (mix * x + (1 - mix) * made).requires_grad_(True)
            slope = torch.autograd.grad(critic(between), between, torch.ones(BATCH), create_graph=True)[0]
            penalty = (slope.pow(2).sum((1, 2, 3)).sqrt() - 1).pow(2)
            loss = (critic(made) - critic(x) + 10 * penalty).mean()
            for_critic.zero_grad()
            loss.backward()
            for_critic.step()
        for_generator.zero_grad()
        wanted = -critic(generator(drawn(2 * step * BATCH, "latents", 3))).mean()
        wanted.backward()
        for_generator.step()
        yield loss.item(), wanted.item()


@pytest.mark.parametrize(("make", "by_hand"), [(dcgan, by_hand_dcgan), (wgan_gp, by_hand_wgan_gp)])
def test_thirty_steps_have_the_losses_of_a_loop_written_by_hand(make, by_hand):
    network = make()
    generator, critic = copy.deepcopy(network.generator), copy.deepcopy(network.critic)
    _, steps = trained(network, LONG)
    ours = np.array([(step.losses["critic"], step.losses["generator"]) for step in steps])
    theirs = np.array(list(by_hand(generator, critic)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
