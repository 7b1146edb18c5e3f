"""Rotary positions: pairs of channels turn by an angle that grows with the position.

The two channels of a pair are half a head apart, as in the checkpoints of the Hub.
Source: Su et al., "RoFormer", 2021; the stretching of long wavelengths: Llama 3.1, 2024.
"""

from __future__ import annotations

import math

import torch


def frequencies(width: int, theta: float, *, device: torch.device | None = None) -> torch.Tensor:
    """Radians a position for each pair of a head of this width, (width / 2,), float32: theta^(-2i / width)."""
    exponents = torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
    return 1.0 / theta**exponents


def stretched(frequency: torch.Tensor, factor: float, low: float, high: float, context: int) -> torch.Tensor:
    """Llama 3's scaling: wavelengths above context / low become `factor` times longer, those below context / high
    stay, and between them the two are mixed. context: the tokens that the model was first trained on."""
    turns = context * frequency / (2 * math.pi)  # of each pair over the original context
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequency * (kept + (1 - kept) / factor)


class Rotation:
    """The turn of each new token, made once a step and used by every layer. positions (B, T), frequency (D / 2,)."""

    def __init__(self, positions: torch.Tensor, frequency: torch.Tensor, dtype: torch.dtype) -> None:
        angles = positions[:, None, :, None] * frequency  # (B, 1, T, D / 2), one for all heads
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        self._cos = torch.cat((cos, cos), dim=-1)  # (B, 1, T, D)
        self._sin = torch.cat((-sin, sin), dim=-1)

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, H, T, D) -> the same shape."""
        first, second = x.chunk(2, dim=-1)
        return x * self._cos + torch.cat((second, first), dim=-1) * self._sin
