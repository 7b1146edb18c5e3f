"""The two steps of expectation maximisation for Gaussian mixtures, on rows that were shifted and scaled.

A log-density is linear in the features [x x', x, 1] of a row, so the expectation of many rows is one matrix product
and the sums that the maximisation needs another. Where rounding would spoil the differences of squares (components
far narrower than the data is wide), rows are taken about each component's mean instead, which costs more.

Shapes: B rows, K components, D columns, F features. A spherical mixture goes through here as a diagonal one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from zoo_classic.denormals import flushed
from zoo_classic.gaussians import Gaussians, prepared
from zoo_classic.gmm_moments import Moments

_WORST_ERROR = {torch.float64: 1e-8, torch.float32: 4e-3}  # of a log-density by squares about zero, in nats
_LEAST_EXPONENT = {torch.float64: -700.0, torch.float32: -86.0}  # whose exponential is a normal number
_VALUES_AT_ONCE = 2**19  # of features on a CPU, which keeps them in its cache
_VALUES_ON_DEVICE = 2**26
_ROWS_A_PART = 8192  # that one thread takes at a time


@dataclass(frozen=True, eq=False)
class Scaling:
    """Rows are computed with as (x - shift) / scale. Both (D,) float64."""

    shift: torch.Tensor
    scale: torch.Tensor

    def moments(
        self, weights: torch.Tensor, means: torch.Tensor, covariances: torch.Tensor, kind: str
    ) -> Moments:
        """As if scaled rows, of weight one together, had given these parameters."""
        means, covariances = (means.double() - self.shift) / self.scale, covariances.double()
        if kind in ("full", "tied"):
            return Moments(kind, weights.double(), means, covariances / self.scale / self.scale[:, None])
        spread = covariances.view(len(means), -1) / self.scale.square()
        return Moments("diagonal", weights.double(), means, spread)

    def gaussians(
        self, weights: torch.Tensor, means: torch.Tensor, covariances: torch.Tensor, kind: str
    ) -> Gaussians:
        """The Gaussians of scaled rows, float64, of parameters in the data's units."""
        scaled = self.moments(weights, means, covariances, kind)
        return prepared(scaled.count, scaled.mean, scaled.scatter, scaled.kind)


class Expectation:
    """Gathers from rows, part by part, what the maximisation needs: weighted sums, in float64.

    sums: (K, F) by responsibility, of products of columns, of columns and of one, each less `centre`, (K, D).
    square: (D, D) of all rows' products, for tied mixtures. rows, weight, log_likelihood: ().
    """

    def __init__(self, ready: Gaussians, kind: str, number: torch.dtype, scaling: Scaling) -> None:
        self.kind, self._number, self._scaling = kind, number, scaling
        self._count, self._columns = ready.means.shape
        about_zero = rounding(ready) * torch.finfo(number).eps <= _WORST_ERROR[number]
        products = {"full": self._columns * (self._columns + 1) // 2, "tied": 0}.get(kind, self._columns)
        self._features = products + self._columns + 1
        self._coefficients = _coefficients(ready, kind).to(number) if about_zero else None
        self._ready = ready.to(number)
        self._precision = self._ready.precisions()[0] if kind == "tied" else None
        self.centre = torch.zeros_like(ready.means) if about_zero else self._ready.means.double()
        self._take(ready.means.new_zeros(self._count * self._features + self._columns**2 + 3))

    def add(self, x: torch.Tensor, weights: torch.Tensor | None, each: Callable[..., Any] = map) -> None:
        """x: (B, D) in the data's units. weights: (B,), or None when each row weighs one. each: maps over parts."""
        x = x.to(self.centre.device)
        weights = None if weights is None else weights.to(x.device)
        if x.device.type == "cpu":
            rows = _ROWS_A_PART
        else:  # which shares the work out itself
            rows, each = max(1, len(x)), map
        parts = [slice(first, first + rows) for first in range(0, len(x), rows)]
        found = self._flat
        # in order of the parts, so that the sums are the same whatever number of threads there is
        for part in each(
            lambda part: self._gathered(x[part], None if weights is None else weights[part]), parts
        ):
            found = found + part
        self._take(found)

    def total(self, over: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Take what every process gathered."""
        self._take(over(self._flat))

    def _take(self, flat: torch.Tensor) -> None:
        self._flat = flat
        sums, square, rest = torch.split(flat, [self._count * self._features, self._columns**2, 3])
        self.sums, self.square = sums.view(self._count, -1), square.view(self._columns, -1)
        self.rows, self.weight, self.log_likelihood = rest

    @flushed()
    def _gathered(self, x: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        """The sums over these rows alone, as one vector; nothing else changes, so threads may do it at once."""
        values = _VALUES_AT_ONCE if x.device.type == "cpu" else _VALUES_ON_DEVICE
        at_once = max(64, values // max(self._features, self._count))
        sums = _Sums(self._count, self._features, self._columns, self._number, x.device)
        sums.rows += len(x)
        shift, scale = self._scaling.shift[:, None], self._scaling.scale[:, None]
        for first in range(0, len(x), at_once):
            part = (
                ((x[first : first + at_once].mT.double() - shift) / scale).to(self._number).contiguous()
            )  # (D, B)
            weighing = None if weights is None else weights[first : first + at_once].to(self._number)
            if self._coefficients is not None:
                self._add_products(sums, part, weighing, self._coefficients)
            else:
                self._add_centred(sums, part, weighing)
        return sums.flat()

    def moments(self) -> Moments:
        """Of the gathered rows, scaled."""
        count = self.sums[:, -1]
        divisor = count.clamp(min=torch.finfo(torch.float64).tiny)[:, None]
        offset = self.sums[:, -1 - self._columns : -1] / divisor  # (K, D) of the mean from the centre
        products = self.sums[:, : -1 - self._columns]
        if self.kind == "full":
            first, second = torch.triu_indices(self._columns, self._columns, device=count.device)
            scatter = count.new_empty(self._count, self._columns, self._columns)
            scatter[:, first, second] = scatter[:, second, first] = products / divisor
            scatter = scatter - offset[:, :, None] * offset[:, None, :]
        elif self.kind == "tied":
            scatter = (self.square - (offset * count[:, None]).mT @ offset) / count.sum()
        else:
            scatter = (products / divisor - offset.square()).clamp(min=0)
        return Moments(self.kind, count, self.centre + offset, scatter)

    def _add_products(
        self, sums: _Sums, x: torch.Tensor, weights: torch.Tensor | None, coefficients: torch.Tensor
    ) -> None:
        features = self._filled(sums, x)  # (F, B)
        joint = coefficients @ features  # (K, B)
        if self._precision is not None:
            joint -= 0.5 * (x * (self._precision @ x)).sum(dim=0)
            sums.square += ((x if weights is None else x * weights) @ x.mT).double()
        # (F, K) and turned: the same products the other way round take nearly three times as long
        sums.sums += (features @ sums.shares(joint, weights).mT).mT.double()

    def _add_centred(self, sums: _Sums, x: torch.Tensor, weights: torch.Tensor | None) -> None:
        shares = sums.shares(self._ready.log_joint(x.mT).mT, weights)  # (K, B)
        first, second = torch.triu_indices(self._columns, self._columns, device=x.device)
        products = self._features - 1 - self._columns
        for component, share in enumerate(shares):
            centred = x - self._ready.means[component][:, None]  # (D, B)
            weighted = centred * share
            mine = sums.sums[component]
            mine[-1 - self._columns : -1] += weighted.sum(dim=1).double()
            if self.kind == "full":
                mine[:products] += (weighted @ centred.mT)[first, second].double()
            elif self.kind == "tied":
                sums.square += (weighted @ centred.mT).double()
            else:
                mine[:products] += (weighted * centred).sum(dim=1).double()
        sums.sums[:, -1] += shares.sum(dim=1).double()

    def _filled(self, sums: _Sums, x: torch.Tensor) -> torch.Tensor:
        """The features (F, B) of columns (D, B): of a matrix's upper triangle row by row, then columns, then one."""
        if sums.features.shape[1] != x.shape[1]:
            sums.features = x.new_empty(self._features, x.shape[1])
        features, at = sums.features, 0
        if self.kind == "full":
            for column in range(self._columns):
                upto = at + self._columns - column
                torch.mul(x[column:], x[column], out=features[at:upto])
                at = upto
        elif self.kind != "tied":
            torch.mul(x, x, out=features[: self._columns])
        features[-1 - self._columns : -1] = x
        features[-1] = 1
        return features


class _Sums:
    """What one thread gathers; see `Expectation`. features: (F, B), room for those of the rows at hand."""

    def __init__(
        self, count: int, width: int, columns: int, number: torch.dtype, device: torch.device
    ) -> None:
        zeros = functools.partial(torch.zeros, dtype=torch.float64, device=device)
        self.sums, self.square = zeros(count, width), zeros(columns, columns)
        self.rows, self.weight, self.log_likelihood = zeros(()), zeros(()), zeros(())
        self.features = torch.empty(0, 0, dtype=number, device=device)

    def shares(self, joint: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        """Responsibilities times weights, (K, B), in place of log joint densities; adds up the log-likelihood."""
        highest = joint.amax(dim=0)
        # exponentials that would underflow take twenty times as long, and are nothing beside the highest, which is 1
        shares = joint.sub_(highest).clamp_(min=_LEAST_EXPONENT[joint.dtype]).exp_()
        total = shares.sum(dim=0)
        densities = highest + total.log()  # log-sum-exp, (B,)
        if weights is not None:
            densities, total = densities * weights, total / weights
            self.weight += weights.sum(dtype=torch.float64)
        else:
            self.weight += len(densities)
        self.log_likelihood += densities.sum(dtype=torch.float64)
        return shares.div_(total)

    def flat(self) -> torch.Tensor:
        """As `Expectation` adds it up."""
        scalars = torch.stack([self.rows, self.weight, self.log_likelihood])
        return torch.cat([self.sums.flatten(), self.square.flatten(), scalars])


def rounding(ready: Gaussians) -> float:
    """How many times the machine's epsilon a log-density by squares about zero may be wrong by, roughly."""
    precisions = ready.precisions()
    if precisions.dim() == 3:
        precisions = precisions.diagonal(dim1=1, dim2=2)
    return float((precisions * (1 + ready.means.square())).sum(dim=1).max())


def _coefficients(ready: Gaussians, kind: str) -> torch.Tensor:
    """(K, F): what each feature is multiplied by in each component's log joint density."""
    precisions, means = ready.precisions(), ready.means
    linear = precisions * means if kind == "diagonal" else (precisions @ means[:, :, None])[:, :, 0]
    constant = ready.constant - 0.5 * (linear * means).sum(dim=1)
    if kind == "full":
        columns = means.shape[1]
        first, second = torch.triu_indices(columns, columns, device=means.device)
        twice = torch.where(first == second, 0.5, 1.0).double()  # of what stands off the diagonal two times
        quadratic = -precisions[:, first, second] * twice
    elif kind == "tied":
        quadratic = means[:, :0]
    else:
        quadratic = -0.5 * precisions
    return torch.cat([quadratic, linear, constant[:, None]], dim=1)
