"""Gaussian emissions and mixtures of them, as two matrix products over the quadratic features of the frames.

ln N(x; mean, covariance) is linear in the products x_i x_j, the x_i and 1. So the densities of all frames under all
states are one product with a matrix made from the parameters, and the expected statistics of a fit are another.
Frames are shifted first to lie around 0, for the squares of far values would lose digits.

Shapes: N frames, D columns, S states, M Gaussians a state, K = S M, F features.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from zoo.errors import UsageError
from zoo.noise import Noise, Rows
from zoo_classic import kmeans
from zoo_classic.emissions import Seen, as_columns, choose, refuse, relative, require_rows_sum_to_one
from zoo_classic.frame_sums import summed_products
from zoo_classic.gaussians import at_least, kept_apart, not_positive
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.packed import Packed
from zoo_classic.scale import measured

_LEAST = 1e-10  # expected frames below which a Gaussian is left as it is


class Gaussian(nn.Module):
    """weights: (S, M). means: (S, M, D).

    covariances: diagonal (S, M, D), spherical (S, M), full (S, M, D, D), tied (D, D), one for all.
    """

    def __init__(self, config: HMMConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.config = config
        self.covariance = config.covariance
        states, mixed, columns = config.states, config.mixtures, config.columns
        shape = {
            "diagonal": (states, mixed, columns),
            "spherical": (states, mixed),
            "full": (states, mixed, columns, columns),
            "tied": (columns, columns),
        }[config.covariance]
        start = torch.ones(shape, dtype=dtype)
        if self._paired and not start.is_meta:
            start.copy_(torch.eye(columns))
        self.weights = nn.Parameter(torch.full((states, mixed), 1 / mixed, dtype=dtype), requires_grad=False)
        self.means = nn.Parameter(
            torch.empty(states, mixed, columns, dtype=dtype).normal_(), requires_grad=False
        )
        self.covariances = nn.Parameter(start, requires_grad=False)

    @property
    def _paired(self) -> bool:
        return self.covariance in ("full", "tied")

    def shift(self) -> torch.Tensor:
        return self.means.flatten(0, 1).mean(0)

    def see(self, packed: Packed, shift: torch.Tensor) -> Seen:
        frames = self._frames(packed)
        columns = frames.shape[1]
        pairs = columns * (columns + 1) // 2
        count = pairs if self._paired else 1 if self.covariance == "spherical" else columns
        features = self.means.new_empty(
            len(frames), count + columns + 1
        )  # written in place: memory is what costs
        squares, x = features[:, :count], features[:, count:-1]
        torch.sub(frames, shift.double(), out=x)
        if self._paired:
            first, second = self._pairs()
            torch.mul(x[:, first], x[:, second], out=squares)
        elif self.covariance == "spherical":
            torch.sum(x.square(), 1, keepdim=True, out=squares)
        else:
            torch.mul(x, x, out=squares)
        features[:, -1] = 1
        return Seen(features, shift)

    def _pairs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Row and column of the upper triangle of a covariance."""
        columns = self.means.shape[-1]
        found = torch.triu_indices(columns, columns, device=self.means.device)
        return found[0], found[1]

    def _linear(self, shift: torch.Tensor) -> torch.Tensor:
        """(F, K): the features' product with it is ln(weight N(x; mean, covariance))."""
        means = (self.means - shift).flatten(0, 1)  # (K, D)
        count, columns = means.shape
        if self._paired:
            precision = torch.linalg.inv(self.covariances.double()).to(means).reshape(-1, columns, columns)
            precision = precision.expand(count, -1, -1)
            log_determinant = torch.logdet(self.covariances.double()).to(means).reshape(-1).expand(count)
            first, second = self._pairs()
            factor = torch.where(first == second, -0.5, -1.0).to(means)
            squares = precision[:, first, second] * factor
            linear = (precision @ means[:, :, None])[:, :, 0]
        else:
            variances = self.covariances.flatten(0, 1)  # (K, D) or (K,)
            variances = variances[:, None] if variances.dim() == 1 else variances
            squares = -0.5 / variances
            linear = means / variances
            log_determinant = variances.expand(count, columns).log().sum(1)
        constant = -0.5 * ((linear * means).sum(1) + log_determinant + columns * math.log(2 * math.pi))
        constant = constant + self.weights.flatten().log()
        return torch.cat((squares, linear, constant[:, None]), 1).t().contiguous()

    def _components(self, seen: Seen) -> torch.Tensor:
        return torch.mm(seen.features, self._linear(seen.shift))  # (N, K)

    def log_density(self, seen: Seen) -> torch.Tensor:
        found = self._components(seen)
        mixed = self.means.shape[1]
        return found if mixed == 1 else found.view(len(found), -1, mixed).logsumexp(2)

    def likelihood(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        return relative(self.log_density(seen))

    def statistics(self, seen: Seen, posterior: torch.Tensor) -> torch.Tensor:
        mixed = self.means.shape[1]
        if mixed > 1:
            found = self._components(seen).view(len(posterior), -1, mixed)
            posterior = (posterior[:, :, None] * found.softmax(2)).flatten(1)
        return summed_products(posterior, seen.features)  # (K, F)

    def variance(self, packed: Packed) -> torch.Tensor:
        return _variance(self._frames(packed))

    def _priors(self, variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is added to each column's sum of squares, and the least of its variance, both (D,) float64."""
        config, one = self.config, torch.ones_like(variance)
        added = config.relative_covariance_prior * variance
        least = config.relative_minimum_variance * variance
        if config.covariance_prior is not None:
            added = config.covariance_prior * one
        if config.minimum_variance is not None:
            least = config.minimum_variance * one
        return added, least

    def update(self, statistics: torch.Tensor, shift: torch.Tensor, variance: torch.Tensor) -> None:
        states, mixed, columns = self.means.shape
        squares, sums, total = statistics.split_with_sizes((statistics.shape[1] - columns - 1, columns, 1), 1)
        alive = total > _LEAST  # (K, 1)
        held = total.clamp_min(_LEAST)
        old = (self.means.double() - shift.double()).flatten(0, 1)
        means = torch.where(alive, sums / held, old)
        self._update_covariances(squares, means, held, alive, variance)
        self.means.copy_((means + shift.double()).view(states, mixed, columns))
        counts = total.view(states, mixed) + self.config.emission_prior
        seen = counts.sum(1, keepdim=True)
        self.weights.copy_(torch.where(seen > _LEAST, counts / seen.clamp_min(_LEAST), self.weights.double()))

    def _update_covariances(
        self,
        squares: torch.Tensor,
        means: torch.Tensor,
        held: torch.Tensor,
        alive: torch.Tensor,
        variance: torch.Tensor,
    ) -> None:
        """From sums of squares about the shift, (K, .), and new means about it, (K, D)."""
        columns = means.shape[1]
        added, least = self._priors(variance)
        if self._paired:
            first, second = self._pairs()
            scatter = means.new_empty(len(means), columns, columns)
            scatter[:, first, second] = squares - held * means[:, first] * means[:, second]
            scatter[:, second, first] = scatter[:, first, second]
            if self.covariance == "tied":
                found = (added.diag() + scatter[alive[:, 0]].sum(0)) / held[alive].sum()
                self.covariances.copy_(self._floored(found, least))
                return
            found = self._floored((added.diag() + scatter) / held[:, :, None], least)
        elif self.covariance == "spherical":
            scatter = (squares[:, 0] - held[:, 0] * means.square().sum(1)) / columns
            found = torch.maximum((added.mean() + scatter) / held[:, 0], least.mean())
        else:
            found = torch.maximum((added + squares - held * means.square()) / held, least)
        old = self.covariances.double().flatten(0, 1)
        kept = alive.view(-1, *[1] * (found.dim() - 1))
        self.covariances.copy_(torch.where(kept, found, old).view(self.covariances.shape))

    def _floored(self, covariances: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
        """(..., D, D) float64 as they can be kept and computed with."""
        return kept_apart(at_least(covariances, least), self.covariances.dtype)

    def begin(self, packed: Packed, noise: Noise) -> None:
        frames = self._frames(packed)
        self._begin(frames, _clusters(frames, len(self.means), noise), noise)

    def begin_from(self, packed: Packed, states: torch.Tensor, noise: Noise) -> None:
        self._begin(self._frames(packed), states, noise)

    def _frames(self, packed: Packed) -> torch.Tensor:
        """(N, D) in float64. Raises DataError for a value that is no number."""
        frames = as_columns(packed.frames, self.means.shape[-1]).double()
        if not math.isfinite(frames.sum()):  # one number to look at; of finite ones it may overflow
            refuse(~torch.isfinite(frames), packed, frames, "every value must be a finite number")
        return frames

    def _begin(self, frames: torch.Tensor, states: torch.Tensor, noise: Noise) -> None:
        """Means of the frames of each state, or of clusters among them; the covariance of all frames for everyone."""
        mixed, columns = self.means.shape[1:]
        overall = torch.cov(frames.t(), correction=0).reshape(columns, columns)
        spread = overall.diagonal().sqrt()
        rows = noise.rows(1, "hmm mixtures")
        for state in range(len(self.means)):
            own = frames[states == state]
            own = own if len(own) else frames
            labels = _clusters(own, mixed, noise)
            for part in range(mixed):
                some = own[labels == part]
                apart = 0.1 * spread * rows.normal(columns)[0].to(frames)  # for parts that no frame fell into
                self.means[state, part] = (some.mean(0) if len(some) else own.mean(0) + apart).to(self.means)
        self.weights.fill_(1 / mixed)
        added, least = self._priors(_variance(frames))
        floor = torch.maximum(least, added / len(frames))
        variances = torch.maximum(overall.diagonal(), floor)
        if self._paired:
            found = self._floored(overall + floor.diag(), least)
        else:
            found = variances if self.covariance == "diagonal" else variances.mean()
        self.covariances.copy_(found.to(self.covariances).expand(self.covariances.shape))

    def draw(self, states: torch.Tensor, choices: Rows, values: Rows) -> torch.Tensor:
        columns = self.means.shape[2]
        uniform = choices.uniform(states.shape[1])
        part = choose(self.weights.double().cpu(), states, uniform)  # (B, T)
        normal = values.normal(states.shape[1], columns)  # (B, T, D)
        covariances = self.covariances.double().cpu()
        if self.covariance == "tied":
            apart = _products(torch.linalg.cholesky(covariances), normal)
        elif self.covariance == "full":
            roots = torch.linalg.cholesky(covariances)[states, part]  # (B, T, D, D)
            apart = _products(roots, normal)
        else:
            roots = covariances.sqrt()[states, part]
            apart = normal * (roots if self.covariance == "diagonal" else roots[..., None])
        drawn: torch.Tensor = self.means.double().cpu()[states, part] + apart
        return drawn

    def mean(self) -> torch.Tensor:
        return (self.weights[:, :, None] * self.means).sum(1)

    @property
    def free_parameters(self) -> int:
        states, mixed, columns = self.means.shape
        above = columns * (columns - 1) // 2 if self._paired else 0  # which the other half repeats
        matrices = self.covariances.numel() // columns**2
        return states * (mixed - 1) + self.means.numel() + self.covariances.numel() - matrices * above

    def check(self) -> None:
        require_rows_sum_to_one(self.weights, "weights")
        if not bool(torch.isfinite(self.means).all()):
            raise UsageError("means must be finite")
        kind = "tied" if self.covariance == "tied" else "full" if self._paired else "diagonal"
        if bool(not_positive(self.covariances, kind).any()):
            raise UsageError(
                f"{self.covariance} covariances are not positive definite",
                hint="add a little to their diagonals",
            )


def _variance(frames: torch.Tensor) -> torch.Tensor:
    """Of the columns of frames (N, D), (D,); 1 of one that does not vary."""
    return measured(frames, torch.ones_like(frames[:, 0]))[1].square()


def _products(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """matrices (..., D, D) @ vectors (..., D); not by a library whose sums depend on how many vectors there are."""
    return (matrices * vectors[..., None, :]).sum(-1)


def _clusters(frames: torch.Tensor, count: int, noise: Noise) -> torch.Tensor:
    """The cluster of each of frames (N, D), (N,). Columns weigh alike whatever their units."""
    one = torch.ones_like(frames[:, 0])
    mean, deviation = measured(frames, one)
    return kmeans.cluster((frames - mean) / deviation, one, count, noise)
