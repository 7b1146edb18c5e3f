"""Gaussian mixtures: expectation maximisation against scikit-learn's, and the cost of more rows by mini-batches.

Full covariance, 200,000 rows of 16 columns, 16 components, 20 iterations from one start; each in a process of its
own, alternating; the time of the fit alone, the peak memory of the whole process. Targets: 2.5 times the speed of
scikit-learn (in float64) in float64 and 4 times in float32, with at most 1.5 times its memory. Then one pass of
mini-batches over files of up to 5 million rows: time by row and peak memory must not grow.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROWS, COLUMNS, COMPONENTS, ITERATIONS, BATCH = 200_000, 16, 16, 20, 20_000
TARGETS = {"float64": 2.5, "float32": 4.0}


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
    model = build(GMMConfig(COLUMNS, COMPONENTS, precision=precision))
    model.start(*(torch.from_numpy(value) for value in start(x)))
    x = x.astype(precision)
    data = TensorPasses(torch.from_numpy(x))
    began = time.perf_counter()
    for step in itertools.islice(model.fit(data, Noise(0), {}), ITERATIONS):
        log_likelihood = step["log_likelihood"]
    return {"seconds": time.perf_counter() - began, "log_likelihood": log_likelihood}


class FileRows:
    """Rows of a file of float64 values as `zoo.datasets.material.Passes`; never more than a batch in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = path.stat().st_size // (8 * COLUMNS)
        self.fingerprint = hashlib.sha256(
            str(self.rows).encode()
        ).hexdigest()  # the rows follow from their number

    def batches(self, size: int) -> Iterator[Any]:
        import torch

        with self._path.open("rb", buffering=0) as file:
            while len(values := np.fromfile(file, np.float64, size * COLUMNS)):
                yield torch.from_numpy(values.reshape(-1, COLUMNS))

    def some(self, count: int, noise: Any) -> Any:
        import torch

        # a row drawn twice counts once, so nothing here is as long as the file
        chosen = (noise.rows(1, "some").uniform(count)[0] * self.rows).long().unique()
        with self._path.open("rb", buffering=0) as file:
            found = np.empty((len(chosen), COLUMNS))
            for place, row in enumerate(chosen.tolist()):
                file.seek(row * COLUMNS * 8)
                file.readinto(found[place].data)
        return torch.from_numpy(found)

    def total(self, value: Any) -> Any:
        return value


def one_pass(path: str) -> dict[str, Any]:
    """One pass of mini-batches over a file, from a start by k-means++ on rows drawn from it."""
    from zoo.noise import Noise
    from zoo_classic.gmm import build
    from zoo_classic.gmm_config import GMMConfig

    data = FileRows(Path(path))
    model = build(GMMConfig(COLUMNS, COMPONENTS, batch_rows=BATCH, start_rows=BATCH))
    steps = model.fit(data, Noise(0), {})
    next(steps)
    began = time.perf_counter()
    for step in itertools.islice(steps, data.rows // BATCH - 1):
        log_likelihood = step["log_likelihood"]
    return {"seconds": time.perf_counter() - began, "log_likelihood": log_likelihood}


def measured(*arguments: str) -> dict[str, Any]:
    """What this script answers in a process of its own, with its peak memory in MB."""
    program = [sys.executable, __file__, "--one", *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peak() -> float:
    """The peak memory of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))


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
    print(f"\none pass in mini-batches of {BATCH:,}, float64\n\n     rows   seconds   us/row  peak MB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        written = 0
        for count in (200_000, 500_000, 1_000_000, 2_000_000, 5_000_000):
            if count > most:
                break
            with path.open("ab") as file:
                while written < count:
                    rows(100_000, seed=written).tofile(file)
                    written += 100_000
            one = measured("curve", str(path))
            print(f"{count:9,}{one['seconds']:10.2f}{one['seconds'] / count * 1e6:9.2f}{one['peak']:9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round, and files of up to a million rows")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        name, *rest = asked.one
        if name == "curve":
            found = one_pass(*rest)
        elif name in TARGETS:
            found = own(name)
        else:
            found = peer("float32" if name.endswith("float32") else "float64")
        print(json.dumps(found | {"peak": peak()}))
        return
    compare(1 if asked.quick else 3)
    curve(1_000_000 if asked.quick else 5_000_000)


if __name__ == "__main__":
    main()
