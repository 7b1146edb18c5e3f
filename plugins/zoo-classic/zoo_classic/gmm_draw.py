"""Rows of a Gaussian mixture, drawn in blocks. Shapes: N rows of a block, K components, D columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

_MOST_ROWS, _VALUES = 2048, 2**15  # of a block: many rows are fast, few are soon drawn for a single one

if TYPE_CHECKING:
    from zoo_classic.gmm import GMM


@dataclass(frozen=True, eq=False)
class Ready:
    """upto: (K,) the sums of the weights up to each component. means: (K, D).

    roots: transposed Cholesky factors, (K, D, D) or (1, D, D) when tied; or standard deviations, (K, D).
    """

    upto: np.ndarray
    means: np.ndarray
    roots: np.ndarray

    @classmethod
    def of(cls, mixture: GMM) -> Ready:
        """What is drawn from, in float64."""
        weights, means = mixture.weights.double().cpu(), mixture.means.double().cpu()
        covariances, (count, columns) = mixture.covariances.double().cpu(), means.shape
        if mixture.config.covariance in ("full", "tied"):
            roots = torch.linalg.cholesky(covariances.view(-1, columns, columns)).mT
        else:
            roots = covariances.view(count, -1).sqrt().expand(count, columns)
        return cls(weights.cumsum(dim=0).numpy(), means.numpy(), roots.numpy())

    @property
    def size(self) -> int:
        """Rows of a block, a power of two."""
        rows = min(_MOST_ROWS, max(1, _VALUES // int(self.means.shape[1])))
        return 1 << (rows.bit_length() - 1)

    def block(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A block's rows, (N, D) float64, and the component that each is of, (N,) int64.

        All of them are computed, since matrix products of fewer rows may round otherwise.
        """
        at = generator.random(self.size) * self.upto[-1]
        normal = generator.standard_normal((self.size, self.means.shape[1]))
        component = np.minimum(np.searchsorted(self.upto, at, side="right"), len(self.upto) - 1)
        small = component.astype(np.uint16) if len(self.upto) < 2**16 else component  # sorted by radix
        order, ends = small.argsort(kind="stable"), np.bincount(component).cumsum()
        rows, first = normal[order], 0
        for each, end in enumerate(ends.tolist()):
            if end > first:
                root = self.roots[min(each, len(self.roots) - 1)]
                some = rows[first:end]
                rows[first:end] = (some @ root if root.ndim == 2 else some * root) + self.means[each]
            first = end
        normal[order] = rows
        return normal, component
