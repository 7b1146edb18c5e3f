"""Gaussian mixture: the distribution, its densities, samples, marginals and conditionals; fitted by `gmm_fit`.

Source: Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", 1977.

Shapes: B rows, K components, D columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from zoo.datasets.material import Passes
from zoo.errors import DataError, UsageError
from zoo.modality.table import TableControls
from zoo.noise import Noise
from zoo_classic import gaussians, gmm_fit
from zoo_classic.gmm_config import GMMConfig
from zoo_classic.gmm_draw import Ready

_VALUES_AT_ONCE = 2**20  # of rows whose densities are computed together
_ROWS_DRAWN_AT_ONCE = 4096


class GMM(nn.Module):
    """weights (K,), means (K, D) and covariances: full (K, D, D), tied (D, D), diagonal (K, D), spherical (K,).

    They take no gradients. A new module has all means 0 and all variances 1, which says that it has not been started.
    means_alone: whether a fit has yet to find the rest of its start in the data.
    """

    means_alone = False

    def __init__(self, config: GMMConfig) -> None:
        super().__init__()
        self.config = config
        kind = getattr(torch, config.precision)
        count, columns = config.components, config.columns
        shape = gaussians.shape_of(config.covariance, count, columns)
        if config.covariance in ("full", "tied"):
            covariances = torch.zeros(shape, dtype=kind)
            covariances.diagonal(dim1=-2, dim2=-1).fill_(
                1
            )  # torch.eye on meta imports all of torch's compiler
        else:
            covariances = torch.ones(shape, dtype=kind)
        self.weights = nn.Parameter(torch.full((count,), 1 / count, dtype=kind), requires_grad=False)
        self.means = nn.Parameter(torch.zeros(count, columns, dtype=kind), requires_grad=False)
        self.covariances = nn.Parameter(covariances, requires_grad=False)

    @property
    def rows_a_step(self) -> int:
        """Rows that a step of a fit learns from; 0 is all of them."""
        return self.config.batch_rows

    @property
    def started(self) -> bool:
        """Whether a fit would go on from the present parameters; a single component needs no start."""
        new = GMM(self.config).to(self.means.device).parameters()
        return len(self.means) == 1 or any(
            not torch.equal(own, fresh) for own, fresh in zip(self.parameters(), new, strict=True)
        )

    def start(
        self,
        means: torch.Tensor,
        covariances: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> None:
        """Set the parameters, which a fit then starts from. weights: equal when None.

        covariances: when None, a fit takes those of all its rows; until then they are 1.
        Raises UsageError for wrong shapes, numbers that are not finite and covariances not positive definite.
        """
        self.means_alone = covariances is None
        if covariances is None:
            covariances = GMM(self.config).covariances
        if weights is None:
            weights = torch.full((len(means),), 1 / max(1, len(means)), dtype=torch.float64)
        if means.shape != self.means.shape:
            raise UsageError(f"means are {tuple(means.shape)}, but must be {tuple(self.means.shape)}")
        weights, means, covariances = (value.to(self.means.device) for value in (weights, means, covariances))
        gaussians.check(weights, means, covariances, self.config.covariance)
        self.assign(weights, means, covariances)

    def assign(self, weights: torch.Tensor, means: torch.Tensor, covariances: torch.Tensor) -> None:
        """Set the parameters without looking at them."""
        for kept, given in (
            (self.weights, weights),
            (self.means, means),
            (self.covariances, covariances),
        ):
            kept.copy_(given)

    def fit(
        self, data: Passes, noise: Noise, state: dict[str, torch.Tensor]
    ) -> Iterator[Mapping[str, float]]:
        """Expectation maximisation; see `zoo_classic.gmm_fit.fit` and `zoo.protocols.Fittable`."""
        return gmm_fit.fit(self, data, noise, state)

    def log_joint(self, x: torch.Tensor) -> torch.Tensor:
        """Rows (B, D) -> the log of each component's weight times its density, (B, K), in nats.

        Raises DataError for rows of other columns, and for a value that is not a finite number.
        """
        count, columns = self.means.shape
        if x.dim() != 2 or x.shape[1] != columns:
            raise DataError(f"rows are {tuple(x.shape)}, but must be (B, {columns})")
        if wrong := gaussians.not_finite(x):
            raise DataError(wrong, hint="leave such rows out, or fill the gaps")
        ready = gaussians.prepared(self.weights, self.means, self.covariances, self.config.covariance)
        number, x = self.means.dtype, x.to(self.means.device)
        if (
            number != torch.float64
        ):  # far from zero, float32 would have no digits left for what is about the means
            middle = ready.means.mean(dim=0)
            x, ready = x.double() - middle, ready.moved(-middle)
        x, ready = x.to(number), ready.to(number)
        rows = max(1, _VALUES_AT_ONCE // max(count, columns))
        firsts = range(0, max(1, len(x)), rows)
        return torch.cat([ready.log_joint(x[first : first + rows]) for first in firsts])

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """can: log_prob. Rows (B, D) -> their log-densities (B,), in nats."""
        return self.log_joint(x).logsumexp(dim=1)

    def responsibilities(self, x: torch.Tensor) -> torch.Tensor:
        """Rows (B, D) -> the probability of each component given the row, (B, K)."""
        return self.log_joint(x).softmax(dim=1)

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Rows (B, D) -> the likeliest component of each, (B,) int64."""
        return self.log_joint(x).argmax(dim=1)

    @property
    def free_parameters(self) -> int:
        """How many numbers a fit chooses: weights sum to 1, and matrices are symmetric."""
        count, columns = self.means.shape
        triangle = columns * (columns + 1) // 2
        of_kind = {
            "full": count * triangle,
            "tied": triangle,
            "diagonal": count * columns,
            "spherical": count,
        }
        return count - 1 + count * columns + of_kind[self.config.covariance]

    def bic(self, log_likelihood: float, rows: int) -> float:
        """The Bayesian information criterion, lower is better. log_likelihood: the mean over the rows, in nats."""
        return -2 * log_likelihood * rows + self.free_parameters * math.log(rows)

    def aic(self, log_likelihood: float, rows: int) -> float:
        """Akaike's information criterion, lower is better. log_likelihood: the mean over the rows, in nats."""
        return -2 * log_likelihood * rows + 2 * self.free_parameters

    def marginal(self, columns: Sequence[int]) -> GMM:
        """The mixture of some columns, in the given order. Raises UsageError for columns there are not, or twice."""
        chosen = self._columns(columns)
        covariances: torch.Tensor = self.covariances
        if self.config.covariance in ("full", "tied"):
            covariances = covariances[..., chosen, :][..., chosen]
        elif self.config.covariance == "diagonal":
            covariances = covariances[:, chosen]
        return self._like(self.weights, self.means[:, chosen], covariances)

    def conditional(self, columns: Sequence[int], values: Sequence[float]) -> GMM:
        """The mixture of the other columns, in their order, given the values of these.

        Raises UsageError for columns there are not, or twice, when none is left, and for values that are not finite.
        """
        known = self._columns(columns)
        rest = [column for column in range(self.config.columns) if column not in set(columns)]
        given = torch.tensor(list(values), dtype=torch.float64, device=self.means.device)
        if len(given) != len(known) or not given.isfinite().all():
            raise UsageError(
                f"{len(known)} columns are given the values {list(values)}, but each needs a finite one"
            )
        if not rest:
            raise UsageError("all columns are given: nothing is left to draw")
        free = self._columns(rest)
        of_known = self.marginal(columns)
        weights = of_known.log_joint(given[None].to(self.means))[0].double().softmax(dim=0)
        means = self.means[:, free].double()
        covariances: torch.Tensor = self.covariances
        if self.config.covariance in ("full", "tied"):
            matrices = covariances.double()
            between = matrices[..., free, :][..., known]  # (K, R, G), or (R, G) when tied
            cholesky = torch.linalg.cholesky(matrices[..., known, :][..., known])
            gain = torch.cholesky_solve(between.mT, cholesky).mT
            means = means + (gain @ (given - self.means[:, known].double())[..., None])[..., 0]
            left = matrices[..., free, :][..., free] - gain @ between.mT
            covariances = (left + left.mT) / 2
        elif self.config.covariance == "diagonal":
            covariances = covariances[:, free]
        return self._like(weights, means, covariances)

    def sample(self, count: int, noise: Noise, controls: TableControls) -> Iterator[torch.Tensor]:
        """can: sample. Yields the rows drawn so far, and last all, (count, D); given columns have their values.

        Row i depends on the noise's seed and on its own number alone.
        """
        given = _given(controls)
        if not given:
            yield from self._drawn(count, noise)
            return
        others = self.conditional(list(given), list(given.values()))
        rest = self._columns([column for column in range(self.config.columns) if column not in given])
        known = self._columns(list(given))
        for drawn in others._drawn(count, noise):
            whole = drawn.new_empty(len(drawn), self.config.columns)
            whole[:, rest] = drawn
            whole[:, known] = drawn.new_tensor(list(given.values()))
            yield whole

    def components(self, count: int, noise: Noise, controls: TableControls) -> torch.Tensor:
        """The component that each row of `sample` is drawn from, (count,) int64."""
        given = _given(controls)
        mixture = self.conditional(list(given), list(given.values())) if given else self
        ready = Ready.of(mixture)
        parts = [ready.block(one)[1][wanted] for one, wanted in noise.blocks(count, ready.size, "gmm")]
        return torch.from_numpy(np.concatenate([np.empty(0, np.int64), *parts]))

    def _drawn(self, count: int, noise: Noise) -> Iterator[torch.Tensor]:
        """On the CPU, so that every device draws the same; in whole blocks, so that every count and start does."""
        ready = Ready.of(self)
        drawn = np.empty((count, self.config.columns))
        for first in range(0, count, _ROWS_DRAWN_AT_ONCE):
            done = first
            size = min(_ROWS_DRAWN_AT_ONCE, count - first)
            of_part = replace(noise, start=noise.start + first)
            for generator, wanted in of_part.blocks(size, ready.size, "gmm"):
                part = ready.block(generator)[0][wanted]
                drawn[done : done + len(part)] = part
                done += len(part)
            yield torch.from_numpy(drawn[:done]).to(self.means)
        if not count:
            yield torch.from_numpy(drawn).to(self.means)

    def _columns(self, columns: Sequence[int]) -> torch.Tensor:
        count = self.config.columns
        if not columns or len(set(columns)) < len(columns) or not all(0 <= c < count for c in columns):
            raise UsageError(
                f"columns are {list(columns)}, but must be different numbers from 0 to {count - 1}"
            )
        return torch.tensor(list(columns), device=self.means.device)

    def _like(self, weights: torch.Tensor, means: torch.Tensor, covariances: torch.Tensor) -> GMM:
        other = GMM(replace(self.config, columns=means.shape[1])).to(means.device)
        other.assign(weights, means, covariances)
        return other


def _given(controls: TableControls) -> dict[int, float]:
    """Column -> value. Raises UsageError for what is not NUMBER=VALUE, or a column given twice."""
    found: dict[int, float] = {}
    for text in controls.given:
        column, _, value = text.partition("=")
        try:
            number, known = int(column), float(value)
        except ValueError:
            raise UsageError(f"given is {text!r}, but must be NUMBER=VALUE, such as 0=1.5") from None
        if number in found:
            raise UsageError(f"given has two values for column {number}")
        found[number] = known
    return found


def build(config: GMMConfig) -> GMM:
    return GMM(config)
