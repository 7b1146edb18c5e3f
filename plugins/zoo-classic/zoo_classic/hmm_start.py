"""Where a fit starts: which transitions are allowed, and first parameters found in the data, the best of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from zoo.datasets.material import Passes
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
def begin(model: HMM, data: Passes, noise: Noise) -> None:
    """Give the model the likeliest of `config.restarts` starts, each after `config.restart_steps` iterations."""
    restarts = model.config.restarts
    best: tuple[float, dict[str, torch.Tensor]] | None = None
    for number in range(restarts):
        _begin_once(model, data, noise, number)
        if restarts == 1:
            return
        passes = model.passes(data, model.emissions.shift().clone())
        for _ in range(model.config.restart_steps):
            reached = model.improve(passes)["log_likelihood"]
        if best is None or reached > best[0]:
            best = reached, {name: value.clone() for name, value in model.state_dict().items()}
    assert best is not None  # restarts is at least 1
    model.load_state_dict(best[1])


def _begin_once(model: HMM, data: Passes, noise: Noise, number: int) -> None:
    """One start: emissions from clusters of frames, or from equal parts of each sequence where states go in order."""
    config = model.config
    own = Noise(noise.seed, noise.start + number)
    packed = _some(data, noise, model.start.device)
    if config.transitions == "left-to-right":
        model.emissions.begin_from(packed, _parts(packed, config.states), own)
    else:
        model.emissions.begin(packed, own)
    uniform = own.rows(1, "hmm transitions").uniform(config.states, config.states)[0]
    weights = allowed_transitions(config).double() * (1 + uniform)
    model.transition.copy_(weights / weights.sum(1, keepdim=True))
    model.start.copy_(allowed_start(config))


def _some(data: Passes, noise: Noise, device: torch.device) -> Packed:
    """Some sequences of the data, the same in every process."""
    batch = data.some(_SEQUENCES, noise)
    values, lengths = checked(batch)
    values = values.to(device)
    fits = int((lengths.cumsum(0) <= _FRAMES).sum())
    count = max(1, fits)
    lengths = lengths[:count]
    longest = int(lengths.max())
    rows = torch.arange(count, device=values.device)
    return pack(values[:count, :longest], lengths, rows, origin=batch.get("origin"))


def _parts(packed: Packed, states: int) -> torch.Tensor:
    """Each sequence cut into `states` parts of equal length: the part of each frame, (N,)."""
    lengths = torch.bincount(packed.owner, minlength=packed.sequences)
    return packed.time() * states // lengths[packed.owner]
