"""Fits a Gaussian mixture by expectation maximisation, a step for all rows or for one batch of them.

Sources: Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", 1977. In batches:
Cappe and Moulines, "On-line expectation-maximization algorithm for latent data models", 2009.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch

from zoo.datasets.material import Passes
from zoo.errors import DataError, ZooWarning
from zoo.noise import Noise
from zoo_classic import gmm_start
from zoo_classic.gmm_em import MOST_BEGINNINGS, expectation, maximise, outcome, refuse, whole
from zoo_classic.gmm_expectation import Scaling
from zoo_classic.gmm_moments import Moments
from zoo_classic.parallel import threads
from zoo_classic.passes import parts
from zoo_classic.scale import measured

if TYPE_CHECKING:
    from zoo_classic.gmm import GMM

State = dict[str, torch.Tensor]


def fit(model: GMM, data: Passes, noise: Noise, state: State) -> Iterator[Mapping[str, float]]:
    """Improve the model for as long as it is asked; see `zoo.protocols.Fittable`.

    data: batches are rows (B, D), or (rows, weights (B,)). A model that was started or fitted before goes on from
    where it stands. Yields "log_likelihood": the mean over the step's rows under the parameters before it, in nats;
    "converged": 1 when the mean over all rows changed by less than the tolerance since the pass before, which in
    batches only the last of a pass can say; "reseeded": how many components were empty or degenerate and were
    replaced, after which the likelihood may fall. A ZooWarning tells the first time, and of those that are given up.
    Raises DataError for fewer rows than components, values that are not finite, and columns that do not vary when
    nothing is added to their variance.
    """
    if not state:
        _begin(model, data, noise, state)
    for name, value in state.items():
        if value.dim():  # those of a checkpoint may be elsewhere
            state[name] = value.to(model.means.device)
    scaling = Scaling(state["shift"], state["scale"])
    begun = state.setdefault("begun", torch.zeros_like(model.weights, dtype=torch.int64))
    batched = in_batches(model, data)
    rows = model.config.batch_rows if batched else data.rows
    steps = _batches(model, data, state, scaling) if batched else _passes(model, data, state, scaling)
    for log_likelihood, moments in steps:
        own = Noise(noise.seed, noise.start + 1 + int(state["step"]))
        before = begun.clone()
        reseeded = maximise(model, moments, rows, data, own, scaling, begun)
        if reseeded:
            _tell(before, begun)
        state["reseeded"] += reseeded
        state["step"] += 1
        if batched:
            state |= {"count": moments.count, "mean": moments.mean, "scatter": moments.scatter}
        yield {
            "log_likelihood": log_likelihood,
            "converged": float(_passed(state, data.rows) < model.config.tolerance),
            "reseeded": float(reseeded),
        }


def _tell(before: torch.Tensor, begun: torch.Tensor) -> None:
    """Warn of the first components that were replaced, and of those that were given up. Both (K,): how often each."""
    count, given_up = len(begun), int((begun > MOST_BEGINNINGS).sum())
    if given_up > int((before > MOST_BEGINNINGS).sum()):
        warnings.warn(
            f"{given_up} of {count} components stayed empty or degenerate after {MOST_BEGINNINGS} new beginnings and "
            f"are now copies of others: the rows carry {count - given_up} (config.components={count - given_up})",
            ZooWarning,
            stacklevel=3,
        )
    elif not before.any():
        warnings.warn(
            f"{int((begun > before).sum())} of {count} components were empty or degenerate and begin anew",
            ZooWarning,
            stacklevel=3,
        )


def in_batches(model: GMM, data: Passes) -> bool:
    """Whether a step sees fewer than all rows."""
    return 0 < model.config.batch_rows < data.rows


def _passed(state: State, rows: int) -> float:
    """How much the mean log-likelihood of all rows changed since the pass before, in nats, where a pass just ended.

    Infinite within a pass, and after one in which components began anew; not a number after the first.
    """
    if int(state["seen"]) < rows:
        return float("inf")
    mean = float(state["sum"] / state["weight"])
    change = float("inf") if state["reseeded"] else abs(mean - float(state["last"]))
    state["last"].fill_(mean)
    for name in ("taken", "seen", "reseeded", "sum", "weight"):
        state[name].zero_()
    return change


def _begin(model: GMM, data: Passes, noise: Noise, state: State) -> None:
    config = model.config
    if data.rows < config.components:
        rows = f"{data.rows} row{' is' if data.rows == 1 else 's are'}"
        raise DataError(
            f"{rows} too few for {config.components} components, beside those that are held out",
            hint=f"fewer components: --set config.components={max(1, data.rows // 10)}",
        )
    x, weights = parts(data.some(config.start_rows, noise))
    if x.dim() != 2 or x.shape[1] != config.columns:
        raise DataError(f"rows are {tuple(x.shape)}, but must be (B, {config.columns})")
    x = x.to(model.means.device, torch.float64)
    weights = x.new_ones(len(x)) if weights is None else weights.to(x)
    if not x.isfinite().all():
        refuse(data, x[0])
    if not weights.sum() > 0:
        raise DataError("all rows that the fit would start from have no weight")
    scaling = Scaling(*measured(x, weights))
    if not (scaling.shift.isfinite().all() and scaling.scale.isfinite().all()):
        refuse(data, x[0])
    _warn_of_too_few(model, data, x, weights)
    if model.means_alone:
        gmm_start.about(model, x, weights, scaling)
        model.means_alone = False
    elif not model.started:
        gmm_start.start(model, x, weights, noise, scaling)
    state |= {"shift": scaling.shift, "scale": scaling.scale}
    state |= {name: torch.zeros((), dtype=torch.int64) for name in ("step", "taken", "seen", "reseeded")}
    state |= {name: torch.zeros((), dtype=torch.float64) for name in ("sum", "weight")}
    state["last"] = torch.full((), torch.nan, dtype=torch.float64)
    if in_batches(model, data):
        moments = scaling.moments(model.weights, model.means, model.covariances, config.covariance)
        state |= {"count": moments.count, "mean": moments.mean, "scatter": moments.scatter}


def _warn_of_too_few(model: GMM, data: Passes, x: torch.Tensor, weights: torch.Tensor) -> None:
    """Warn of fewer different rows than components, and of fewer rows than a covariance has numbers."""
    config, columns, rows = model.config, model.config.columns, data.rows
    different = gmm_start.different(x, weights, config.components)
    if different < config.components:
        warnings.warn(
            f"{'some' if len(x) < rows else 'the'} {len(x):,} rows have {different} different value"
            f"{'s' * (different > 1)} and carry as many components: {config.components - different} of the "
            f"{config.components} are copies of others (config.components={different})",
            ZooWarning,
            stacklevel=4,
        )
    numbers = columns * (columns + 1) // 2
    sharing = 1 if config.covariance == "tied" else min(different, config.components)
    if config.covariance in ("full", "tied") and rows < numbers * sharing:
        each = f", {rows // sharing} for each of {sharing} components," if sharing > 1 else ""
        warnings.warn(
            f"{rows:,} rows{each} are fewer than the {numbers:,} numbers of a {config.covariance} covariance of "
            f"{columns} columns: what they leave open, the regularisation decides; config.covariance=diagonal has "
            f"{columns} numbers",
            ZooWarning,
            stacklevel=4,
        )


def _passes(model: GMM, data: Passes, state: State, scaling: Scaling) -> Iterator[tuple[float, Moments]]:
    """The mean log-likelihood of all rows, and the moments that follow, step by step."""
    while True:
        log_likelihood, moments = whole(model, data, scaling)
        state["seen"].fill_(data.rows)
        state["sum"].fill_(log_likelihood)
        state["weight"].fill_(1)
        yield log_likelihood, moments


def _batches(model: GMM, data: Passes, state: State, scaling: Scaling) -> Iterator[tuple[float, Moments]]:
    """As `_passes`, of a batch each, merged with what is remembered: that of step t weighs (t + 2)^-forgetting."""
    config = model.config
    while True:
        batches = itertools.islice(data.batches(config.batch_rows), int(state["taken"]), None)
        while True:
            expected = expectation(model, scaling)
            batch = next(batches, None)  # the last may be missing here: then the others have all of it
            if batch is not None:
                with threads() as each:
                    expected.add(*parts(batch), each)
            log_likelihood, moments = outcome(expected, data, scaling)
            rows, weight = int(expected.rows), float(expected.weight)
            rate = (float(state["step"]) + 2) ** -config.forgetting * rows / config.batch_rows
            before = Moments(moments.kind, state["count"], state["mean"], state["scatter"])
            state["taken"] += 1
            state["seen"] += rows
            state["sum"] += log_likelihood * weight
            state["weight"] += weight
            merged = before.times(1 - rate).plus(moments.times(rate / float(moments.count.sum())))
            yield log_likelihood, merged
            if not state["taken"]:  # `fit` found that it was the last of the pass
                break
