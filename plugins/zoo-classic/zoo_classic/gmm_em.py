"""The two steps of expectation maximisation on a Gaussian mixture: a pass over rows, and new parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from zoo.datasets.material import Passes
from zoo.errors import DataError
from zoo.noise import Noise
from zoo_classic.gaussians import kept_apart, not_finite, not_positive
from zoo_classic.gmm_expectation import Expectation, Scaling
from zoo_classic.gmm_moments import Moments
from zoo_classic.parallel import threads
from zoo_classic.passes import parts

if TYPE_CHECKING:
    from zoo_classic.gmm import GMM

_VALUES_READ = 2**20
_MOST_ROWS_READ = 65_536
_EMPTY = 1e-3  # of a row: a component with less weight explains nothing
MOST_BEGINNINGS = 3  # of a component in a fit; the data has nothing for one that fails again


def whole(model: GMM, data: Passes, scaling: Scaling) -> tuple[float, Moments]:
    """One pass over all rows: their mean log-likelihood in nats, and their moments, scaled."""
    expected = expectation(model, scaling)
    at_once = max(64, min(_MOST_ROWS_READ, _VALUES_READ // model.config.columns))
    with threads() as each:
        for batch in data.batches(at_once):
            expected.add(*parts(batch), each)
    return outcome(expected, data, scaling)


def expectation(model: GMM, scaling: Scaling) -> Expectation:
    """What gathers rows under the present parameters."""
    kind, number = model.config.covariance, getattr(torch, model.config.precision)
    ready = scaling.gaussians(model.weights, model.means, model.covariances, kind)
    return Expectation(ready, "diagonal" if kind == "spherical" else kind, number, scaling)


def outcome(expected: Expectation, data: Passes, scaling: Scaling) -> tuple[float, Moments]:
    """What all processes gathered: the mean log-likelihood of its rows in nats, and their moments, scaled."""
    expected.total(data.total)
    if not expected.rows > 0:
        raise DataError(f"the data ended before all its {data.rows} {data.unit} had come: did it change?")
    if expected.weight == 0:
        raise DataError(
            "the rows of a step have no weight at all", hint="leave out the rows that have no weight"
        )
    log_likelihood = float(expected.log_likelihood / expected.weight - scaling.scale.log().sum())
    if not math.isfinite(log_likelihood) or not expected.sums.isfinite().all():
        refuse(data, scaling.shift)
    return log_likelihood, expected.moments()


def maximise(
    model: GMM,
    moments: Moments,
    rows: int,
    data: Passes,
    noise: Noise,
    scaling: Scaling,
    begun: torch.Tensor,
) -> int:
    """Set the model's parameters to the likeliest of these moments; how many components had to be replaced.

    rows: how many rows the moments stand for. begun: (K,) int64, how often each component was replaced, counted on.
    A component with too little weight, or whose covariance is not positive definite, moves, also in `moments`, to a
    row drawn from the data, and becomes as wide as all data; one that fails again and again becomes the heaviest
    other one once more, so that a fit comes to rest.
    Raises DataError when no component has a covariance that is positive definite.
    """
    weights, means, covariances = _likeliest(model, moments, scaling)
    bad = _degenerate(model, weights, means, covariances, scaling)
    if bad.all():
        flat = (scaling.scale == 1).nonzero()[:, 0].tolist()
        raise DataError(
            "no component's covariance is positive definite: columns that do not vary, or that follow from others"
            + (f"; look at column {flat[0]} (from 0)" if flat else ""),
            hint="leave such columns out, or add more to every variance: --set config.relative_regularisation=1e-3",
        )
    bad = bad | (moments.count < _EMPTY * moments.count.sum() / rows)
    replaced = int(bad.sum())
    if replaced:
        begun += bad
        given_up = bad & (begun > MOST_BEGINNINGS)
        if anew := int((bad & ~given_up).sum()):
            drawn = parts(data.some(anew, noise))[0].double()
            moments.reseed(bad & ~given_up, (drawn - scaling.shift) / scaling.scale)
        moments.copy(given_up)
        weights, means, covariances = _likeliest(model, moments, scaling)
    model.assign(weights, means, covariances)
    return replaced


def _degenerate(
    model: GMM, weights: torch.Tensor, means: torch.Tensor, covariances: torch.Tensor, scaling: Scaling
) -> torch.Tensor:
    """(K,) whether a covariance is not positive definite, as the model keeps it and as the next step scales it."""
    kind, kept = model.config.covariance, covariances.to(model.means.dtype)
    scaled = scaling.moments(weights, means, kept, kind)
    return (not_positive(kept, kind) | not_positive(scaled.scatter, scaled.kind)).expand(len(weights))


def _likeliest(
    model: GMM, moments: Moments, scaling: Scaling
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights, means and covariances, float64, as the model's dtype can keep them."""
    config, variance = model.config, scaling.scale.square()
    added = config.relative_regularisation * variance
    if config.regularisation is not None:
        added = torch.full_like(variance, config.regularisation)
    weights, means, covariances = moments.parameters(config.covariance, scaling.shift, scaling.scale, added)
    if config.covariance in ("full", "tied"):
        covariances = kept_apart(covariances, model.means.dtype)
    return weights, means, covariances


def refuse(data: Passes, like: torch.Tensor) -> None:
    """Raise the DataError that names the first value that is not finite, or the columns where processes share rows.

    All processes call it at once. like: (D,) float64 on the device of the fit.
    """
    seen, first = 0, ""
    wrong = torch.zeros_like(like)
    for batch in data.batches(_MOST_ROWS_READ):
        x, _ = parts(batch)
        first = first or not_finite(x, seen)
        wrong += (~x.isfinite()).sum(dim=0).to(wrong)
        seen += len(x)
    columns = data.total(wrong).nonzero()[:, 0].tolist()
    if columns:
        where = ", ".join(map(str, columns[:8])) + (", ..." if len(columns) > 8 else "")
        shared = f"there are values in columns {where} (from 0) that are not a finite number"
        raise DataError(
            first if seen == data.rows else shared,
            hint="a mixture needs every value: fill the gaps or leave the rows out",
        )
    raise DataError(
        "the rows' values are too large or too small to compute with", hint="divide each column by its size"
    )
