"""Gaussian mixtures: expectation maximisation against scikit-learn's, and the cost of more rows by mini-batches.

Full covariance, 200,000 rows of 16 columns, 16 components, 20 iterations from one start; each in a process of its
own, alternating; the time of the fit alone, the peak memory of the whole process. Targets: 2.5 times the speed of
scikit-learn (in float64) in float64 and 4 times in float32, with at most 1.5 times its memory. Then one pass of
mini-batches over files of up to 5 million rows: time by row and memory must not grow. Drawing 10,000 rows against
numpy's, component by component, in one process and one thread (target: at most 3 times its time). With --device,
iterations over 5 million rows there against the CPU (target: 20 times the speed).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROWS, COLUMNS, COMPONENTS, ITERATIONS, BATCH = 200_000, 16, 16, 20, 20_000
MANY = 5_000_000
TARGETS = {"float64": 2.5, "float32": 4.0}
DRAWN, SHAPES = 10_000, ((1, 2), (2, 3), (4, 8), (16, 16), (64, 16))  # columns and components


def rows(count: int, seed: int = 1) -> np.ndarray:
    """Rows of overlapping clusters, (count, COLUMNS) float64."""
    shapes = np.eye(COLUMNS) + np.random.default_rng(0).normal(size=(COMPONENTS, COLUMNS, COLUMNS)) / 8
    centres = np.random.default_rng(0).normal(size=(COMPONENTS, COLUMNS)) * 2
    rng = np.random.default_rng(seed)
    which = rng.integers(COMPONENTS, size=count)
    found = rng.normal(size=(count, COLUMNS))
    for component in range(COMPONENTS):
        mine = which == component
        found[mine] = centres[component] + found[mine] @ shapes[component]
    return found


def start(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, covariances and weights that both begin with."""
    covariances = np.repeat(np.cov(x[:10_000].T)[None], COMPONENTS, axis=0)
    return x[:COMPONENTS], covariances, np.full(COMPONENTS, 1 / COMPONENTS)


def peer(precision: str) -> dict[str, Any]:
    """scikit-learn's fit, which ends with one more expectation step."""
    import warnings

    from sklearn.mixture import GaussianMixture

    warnings.simplefilter("ignore")  # that it has not converged
    x = rows(ROWS)
    means, covariances, weights = start(x)
    model = GaussianMixture(
        COMPONENTS,
        weights_init=weights,
        means_init=means,
        precisions_init=np.linalg.inv(covariances),
        max_iter=ITERATIONS,
        tol=0,
    )
    x = x.astype(precision)
    began = time.perf_counter()
    model.fit(x)
    return {"seconds": time.perf_counter() - began, "log_likelihood": float(model.lower_bound_)}


def own(precision: str) -> dict[str, Any]:
    """The zoo's fit."""
    import torch

    from zoo.noise import Noise
    from zoo_classic.gmm import build
    from zoo_classic.gmm_config import GMMConfig
    from zoo_classic.passes import TensorPasses

    x = rows(ROWS)
    model = build(GMMConfig(COLUMNS, COMPONENTS, precision=precision, regularisation=1e-6))
    model.start(*(torch.from_numpy(value) for value in start(x)))
    x = x.astype(precision)
    data = TensorPasses(torch.from_numpy(x))
    began = time.perf_counter()
    for step in itertools.islice(model.fit(data, Noise(0), {}), ITERATIONS):
        log_likelihood = step["log_likelihood"]
    return {"seconds": time.perf_counter() - began, "log_likelihood": log_likelihood}


def one_pass(path: str) -> dict[str, Any]:
    """A run of `zoo train` over an .npy file: one pass of mini-batches, after a start by k-means++ on rows drawn.

    reading: until the run begins, in which the file is gone through to see that all is finite, and to be hashed.
    """
    from zoo.training import run
    from zoo.training.recipe import Recipe

    config = {"components": COMPONENTS, "batch_rows": BATCH, "start_rows": BATCH}
    plan = {"epochs": 1, "until_converged": False, "checkpoint_every": 0, "evaluate_every": 0}
    with tempfile.TemporaryDirectory() as folder, watched() as memory:
        began = time.perf_counter()
        wanted = Recipe("gmm", config, path, {"held_out_share": 0.0}, plan)
        begun = run.begin(wanted, Path(folder) / "run", device="cpu")
        reading = time.perf_counter() - began
        times = [(step.seconds, step.loss) for step in run.steps(begun)]
    seconds = times[-1][0] - times[0][0]  # the first step finds the start
    return {
        "reading": reading,
        "seconds": seconds * len(times) / (len(times) - 1),
        "log_likelihood": times[-1][1],
        "own": memory[0],
    }


@contextmanager
def watched() -> Iterator[list[float]]:
    """The most memory of the process's own while it is open, MB, looked at every 5 ms.

    Pages of a mapped file are not its own: the system keeps them while nobody else needs the room.
    """
    found, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(0.005):
            found[0] = max(found[0], memory("RssAnon"))

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield found
    finally:
        ended.set()
        watching.join()


def on_device(device: str, precision: str) -> dict[str, Any]:
    """Five iterations over 5 million rows on a device, in seconds an iteration; the first one is not counted."""
    import torch

    from zoo.noise import Noise
    from zoo_classic.gmm import build
    from zoo_classic.gmm_config import GMMConfig
    from zoo_classic.passes import TensorPasses

    x = rows(MANY)
    model = build(GMMConfig(COLUMNS, COMPONENTS, precision=precision, regularisation=1e-6))
    model.start(*(torch.from_numpy(value) for value in start(x)))
    data = TensorPasses(torch.from_numpy(x.astype(precision)).to(device))
    steps = model.to(device).fit(data, Noise(0), {})
    next(steps)
    began = time.perf_counter()
    for step in itertools.islice(steps, 5):
        log_likelihood = step["log_likelihood"]
    return {"seconds": (time.perf_counter() - began) / 5, "log_likelihood": log_likelihood}


def drawing(rounds: int) -> dict[str, Any]:
    """Seconds that each takes to draw `DRAWN` rows of mixtures of `SHAPES`, the best of rounds by turns."""
    import torch

    from zoo.datasets.table_columns import numbered, unscaled
    from zoo.modality.table_model import TableModel
    from zoo_classic import plugin
    from zoo_classic.gmm import build
    from zoo_classic.gmm_config import GMMConfig

    torch.set_num_threads(1)
    family = next(family for family in plugin.zoo_families() if family.name == "gmm")
    rng, found = np.random.default_rng(0), {}
    for columns, components in SHAPES:
        factors = np.eye(columns) + rng.normal(size=(components, columns, columns)) / 8
        means, covariances = rng.normal(size=(components, columns)), factors @ factors.transpose(0, 2, 1)
        weights = rng.dirichlet(np.full(components, 4.0))
        network = build(config := GMMConfig(columns, components))
        network.start(*map(torch.from_numpy, (means, covariances, weights)))
        model = TableModel("mixture", family, config, network, {}, layout=unscaled(numbered(columns)))

        def peers(
            seed: int, means: Any = means, covariances: Any = covariances, weights: Any = weights
        ) -> Any:
            own = np.random.default_rng(seed)
            counts = own.multinomial(DRAWN, weights).tolist()
            each = zip(means, covariances, counts, strict=True)
            return np.concatenate([own.multivariate_normal(m, c, size=n) for m, c, n in each])

        times: list[tuple[float, float]] = []
        for seed in range(rounds + 1):  # the first one warms up
            began = time.perf_counter()
            drawn = model.draw(DRAWN, seed=seed).values
            middle = time.perf_counter()
            theirs = peers(seed)
            times.append((middle - began, time.perf_counter() - middle))
            assert drawn.shape == theirs.shape
        found[f"{columns} columns, {components} components"] = [
            min(column) for column in zip(*times[1:], strict=True)
        ]
    return found


def compare_drawing(rounds: int) -> None:
    print(f"\ndrawing {DRAWN:,} rows, full covariance, one thread\n")
    print("                               ms    numpy ms   ratio (target: at most 3)")
    for name, (own_time, their_time) in measured("drawing", str(rounds))["shapes"].items():
        print(f"{name:26}{own_time * 1e3:8.2f}{their_time * 1e3:12.2f}{own_time / their_time:8.2f}")


def measured(*arguments: str) -> dict[str, Any]:
    """What this script answers in a process of its own, with its peak memory in MB."""
    program = [sys.executable, __file__, "--one", *arguments]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"} if arguments[0] == "drawing" else None
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=alone)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def memory(name: str) -> float:
    """What the system says of this process's memory, MB: VmHWM is its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(name))


def compare(rounds: int) -> None:
    names = ("scikit-learn", "scikit-learn float32", *TARGETS)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(measured(name))
    print(f"{ROWS:,} x {COLUMNS}, {COMPONENTS} components, full covariance, {ITERATIONS} iterations\n")
    print("                        seconds  peak MB   mean log-likelihood")
    for name in names:
        seconds = statistics.median(one["seconds"] for one in found[name])
        memory = max(one["peak"] for one in found[name])
        print(f"{name:22}{seconds:9.2f}{memory:9.0f}   {found[name][0]['log_likelihood']:.9f}")
    for name, target in TARGETS.items():
        pairs = list(zip(found["scikit-learn"], found[name], strict=True))
        speed = statistics.median(theirs["seconds"] / mine["seconds"] for theirs, mine in pairs)
        memory = statistics.median(mine["peak"] / theirs["peak"] for theirs, mine in pairs)
        print(
            f"{name}: {speed:.1f} times the speed (target {target}), {memory:.2f} times the memory (target 1.5)"
        )


def curve(most: int) -> None:
    print(f"\none pass in mini-batches of {BATCH:,} over an .npy file, float64\n")
    print("     rows   file MB   reading s   pass s   us/row   own memory MB")
    with tempfile.TemporaryDirectory() as folder:
        for count in (200_000, 500_000, 1_000_000, 2_000_000, MANY):
            if count > most:
                break
            path = Path(folder) / "rows.npy"
            file = np.lib.format.open_memmap(path, "w+", np.float64, (count, COLUMNS))
            for at in range(0, count, 100_000):
                file[at : at + 100_000] = rows(100_000, seed=at)
            file.flush()
            del file
            one = measured("curve", str(path))
            print(
                f"{count:9,}{path.stat().st_size / 1e6:10.0f}{one['reading']:12.2f}{one['seconds']:9.2f}"
                f"{one['seconds'] / count * 1e6:9.2f}{one['own']:16.0f}"
            )


def compare_devices(device: str) -> None:
    print(f"{MANY:,} x {COLUMNS}, {COMPONENTS} components, full covariance, seconds an iteration")
    for precision in TARGETS:
        cpu, other = (measured("device", name, precision) for name in ("cpu", device))
        print(
            f"{precision}: cpu {cpu['seconds']:.2f}, {device} {other['seconds']:.3f}: "
            f"{cpu['seconds'] / other['seconds']:.1f} times (target 20); log-likelihoods "
            f"{cpu['log_likelihood']:.9f}, {other['log_likelihood']:.9f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round, and files of up to a million rows")
    parser.add_argument("--device", help="compare this device, such as cuda, with the CPU instead")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        name, *rest = asked.one
        if name == "curve":
            found = one_pass(*rest)
        elif name == "device":
            found = on_device(*rest)
        elif name == "drawing":
            found = {"shapes": drawing(int(*rest))}
        elif name in TARGETS:
            found = own(name)
        else:
            found = peer("float32" if name.endswith("float32") else "float64")
        print(json.dumps(found | {"peak": memory("VmHWM")}))
        return
    if asked.device:
        compare_devices(asked.device)
        return
    compare(1 if asked.quick else 3)
    curve(1_000_000 if asked.quick else MANY)
    compare_drawing(20 if asked.quick else 100)


if __name__ == "__main__":
    main()
