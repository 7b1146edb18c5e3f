"""Small hidden Markov models for tests of sequences, and their likelihoods by summing over every path of states."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import torch

from zoo import plugins
from zoo.datasets.table_columns import Columns, unscaled
from zoo.modality.sequence_format import FILE, Format
from zoo.weights.save import save
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig

START = [0.7, 0.3]
TRANSITION = [[0.8, 0.2], [0.4, 0.6]]
EMISSION = [[0.6, 0.3, 0.1, 0.0], [0.1, 0.2, 0.3, 0.4]]
MEANS = [[0.0, 1.0], [2.0, -1.0]]
VARIANCES = [[1.0, 0.5], [0.25, 2.0]]

LETTERS = Format((" ", "a", "b", "t"), unscaled(("symbol",)), text=True)
BASES = Format(("A", "C", "G", "T"), unscaled(("base",)))
NUMBERS = Format(None, Columns(("x", "y"), np.array([10.0, -1.0]), np.array([2.0, 0.5])))


def family():
    return plugins.family("zoo-classic", "hmm")


def of_symbols() -> HMM:
    """Two states over four symbols; the first never emits the last symbol."""
    model = HMM(HMMConfig(states=2, emissions="categorical", symbols=4))
    model.assign(named(model, START, TRANSITION, {"emissions.probabilities": EMISSION}))
    return model.eval()


def of_numbers() -> HMM:
    """Two states over two independent columns."""
    model = HMM(HMMConfig(states=2, columns=2))
    own = dict(model.named_parameters())
    emissions = {name: value for name, value in own.items() if name.startswith("emissions.")}
    given = {
        name: (MEANS if "mean" in name else VARIANCES if "covariance" in name else [[1.0], [1.0]])
        for name in emissions
    }
    model.assign(named(model, START, TRANSITION, given))
    return model.eval()


def named(model: HMM, start, transition, emissions) -> dict[str, torch.Tensor]:
    own = dict(model.named_parameters())
    given = {"start": start, "transition": transition, **emissions}
    return {
        name: torch.tensor(value, dtype=own[name].dtype).reshape(own[name].shape)
        for name, value in given.items()
    }


def densities(frames: np.ndarray) -> np.ndarray:
    """P(frame | state), (T, 2), for symbols (T,) or numbers (T, 2) as the network takes them."""
    if frames.ndim == 1:
        return np.array(EMISSION).T[frames]
    mean, variance = np.array(MEANS), np.array(VARIANCES)
    each = np.exp(-((frames[:, None] - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    return each.prod(2)


def paths(frames: np.ndarray) -> dict[tuple[int, ...], float]:
    """P(path, frames) of every path of states."""
    emitted, found = densities(frames), {}
    for path in itertools.product(range(2), repeat=len(frames)):
        probability = START[path[0]] * emitted[0, path[0]]
        for time in range(1, len(frames)):
            probability *= TRANSITION[path[time - 1]][path[time]] * emitted[time, path[time]]
        found[path] = float(probability)
    return found


def log_likelihood(frames: np.ndarray) -> float:
    """ln P(frames), in nats; minus infinity where no path can be."""
    total = math.fsum(paths(frames).values())
    return math.log(total) if total else -math.inf


def folder(path: Path, network: HMM, form: Format) -> Path:
    """A model as a run leaves it."""
    path.mkdir(parents=True, exist_ok=True)
    save(network, path / "model.safetensors", family="hmm", plugin="zoo-classic", config=network.config)
    form.write(path / FILE)
    return path
