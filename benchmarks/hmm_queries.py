"""One sequence scored, smoothed and decoded by the zoo and by hmmlearn: turns in one process, one thread each.

Both have the same parameters: 3 or 16 states, whose transitions are dense or allow a step to either side only;
diagonal Gaussians over 13 columns, or 32 symbols. hmmlearn's implementation is "scaling", the faster. Targets: at
most 1.5 times its time from 1,000 frames on; scoring 30 frames at most twice.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

COLUMNS, SYMBOLS = 13, 32
FRAMES = (30, 1_000, 20_000, 100_000)
_SECONDS = 0.5  # that each of the two is measured for at least, in rounds


def compare(emissions: str, rounds: int) -> None:
    """Print a table: hmmlearn's milliseconds, ours, and the ratio of medians, for score, posterior and path."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    print(f"\n{emissions}, one sequence, one thread: ms of hmmlearn, of the zoo, and zoo / hmmlearn")
    print(f"  {'states':>6} {'transitions':11} {'frames':>7}" + "".join(f"{name:>27}" for name in _QUERIES))
    with threadpool_limits(1):
        for states in (3, 16):
            for zeros in (False, True):
                for frames in FRAMES:
                    cells = [_cell(*pair, rounds) for pair in _pairs(emissions, states, zeros, frames)]
                    kind = "zeros" if zeros else "dense"
                    print(f"  {states:6} {kind:11} {frames:7,}" + "".join(cells), flush=True)


_QUERIES = ("score", "posterior", "Viterbi")
_Query = Callable[[], Any]


def _cell(theirs: _Query, ours: _Query, rounds: int) -> str:
    """As many rounds as half a second holds, and at least `rounds`."""
    found: list[tuple[float, float]] = []
    while len(found) < rounds or sum(map(sum, found)) < 2 * _SECONDS:
        found.append((_seconds(theirs), _seconds(ours)))
    peer, own = (statistics.median(times) for times in zip(*found, strict=True))
    return f"{1e3 * peer:10.3f} {1e3 * own:8.3f} {own / peer:7.2f}"


def _seconds(query: _Query) -> float:
    began = time.perf_counter()
    query()
    return time.perf_counter() - began


def _pairs(emissions: str, states: int, zeros: bool, frames: int) -> list[tuple[_Query, _Query]]:
    """(theirs, ours) of each query, after both have given the same."""
    import numpy as np
    import torch

    from zoo_classic.hmmlearn_conversion import from_hmmlearn

    peer = _estimator(emissions, states, zeros)
    sequence, _ = peer.sample(frames, random_state=1)
    model = from_hmmlearn(peer)
    values = torch.as_tensor(sequence)
    values = values if emissions == "gaussian" else values[:, 0]
    batch = {"values": values[None], "lengths": torch.tensor([frames])}
    score, posterior = peer.score_samples(sequence)
    np.testing.assert_allclose(model.log_prob(batch)[0], score, rtol=1e-9)
    np.testing.assert_allclose(model.posterior(batch)[0], posterior, atol=1e-9)
    log_probability, path = peer.decode(sequence)
    paths, value = model.viterbi(batch)
    np.testing.assert_allclose(value[0], log_probability, rtol=1e-9)
    np.testing.assert_array_equal(paths[0], path)
    return [
        (lambda: peer.score(sequence), lambda: model.log_prob(batch)),
        (lambda: peer.score_samples(sequence), lambda: model.posterior(batch)),
        (lambda: peer.decode(sequence), lambda: model.viterbi(batch)),
    ]


def _estimator(emissions: str, states: int, zeros: bool) -> Any:
    import numpy as np
    from hmmlearn import hmm

    random = np.random.default_rng(0)
    transition = random.dirichlet(np.ones(states), states) + 3 * np.eye(states)
    if zeros:
        apart = np.abs(np.subtract.outer(np.arange(states), np.arange(states)))
        transition *= apart <= 1
    if emissions == "gaussian":
        model = hmm.GaussianHMM(states, "diag", implementation="scaling")
        model.means_ = random.normal(scale=1.5, size=(states, COLUMNS))
        model.covars_ = np.ones((states, COLUMNS))
    else:
        model = hmm.CategoricalHMM(states, implementation="scaling", n_features=SYMBOLS)
        model.emissionprob_ = random.dirichlet(np.full(SYMBOLS, 0.3), states)
    model.startprob_ = np.full(states, 1 / states)
    model.transmat_ = transition / transition.sum(1, keepdims=True)
    return model
