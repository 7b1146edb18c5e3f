"""Families of networks with one weight, for tests of what data does to a network and a network to previews."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zoo.family import Family
from zoo.noise import Noise
from zoo.settings import Settings, setting


@dataclass(frozen=True)
class ImageConfig(Settings):
    channels: int = setting(1, help="of a pixel")
    height: int = setting(8, help="of an image", unit="pixels")
    classes: int = setting(0, help="of images")


@dataclass(frozen=True)
class AudioConfig(Settings):
    samples: int = setting(16, help="of a window")


@dataclass(frozen=True)
class TableConfig(Settings):
    columns: int = setting(2, help="of a row")


@dataclass(frozen=True)
class MoleculeConfig(Settings):
    vocabulary: int = setting(4, help="tokens")
    length: int = setting(4, help="of a molecule", unit="tokens")


@dataclass(frozen=True)
class Controls(Settings):
    scale: float = setting(1.0, help="of every value")


class Constant(nn.Module):
    """Samples are the same value everywhere; the loss is the mean absolute value of a batch."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)

    def sample(self, count: int, noise: Noise, controls: Controls) -> Iterator[torch.Tensor]:
        assert not self.training
        assert not torch.is_grad_enabled()
        whole = self.value.expand(count, *self.value.shape) * controls.scale
        yield whole * 0  # a partial result, which no preview may show
        yield whole

    def loss(self, batch: Any, turn: str, noise: Noise) -> torch.Tensor:
        return batch.float().abs().mean() + 0 * self.value.sum()


def family(modality: str) -> Family:
    return Family(
        f"toy-{modality}",
        modality,
        config=f"toy_family:{modality.title()}Config",
        build="toy_family:Constant",
        controls="toy_family:Controls",
    )
