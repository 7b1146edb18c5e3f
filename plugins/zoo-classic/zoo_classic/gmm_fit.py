"""Fits a Gaussian mixture by expectation maximisation, a step for all rows or for one batch of them.

Sources: Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", 1977. In batches:
Cappe and Moulines, "On-line expectation-maximization algorithm for latent data models", 2009.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch

from zoo.datasets.material import Passes
from zoo.errors import DataError
from zoo.noise import Noise
from zoo_classic import gmm_start
from zoo_classic.gmm_em import expectation, maximise, outcome, refuse, whole
from zoo_classic.gmm_expectation import Scaling
from zoo_classic.gmm_moments import Moments
from zoo_classic.parallel import threads
from zoo_classic.passes import parts

if TYPE_CHECKING:
    from zoo_classic.gmm import GMM

State = dict[str, torch.Tensor]


def fit(model: GMM, data: Passes, noise: Noise, state: State) -> Iterator[Mapping[str, float]]:
    """Improve the model for as long as it is asked; see `zoo.protocols.Fittable`.

    data: batches are rows (B, D), or (rows, weights (B,)). A model that was started or fitted before goes on from
    where it stands. Yields "log_likelihood": the mean over the step's rows under the parameters before it, in nats;
    "converged": 1 when it changed by less than the tolerance since the step before; "reseeded": how many components
    were empty or degenerate and began anew, after which the likelihood may fall.
    Raises DataError for fewer rows than components, values that are not finite, and columns that do not vary when
    nothing is added to their variance.
    """
    if not state:
        _begin(model, data, noise, state)
    scaling = Scaling(state["shift"], state["scale"])
    rows = model.config.batch_rows or data.rows
    for log_likelihood, moments in _steps(model, data, state, scaling):
        own = Noise(noise.seed, noise.start + 1 + int(state["step"]))
        reseeded = maximise(model, moments, rows, data, own, scaling)
        change = abs(log_likelihood - float(state["last"]))  # not a number at the first step
        state["last"].fill_(log_likelihood)
        state["step"] += 1
        if model.config.batch_rows:
            state |= {"count": moments.count, "mean": moments.mean, "scatter": moments.scatter}
        yield {
            "log_likelihood": log_likelihood,
            "converged": float(change < model.config.tolerance and not reseeded),
            "reseeded": float(reseeded),
        }


def _begin(model: GMM, data: Passes, noise: Noise, state: State) -> None:
    config = model.config
    if data.rows < config.components:
        raise DataError(f"{data.rows} rows are too few for {config.components} components")
    x, weights = parts(data.some(config.start_rows, noise))
    if x.dim() != 2 or x.shape[1] != config.columns:
        raise DataError(f"rows are {tuple(x.shape)}, but must be (B, {config.columns})")
    x = x.double()
    weights = x.new_ones(len(x)) if weights is None else weights.double()
    if not x.isfinite().all():
        refuse(data)
    if not weights.sum() > 0:
        raise DataError("all rows that the fit would start from have no weight")
    scaling = gmm_start.measured(x, weights)
    if not model.started:
        gmm_start.start(model, x, weights, noise, scaling)
    state |= {
        "shift": scaling.shift,
        "scale": scaling.scale,
        "step": torch.zeros((), dtype=torch.int64),
        "last": torch.full((), torch.nan, dtype=torch.float64),
    }
    if config.batch_rows:
        moments = scaling.moments(model.weights, model.means, model.covariances, config.covariance)
        state["taken"] = torch.zeros((), dtype=torch.int64)  # batches of the present pass
        state |= {"count": moments.count, "mean": moments.mean, "scatter": moments.scatter}


def _steps(model: GMM, data: Passes, state: State, scaling: Scaling) -> Iterator[tuple[float, Moments]]:
    """The mean log-likelihood of the rows of each step, and the moments that follow, step by step."""
    while True:
        if model.config.batch_rows:
            yield from _batches(model, data, state, scaling)
        else:
            yield whole(model, data, scaling)


def _batches(model: GMM, data: Passes, state: State, scaling: Scaling) -> Iterator[tuple[float, Moments]]:
    """One pass in batches, each merged with what is remembered: that of step t weighs (t + 2)^-forgetting."""
    config = model.config
    batches = itertools.islice(data.batches(config.batch_rows), int(state["taken"]), None)
    while True:
        batch = next(batches, None)
        expected = expectation(model, scaling)
        if batch is not None:
            with threads() as each:
                expected.add(*parts(batch), each)
        rows = float(
            data.total(expected.rows)
        )  # of all processes: one may have a batch fewer, and waits for the rest
        if rows == 0:
            state["taken"].zero_()
            return
        log_likelihood, moments = outcome(expected, data, scaling)
        rate = (float(state["step"]) + 2) ** -config.forgetting * min(1.0, rows / config.batch_rows)
        before = Moments(moments.kind, state["count"], state["mean"], state["scatter"])
        state["taken"] += 1
        yield log_likelihood, before.times(1 - rate).plus(moments.times(rate / float(moments.count.sum())))
