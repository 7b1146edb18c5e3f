"""Two GANs as a plugin's families would be, small enough for tests: DCGAN and WGAN-GP, on images of 8x8 and up.

DCGAN: Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks", 2016, with the non-saturating loss of Goodfellow et al., "Generative adversarial nets", 2014.
WGAN-GP: Gulrajani et al., "Improved training of Wasserstein GANs", 2017; layer norm in the generator too, so that a
row's loss does not depend on the other rows.
B rows, Z latents, C channels, H height, W width, F features.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import softplus

from zoo.errors import UsageError
from zoo.noise import Noise
from zoo.settings import Settings, setting


@dataclass(frozen=True)
class Config(Settings):
    """The two networks."""

    channels: int = setting(1, help="of a pixel", minimum=1)
    height: int = setting(8, help="of an image, a power of two", minimum=8, unit="pixels")
    width: int = setting(8, help="of an image, as its height", minimum=8, unit="pixels")
    latents: int = setting(32, help="numbers that an image is made from", minimum=1)
    features: int = setting(32, help="channels beside the image, doubled at each halving", minimum=1)


@dataclass(frozen=True)
class WGANGPConfig(Config):
    """The two networks, and how the critic is trained."""

    critic_turns: int = setting(5, help="of the critic, for one of the generator", minimum=1)
    penalty: float = setting(10.0, help="weight of the gradient penalty", minimum=0.0)


@dataclass(frozen=True)
class Controls(Settings):
    """What may be asked of a sample."""

    spread: float = setting(1.0, help="standard deviation of the latents", minimum=0.0)


Norm = Callable[[int], nn.Module]
"""A norm for so many channels."""

layer_norm: Norm = functools.partial(nn.GroupNorm, 1)


def halvings(config: Config) -> int:
    """How often an image is halved to 2x2. Raises UsageError for sizes where that cannot be."""
    steps = int(math.log2(config.height / 2))
    if config.height != config.width or 2 * 2**steps != config.height:
        raise UsageError(
            f"images are {config.width}x{config.height}, but must be square, of 8, 16, 32, ... pixels"
        )
    return steps


class Generator(nn.Sequential):
    """Latents (B, Z) to images (B, C, H, W) in (-1, 1)."""

    def __init__(self, config: Config, norm: Norm) -> None:
        steps = halvings(config)
        wide = config.features * 2 ** (steps - 1)
        layers: list[nn.Module] = [
            nn.Unflatten(1, (config.latents, 1, 1)),
            nn.ConvTranspose2d(config.latents, wide, 2, bias=False),  # (B, wide, 2, 2)
        ]
        for step in reversed(range(steps)):
            out = config.features * 2 ** (step - 1) if step else config.channels
            layers += [norm(wide), nn.ReLU(), nn.ConvTranspose2d(wide, out, 4, 2, 1, bias=not step)]
            wide = out
        super().__init__(*layers, nn.Tanh())


class Critic(nn.Sequential):
    """Images (B, C, H, W) to how real they look, (B,), in logits or without a unit."""

    def __init__(self, config: Config, norm: Norm) -> None:
        layers: list[nn.Module] = []
        wide = config.channels
        for step in range(halvings(config)):
            out = config.features * 2**step
            normed = [norm(out)] if step else []  # the paper leaves the first layer without
            layers += [nn.Conv2d(wide, out, 4, 2, 1, bias=not step), *normed, nn.LeakyReLU(0.2)]
            wide = out
        super().__init__(*layers, nn.Conv2d(wide, 1, 2), nn.Flatten(0))


def first_weights(module: nn.Module) -> None:
    """Those of DCGAN: normal, of standard deviation 0.02."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)


class GAN(nn.Module):
    """What both have: a generator, a critic, and how to sample."""

    norm: Norm
    turns: tuple[str, ...] = ("critic", "generator")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.generator = Generator(config, self.norm)
        self.critic = Critic(config, self.norm)
        self.apply(first_weights)

    def part(self, turn: str) -> nn.Module:
        return {"critic": self.critic, "generator": self.generator}[turn]

    def fake(self, images: torch.Tensor, noise: Noise) -> torch.Tensor:
        """As many generated images as there are real ones; the same in both turns, but for the weights."""
        latents = noise.rows(len(images), "latents").normal(self.config.latents)  # (B, Z)
        return self.generator(latents.to(images)).to(
            images
        )  # of a real one's dtype under mixed precision too

    def sample(self, count: int, noise: Noise, controls: Controls) -> Iterator[torch.Tensor]:
        """Images (N, C, H, W) in [-1, 1]."""
        weight = next(self.generator.parameters())
        latents = controls.spread * noise.rows(count, "latents").normal(self.config.latents)
        yield self.generator(latents.to(weight))


class DCGAN(GAN):
    """Batch norm, and a critic that tells real from generated images by its logits."""

    norm = nn.BatchNorm2d

    def loss(self, batch: torch.Tensor, turn: str, noise: Noise) -> dict[str, torch.Tensor]:
        """-log D(G(z)) for the generator; -log D(x) - log(1 - D(G(z))), and both apart, for the critic."""
        fake = self.critic(self.fake(batch, noise))
        if turn == "generator":
            return {"loss": softplus(-fake).mean()}
        on_real, on_fake = softplus(-self.critic(batch)).mean(), softplus(fake).mean()
        return {"loss": on_real + on_fake, "real": on_real, "fake": on_fake}


class WGANGP(GAN):
    """Layer norm, and a critic whose slope is held near one, so that its difference is a distance."""

    norm = staticmethod(layer_norm)

    def __init__(self, config: WGANGPConfig) -> None:
        super().__init__(config)
        self.penalty_weight = config.penalty
        self.turns = ("critic",) * config.critic_turns + ("generator",)

    def loss(self, batch: torch.Tensor, turn: str, noise: Noise) -> dict[str, torch.Tensor]:
        """-D(G(z)) for the generator; D(G(z)) - D(x) + weight * penalty, and the parts of it, for the critic."""
        made = self.fake(batch, noise)
        if turn == "generator":
            return {"loss": -self.critic(made).mean()}
        distance = self.critic(batch).mean() - self.critic(made).mean()
        penalty = self._penalty(batch, made, noise)
        return {"loss": self.penalty_weight * penalty - distance, "distance": distance, "penalty": penalty}

    def _penalty(self, real: torch.Tensor, fake: torch.Tensor, noise: Noise) -> torch.Tensor:
        """The mean of (|gradient of D| - 1)^2 at points between real and generated images."""
        mix = noise.rows(len(real), "mix").uniform(1, 1, 1).to(real)  # (B, 1, 1, 1)
        between = torch.lerp(fake.detach(), real, mix).requires_grad_()
        [slope] = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
