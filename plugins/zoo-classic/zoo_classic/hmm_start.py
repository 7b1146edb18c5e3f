"""Where a fit starts: which transitions are allowed, and first parameters found in the data, the best of several."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from zoo.datasets.material import Passes
from zoo.errors import ZooWarning
from zoo.noise import Noise
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.packed import Packed, checked, pack

if TYPE_CHECKING:
    from zoo_classic.hmm import HMM

_SEQUENCES = 512  # that first parameters are found in
_FRAMES = 100_000  # of these, at most, in whole sequences, but for the first


def allowed_start(config: HMMConfig) -> torch.Tensor:
    """(S,) equal probabilities of the states that may come first."""
    start = torch.ones(config.states, dtype=torch.float64)
    if config.transitions == "left-to-right":
        start[1:] = 0
    return start / start.sum()


def allowed_transitions(config: HMMConfig) -> torch.Tensor:
    """(S, S) which changes of state the config allows."""
    if config.mask:
        return torch.tensor([[mark == "1" for mark in row] for row in config.mask])
    everything = torch.ones(config.states, config.states, dtype=torch.bool)
    return everything.triu().tril(1) if config.transitions == "left-to-right" else everything


@torch.no_grad()
def begin(model: HMM, data: Passes, packed: Packed, variance: torch.Tensor, noise: Noise) -> None:
    """Give the model the likeliest of `config.restarts` starts, each after `config.restart_steps` iterations.

    packed: some sequences of the data, see `some`. variance: of its columns, see `zoo_classic.emissions`.
    """
    restarts = model.config.restarts
    best: tuple[float, dict[str, torch.Tensor]] | None = None
    for number in range(restarts):
        _begin_once(model, packed, Noise(noise.seed, noise.start + number))
        if restarts == 1:
            return
        passes = model.passes(data, model.emissions.shift().clone(), variance)
        for _ in range(model.config.restart_steps):
            reached = model.improve(passes)["log_likelihood"]
        if best is None or reached > best[0]:
            best = reached, {name: value.clone() for name, value in model.state_dict().items()}
    assert best is not None  # restarts is at least 1
    model.load_state_dict(best[1])


@torch.no_grad()
def complete(model: HMM, packed: Packed, noise: Noise) -> None:
    """Find in some sequences what a person did not assign of the emissions; see `HMM.assign`."""
    own = dict(model.emissions.named_parameters())
    kept = {name: own[name].clone() for name in own if f"emissions.{name}" in model.assigned}
    if model.assigned and len(kept) < len(own):
        _begin_emissions(model, packed, noise)
        for name, value in kept.items():
            own[name].copy_(value)


def _begin_once(model: HMM, packed: Packed, noise: Noise) -> None:
    config = model.config
    _begin_emissions(model, packed, noise)
    uniform = noise.rows(1, "hmm transitions").uniform(config.states, config.states)[0]
    weights = allowed_transitions(config).double() * (1 + uniform)
    model.transition.copy_(weights / weights.sum(1, keepdim=True))
    model.start.copy_(allowed_start(config))


def _begin_emissions(model: HMM, packed: Packed, noise: Noise) -> None:
    """From clusters of frames, or from equal parts of each sequence where states go in order."""
    if model.config.transitions == "left-to-right":
        model.emissions.begin_from(packed, _parts(packed, model.config.states), noise)
    else:
        model.emissions.begin(packed, noise)


def warn_of_few(model: HMM, data: Passes, packed: Packed) -> None:
    """Warn of fewer frames than a covariance has numbers. packed: of `some`, which may be all."""
    config = model.config
    matrices = {"full": config.states * config.mixtures, "tied": 1}.get(config.covariance, 0)
    if config.emissions != "gaussian" or not matrices or packed.sequences < data.rows:
        return
    frames, numbers = len(packed.frames), config.columns * (config.columns + 1) // 2
    if frames < numbers * matrices:
        each = f", {frames // matrices} for each of {matrices} Gaussians," if matrices > 1 else ""
        warnings.warn(
            f"{frames:,} frames{each} are fewer than the {numbers:,} numbers of a {config.covariance} covariance of "
            f"{config.columns} columns: what they leave open, the prior decides; config.covariance=diagonal has "
            f"{config.columns} numbers",
            ZooWarning,
            stacklevel=4,
        )


def some(data: Passes, noise: Noise, device: torch.device) -> Packed:
    """Some sequences of the data, the same in every process."""
    batch = data.some(_SEQUENCES, noise)
    values, lengths = checked(batch)
    values, lengths = values.to(device), lengths.cpu()
    fits = int((lengths.cumsum(0) <= _FRAMES).sum())
    count = max(1, fits)
    lengths = lengths[:count]
    longest = int(lengths.max())
    return pack(values[:count, :longest], lengths, origin=batch.get("origin"))


def _parts(packed: Packed, states: int) -> torch.Tensor:
    """Each sequence cut into `states` parts of equal length: the part of each frame, (N,)."""
    parts = packed.time() * states // torch.tensor(packed.lengths)[packed.owner()]
    return parts.to(packed.frames.device)
