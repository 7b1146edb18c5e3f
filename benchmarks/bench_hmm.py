"""Baum-Welch of the zoo's HMM against hmmlearn's two implementations, in seconds.

16 states, 200 sequences of 500 frames, 10 iterations from the same start: diagonal Gaussians over 13 columns, and 32
symbols. Every engine runs in a process of its own, in rounds that alternate between them; ratios are medians over
rounds. Targets: 2.5 times hmmlearn's "scaling" and 10 times its "log" in float64, 6 times "scaling" in float32;
categorical 2 times "scaling". With --ragged, lengths are drawn between 50 and 950. With --one, one sequence of all.
Then one sequence is scored, smoothed and decoded: see hmm_queries.py; --only chooses between the two.

For a fair peer, OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are unset.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import hmm_queries

STATES, COLUMNS, SYMBOLS, SEQUENCES, FRAMES, ITERATIONS = 16, 13, 32, 200, 500, 10
ENGINES = ("scaling", "log", "float64", "float32")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round instead of three")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ragged", action="store_true", help="sequences of unequal length")
    parser.add_argument("--one", action="store_true", help="one sequence of 100,000 frames")
    parser.add_argument("--emissions", nargs="+", default=["gaussian", "categorical"])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--only", choices=("fits", "queries"), default="", help="one of the two parts")
    parser.add_argument("--engine", help=argparse.SUPPRESS)  # of a child process
    parser.add_argument("--device", default="cpu", help="of the zoo's engines")
    arguments = parser.parse_args()
    if arguments.engine:
        measure(arguments.engine, arguments.emissions[0], arguments)
        return
    for emissions in arguments.emissions if arguments.only != "queries" else ():
        compare(emissions, arguments)
    for emissions in arguments.emissions if arguments.only != "fits" else ():
        hmm_queries.compare(emissions, 1 if arguments.quick else arguments.rounds)


def compare(emissions: str, arguments: argparse.Namespace) -> None:
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in arguments.engines}
    for _ in range(1 if arguments.quick else arguments.rounds):
        for engine in arguments.engines:
            found[engine].append(child(engine, emissions, arguments))
    print(f"\n{emissions}, {STATES} states, {ITERATIONS} iterations, {arguments.threads} threads")
    for engine, told in found.items():
        seconds = [one["seconds"] for one in told]
        print(
            f"  {engine:8} {statistics.median(seconds):7.2f} s (best {min(seconds):.2f}), "
            f"peak {max(one['peak_mb'] for one in told):.0f} MB, log-likelihood {told[-1]['last']:.9g}"
        )
    for own in ("float64", "float32"):
        for other in ("scaling", "log"):
            if own in found and other in found:
                ratios = [b["seconds"] / a["seconds"] for a, b in zip(found[own], found[other], strict=True)]
                print(
                    f"  {own} / hmmlearn {other}: speed {statistics.median(ratios):.2f} "
                    f"({min(ratios):.2f} to {max(ratios):.2f})"
                )


def child(engine: str, emissions: str, arguments: argparse.Namespace) -> dict[str, float]:
    words = ["--engine", engine, "--emissions", emissions, "--threads", str(arguments.threads)]
    words += ["--device", arguments.device]
    words += ["--ragged"] * arguments.ragged + ["--one"] * arguments.one
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def measure(engine: str, emissions: str, arguments: argparse.Namespace) -> None:
    """Fit, and print seconds and memory as JSON. last: the log-likelihood before the last iteration."""
    frames, lengths = data(emissions, arguments)
    if engine in ("scaling", "log"):
        seconds, last = hmmlearn(engine, emissions, frames, lengths)
    else:
        seconds, last = zoo(engine, emissions, frames, lengths, arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "last": last}))


def data(emissions: str, arguments: argparse.Namespace) -> tuple[Any, list[int]]:
    """Frames of all sequences, (N, D) or (N, 1), and the lengths: states that last about ten frames each."""
    import numpy as np

    random = np.random.default_rng(0)
    total = SEQUENCES * FRAMES
    lengths = [total] if arguments.one else [FRAMES] * SEQUENCES
    if arguments.ragged:
        lengths = random.integers(50, 951, SEQUENCES).tolist()
    total = sum(lengths)
    states = random.integers(0, STATES, total // 10 + 1).repeat(10)[:total]
    if emissions == "categorical":
        table = random.dirichlet(np.full(SYMBOLS, 0.3), STATES).cumsum(1)
        drawn = (table[states] < random.random((total, 1))).sum(1)
        return np.minimum(drawn, SYMBOLS - 1)[:, None], lengths
    means = random.normal(scale=1.5, size=(STATES, COLUMNS))
    return means[states] + random.normal(size=(total, COLUMNS)), lengths


def start(emissions: str, frames: Any) -> dict[str, Any]:
    import numpy as np

    random = np.random.default_rng(1)
    transition = random.dirichlet(np.ones(STATES), STATES) + np.eye(STATES)
    found = {
        "start": np.full(STATES, 1 / STATES),
        "transition": transition / transition.sum(1, keepdims=True),
    }
    if emissions == "categorical":
        return found | {"probabilities": random.dirichlet(np.ones(SYMBOLS), STATES)}
    return found | {
        "means": frames[random.permutation(len(frames))[:STATES]],
        "covariances": np.ones((STATES, COLUMNS)),
    }


def hmmlearn(implementation: str, emissions: str, frames: Any, lengths: list[int]) -> tuple[float, float]:
    import numpy as np
    from hmmlearn import hmm

    first = start(emissions, frames)
    common = {"n_iter": ITERATIONS, "tol": -np.inf, "init_params": "", "implementation": implementation}
    if emissions == "categorical":
        model = hmm.CategoricalHMM(STATES, n_features=SYMBOLS, **common)
        model.emissionprob_ = first["probabilities"]
    else:
        model = hmm.GaussianHMM(STATES, "diag", **common)
        model.means_, model.covars_ = first["means"], first["covariances"]
    model.startprob_, model.transmat_ = first["start"], first["transition"]
    began = time.perf_counter()
    model.fit(frames, lengths)
    return time.perf_counter() - began, model.monitor_.history[-1]


def zoo(
    precision: str, emissions: str, frames: Any, lengths: list[int], arguments: argparse.Namespace
) -> tuple[float, float]:
    import torch

    from zoo.noise import Noise

    torch.set_num_threads(arguments.threads)
    model = network(precision, emissions, frames).to(arguments.device)
    passes = Sequences(frames, lengths, getattr(torch, precision), arguments.device)
    steps = model.fit(passes, Noise(0), {})
    began = time.perf_counter()
    for _ in range(ITERATIONS):
        told = next(steps)
    if arguments.device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - began, told["log_likelihood"] * len(lengths)


def network(precision: str, emissions: str, frames: Any) -> Any:
    import torch

    from zoo_classic.hmm import HMM
    from zoo_classic.hmm_config import HMMConfig

    first = {name: torch.as_tensor(value) for name, value in start(emissions, frames).items()}
    tensors = {"start": first["start"], "transition": first["transition"]}
    if emissions == "categorical":
        config = HMMConfig(states=STATES, emissions="categorical", symbols=SYMBOLS, precision=precision)
        tensors["emissions.probabilities"] = first["probabilities"]
    else:
        config = HMMConfig(states=STATES, columns=COLUMNS, covariance_prior=0.01, precision=precision)
        tensors["emissions.means"] = first["means"][:, None]
        tensors["emissions.covariances"] = first["covariances"][:, None]
        tensors["emissions.weights"] = torch.ones(STATES, 1)  # all of them: else the fit starts from the data
    model = HMM(config)
    model.assign(tensors)
    return model


class Sequences:
    """`zoo.datasets.material.Passes` over sequences in memory, in one process."""

    fingerprint = ""

    def __init__(self, frames: Any, lengths: list[int], dtype: Any, device: str) -> None:
        import torch

        tensor = torch.as_tensor(frames)
        tensor = tensor.to(dtype) if tensor.is_floating_point() else tensor
        parts = tensor.split(lengths)
        values = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True).to(device)
        self._whole = {"values": values, "lengths": torch.tensor(lengths)}
        self.rows = len(lengths)

    def batches(self, size: int) -> Iterator[dict[str, Any]]:
        for at in range(0, self.rows, size):
            yield {name: tensor[at : at + size] for name, tensor in self._whole.items()}

    def some(self, count: int, noise: Any) -> dict[str, Any]:
        del noise  # the fit does not start from the data
        return {name: tensor[:count] for name, tensor in self._whole.items()}

    def total(self, value: Any) -> Any:
        return value


if __name__ == "__main__":
    main()
