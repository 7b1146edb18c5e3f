"""Recordings as training takes them: one channel at one rate, cut into windows, and a WAV file as preview."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.datasets import audio_files, previews
from zoo.datasets.arrays import ArrayRows, Pile, Selection, config_settings, held_out_loss
from zoo.datasets.source import Member, Source
from zoo.datasets.split import split_rows, split_seed
from zoo.errors import DataError
from zoo.family import Family
from zoo.settings import Settings, setting

_PAUSE = 0.25  # seconds of silence between the samples of a preview


@dataclass(frozen=True)
class AudioRules(Settings):
    """How recordings become training and held-out windows."""

    rate: int = setting(
        16_000,
        help="what recordings are converted to",
        minimum=audio_files.LEAST_RATE,
        maximum=audio_files.MOST_RATE,
        unit="samples a second",
    )
    seconds: float = setting(1.0, help="length of a window", above=0.0, maximum=600.0, unit="seconds")
    held_out_share: float = setting(
        0.05, help="share of the recordings that the seed holds out", minimum=0.0, maximum=0.9
    )
    split_seed: int | None = split_seed()

    @property
    def samples(self) -> int:
        """Of a window."""
        return max(1, round(self.rate * self.seconds))


def read(source: Source, rules: AudioRules, seed: int) -> AudioMaterial:
    """The WAV, FLAC and Ogg files of a source. Raises DataError, naming the file, for what cannot be used."""
    pile = Pile((rules.samples,), np.float32)
    counts = []
    for member in source.files(audio_files.SUFFIXES):
        before = pile.rows
        for windows in _windows(member, rules):
            pile.add(windows)
        counts.append(pile.rows - before)
    return AudioMaterial(pile.array(), np.array(counts), rules, seed)


def _windows(member: Member, rules: AudioRules) -> Iterator[np.ndarray]:
    """Windows (n, T) side by side. What is left at the end is padded with silence, if it is half a window or all."""
    rest, found = np.empty(0, np.float32), False
    for block in audio_files.sound(member, rules.rate):
        rest = np.concatenate([rest, block])
        whole = len(rest) // rules.samples * rules.samples
        if whole:
            yield rest[:whole].reshape(-1, rules.samples)
            rest, found = rest[whole:], True
    if not found or 2 * len(rest) >= rules.samples:
        yield np.pad(rest, (0, rules.samples - len(rest)))[None]


class AudioMaterial:
    """A `zoo.datasets.material.Material` of recordings. `bind` comes before `preview`."""

    def __init__(self, windows: np.ndarray, counts: np.ndarray, rules: AudioRules, seed: int) -> None:
        """windows: (N, T) float32 in [-1, 1]. counts: how many of them each recording has, in order.

        No recording is both trained on and held out, unless there is but one. Raises DataError when they cannot be
        divided.
        """
        self._rules, self._seed = rules, seed
        self._family: Family | None = None
        owners = np.repeat(np.arange(len(counts)), counts) if len(counts) > 1 else np.arange(len(windows))
        _, apart = split_rows(len(counts) if len(counts) > 1 else len(windows), rules.held_out_share, seed)
        held_out = np.isin(owners, apart)
        self._train = Selection((windows,), np.flatnonzero(~held_out), _prepared)
        self._held_out = Selection((windows,), np.flatnonzero(held_out), _prepared)
        self.summary = (
            f"{len(windows):,} windows of {rules.samples:,} samples at {rules.rate:,} Hz from "
            f"{len(counts):,} recording{'' if len(counts) == 1 else 's'}, {len(self._held_out):,} held out"
        )

    def learn(self, folder: Path) -> None:
        """Nothing: the config says rate and samples."""

    def bind(self, family: Family, files: Mapping[str, Path]) -> dict[str, Any]:  # noqa: ARG002 - none is needed
        """Rate and samples of a window."""
        self._family = family
        return config_settings(family, {"rate": self._rules.rate, "samples": self._rules.samples})

    def rows(self, network: nn.Module, seed: int) -> ArrayRows:  # noqa: ARG002 - any network may try them
        """Rows of float32 (B, T) in [-1, 1]."""
        return ArrayRows(self._train, "samples", self._rules.samples, seed)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """The mean loss over the held-out windows."""
        return held_out_loss(network, self._held_out, self._seed)

    def preview(self, network: nn.Module, count: int, seed: int, stem: Path) -> Iterator[Path]:
        """Draw sounds, the last that `network.sample` yields: (N, T) or (N, 1, T) in [-1, 1]; one WAV with all."""
        if self._family is None:
            raise DataError("the recordings belong to no family yet: bind them first")
        drawn = previews.last_sample(network, self._family, count, seed)
        yield previews.write(stem.with_name(f"{stem.name}.wav"), wav(drawn.flatten(1), self._rules.rate))


def wav(sounds: torch.Tensor, rate: int) -> bytes:
    """Sounds (N, T) in [-1, 1] one after the other, a pause after each, as a WAV file of 16 bits."""
    values = torch.nan_to_num(sounds.detach().float().cpu(), nan=0.0).clamp(-1, 1)
    padded = torch.nn.functional.pad(values, (0, round(_PAUSE * rate))).flatten()
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((padded * 32767).round().numpy().astype("<i2").tobytes())
    return content.getvalue()


def _prepared(windows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(windows))
