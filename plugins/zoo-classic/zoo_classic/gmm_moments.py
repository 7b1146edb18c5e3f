"""Weights, means and scatters of rows by component: merged, and as the parameters of a mixture.

Shapes: K components, D columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zoo_classic.frame_sums import sums_by


@dataclass(frozen=True, eq=False)
class Moments:
    """count: (K,) the weight of each component's rows. mean: (K, D).

    scatter: the mean products of what is about the mean: full (K, D, D), tied (D, D), diagonal (K, D).
    """

    kind: str
    count: torch.Tensor
    mean: torch.Tensor
    scatter: torch.Tensor

    def times(self, factor: float) -> Moments:
        """Of rows that weigh so many times as much."""
        return Moments(self.kind, self.count * factor, self.mean, self.scatter)

    def plus(self, other: Moments) -> Moments:
        """Of both sets of rows together; takes no differences of large numbers (Chan, Golub and LeVeque, 1979)."""
        count = self.count + other.count
        share = (other.count / count.clamp(min=torch.finfo(count.dtype).tiny))[:, None]  # (K, 1)
        apart = other.mean - self.mean
        mean = self.mean + share * apart
        between = share * (1 - share)
        if self.kind == "tied":
            part = other.count.sum() / count.sum()
            scatter = self.scatter * (1 - part) + other.scatter * part
            scatter = scatter + (between * count[:, None] / count.sum() * apart).mT @ apart
        elif self.kind == "full":
            scatter = self.scatter * (1 - share[:, :, None]) + other.scatter * share[:, :, None]
            scatter = scatter + (between * apart)[:, :, None] * apart[:, None, :]
        else:
            scatter = self.scatter * (1 - share) + other.scatter * share + between * apart.square()
        return Moments(self.kind, count, mean, scatter)

    def reseed(self, which: torch.Tensor, means: torch.Tensor) -> None:
        """Let some components, (K,) bool, begin anew at these scaled means, each with an equal share of the rows.

        They become as wide as scaled rows are: variance one. A tied scatter stays.
        """
        share = self.count.sum() / len(self.count)
        places = which.nonzero()[:, 0]
        self.count[places] = share
        self.mean[places] = means[torch.arange(len(places), device=means.device) % len(means)]
        if self.kind == "full":
            self.scatter[places] = torch.eye(
                self.mean.shape[1], dtype=self.mean.dtype, device=self.mean.device
            )
        elif self.kind == "diagonal":
            self.scatter[places] = 1.0

    def copy(self, which: torch.Tensor) -> None:
        """Let some components, (K,) bool, be the heaviest of the others once more: each halves the rows of one."""
        count = torch.where(which, -torch.inf, self.count)
        for place in which.nonzero()[:, 0].tolist():
            heaviest = int(count.argmax())
            count[heaviest] /= 2
            count[place] = count[heaviest]
            self.mean[place] = self.mean[heaviest]
            if self.kind != "tied":
                self.scatter[place] = self.scatter[heaviest]
        self.count.copy_(count)

    def repeated(self, components: int) -> Moments:
        """Of so many components, at least as many as there are: they come again in turn, and share their rows."""
        which = torch.arange(components, device=self.count.device) % len(self.count)
        count = (self.count / which.bincount())[which]
        return Moments(
            self.kind, count, self.mean[which], self.scatter if self.kind == "tied" else self.scatter[which]
        )

    def parameters(
        self, covariance: str, shift: torch.Tensor, scale: torch.Tensor, added: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weights, means and covariances (see `zoo_classic.gaussians`) in the data's units, of scaled rows.

        added: (D,) to the variances, in the square of these units.
        """
        weights = self.count / self.count.sum()
        means = shift + self.mean * scale
        if covariance in ("full", "tied"):
            covariances = self.scatter * scale * scale[:, None]
            covariances.diagonal(dim1=-2, dim2=-1).add_(added)
        else:
            covariances = self.scatter * scale.square() + added
            if covariance == "spherical":
                covariances = covariances.mean(dim=1)
        return weights, means, covariances


def of_labels(
    kind: str, x: torch.Tensor, weights: torch.Tensor, labels: torch.Tensor, clusters: int
) -> Moments:
    """The moments of rows (B, D) that each belong to one cluster. weights: (B,). labels: (B,), below clusters."""
    columns = x.shape[1]
    count = sums_by(labels, weights, clusters)
    divisor = count.clamp(min=torch.finfo(x.dtype).tiny)
    mean = sums_by(labels, x * weights[:, None], clusters) / divisor[:, None]
    centred = x - mean[labels]
    weighted = centred * weights[:, None]
    if kind == "full":
        scatter = x.new_zeros(clusters, columns, columns)
        for cluster in range(clusters):
            mine = labels == cluster
            scatter[cluster] = weighted[mine].mT @ centred[mine] / divisor[cluster]
    elif kind == "tied":
        scatter = weighted.mT @ centred / count.sum()
    else:
        scatter = sums_by(labels, weighted * centred, clusters) / divisor[:, None]
    return Moments(kind, count, mean, scatter)
