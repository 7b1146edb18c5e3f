"""Gaussians of the four kinds of covariance, ready to be evaluated; what is asked of parameters.

Shapes: B rows, K components, D columns. covariances: full (K, D, D), tied (D, D), diagonal (K, D), spherical (K,).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from zoo.errors import UsageError

_SUM_TOLERANCE = 1e-4  # of weights, which may have been kept in float32


@dataclass(frozen=True, eq=False)
class Gaussians:
    """K weighted Gaussians. means: (K, D). constant: (K,) the log of weight and normalisation.

    whitening: (K, D, D) with covariance = inverse(whitening @ whitening.T), (1, D, D) when tied, or (K, D), the
    inverse standard deviations.
    """

    means: torch.Tensor
    whitening: torch.Tensor
    constant: torch.Tensor

    def log_joint(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, D) -> log(weight x density) of each component, (B, K), in nats."""
        matrices = self.whitening.dim() == 3
        distances = []
        for component, mean in enumerate(self.means):
            whitening = self.whitening[min(component, len(self.whitening) - 1)]
            centred = x - mean  # before the product: far rows would cancel otherwise
            whitened = centred @ whitening if matrices else centred * whitening
            distances.append(whitened.square().sum(dim=1))
        return self.constant - 0.5 * torch.stack(distances, dim=1)

    def precisions(self) -> torch.Tensor:
        """(K, D, D), (1, D, D) or (K, D), as `whitening`."""
        if self.whitening.dim() == 3:
            return self.whitening @ self.whitening.mT
        return self.whitening.square()

    def moved(self, by: torch.Tensor) -> Gaussians:
        """by: (D,), added to every mean."""
        return Gaussians(self.means + by, self.whitening, self.constant)

    def to(self, kind: torch.dtype) -> Gaussians:
        return Gaussians(self.means.to(kind), self.whitening.to(kind), self.constant.to(kind))


def prepared(weights: torch.Tensor, means: torch.Tensor, covariances: torch.Tensor, kind: str) -> Gaussians:
    """The Gaussians in float64. Raises UsageError for a covariance that is not positive definite."""
    weights, means, covariances = weights.double(), means.double(), covariances.double()
    columns = means.shape[1]
    if (bad := not_positive(covariances, kind)).any():
        which = (
            "the tied covariance"
            if kind == "tied"
            else f"the covariance of component {int(bad.long().argmax())}"
        )
        raise UsageError(
            f"{which} is not positive definite",
            hint="add to its diagonal; a fit does, with a larger --set config.relative_regularisation=1e-3",
        )
    if kind in ("full", "tied"):
        cholesky = torch.linalg.cholesky(covariances.view(-1, columns, columns))
        identity = torch.eye(columns, dtype=torch.float64, device=means.device)
        whitening = torch.linalg.solve_triangular(cholesky, identity.expand_as(cholesky), upper=False).mT
        half_log_det = cholesky.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    else:
        whitening = covariances.view(len(means), -1).rsqrt().expand_as(means)
        half_log_det = -whitening.log().sum(dim=1)
    constant = weights.log() - half_log_det - 0.5 * columns * math.log(2 * math.pi)
    return Gaussians(means, whitening, constant)


def not_positive(covariances: torch.Tensor, kind: str) -> torch.Tensor:
    """Which covariances are not symmetric positive definite, (K,), or (1,) when tied; bool."""
    if kind in ("diagonal", "spherical"):
        values = covariances.view(len(covariances), -1)
        return ~((values > 0) & values.isfinite()).all(dim=1)
    matrices = covariances.double().view(-1, *covariances.shape[-2:])
    finite = matrices.isfinite().all(dim=2).all(dim=1)
    safe = torch.where(finite[:, None, None], matrices, torch.zeros_like(matrices))
    size = safe.abs().amax(dim=(1, 2))
    skewed = (safe - safe.mT).abs().amax(dim=(1, 2)) > 1e-5 * size
    failed: torch.Tensor = torch.linalg.cholesky_ex(safe).info > 0
    return failed | skewed | ~finite


def not_finite(x: torch.Tensor, first: int = 0) -> str:
    """The first value of rows (B, D) that is no finite number, in words; "" when all are. first: the first row's."""
    if x.sum().isfinite():  # quicker than to look at each
        return ""
    bad = ~x.isfinite()
    if not bad.any():
        return ""
    row, column = bad.nonzero()[0].tolist()
    place = f"row {first + row}, column {column} (both from 0)"
    return f"{place} is {float(x[row, column])}, not a finite number"


def at_least(covariances: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    """(..., D, D) that vary in no direction less than independent columns of variances `least`, (D,), above 0, do.

    Left to the bit where that is so.
    """
    if not bool(torch.linalg.cholesky_ex(covariances - least.diag()).info.any()):
        return covariances
    scale = least.sqrt() * least.sqrt()[:, None]
    values, vectors = torch.linalg.eigh(covariances / scale)
    found: torch.Tensor = (vectors * values.clamp_min(1)[..., None, :]) @ vectors.mT
    return found * scale


def kept_apart(covariances: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(..., D, D) float64 whose columns are not so alike that they would be the same one in `dtype`.

    Else a matrix that is positive definite would not be when kept. float64 itself, and what is not positive definite,
    are left as they are.
    """
    if dtype == torch.float64:
        return covariances
    good = (torch.linalg.cholesky_ex(covariances).info == 0)[..., None, None]
    spread = torch.where(good[..., 0], covariances.diagonal(dim1=-2, dim2=-1), 1.0).sqrt()
    scale = spread[..., :, None] * spread[..., None, :]
    one = torch.eye(covariances.shape[-1], dtype=covariances.dtype, device=covariances.device)
    alike = 4 * len(one) * torch.finfo(dtype).eps * one.diagonal()
    return torch.where(
        good, at_least(torch.where(good, covariances / scale, one), alike) * scale, covariances
    )


def expanded(covariances: torch.Tensor, kind: str, means: torch.Tensor) -> torch.Tensor:
    """Every component's covariance as a matrix, (K, D, D)."""
    count, columns = means.shape
    if kind in ("full", "tied"):
        return covariances.expand(count, columns, columns)
    return torch.diag_embed(covariances.view(count, -1).expand(count, columns))


def shape_of(kind: str, components: int, columns: int) -> tuple[int, ...]:
    """The shape of the covariances of a kind."""
    return {
        "full": (components, columns, columns),
        "tied": (columns, columns),
        "diagonal": (components, columns),
        "spherical": (components,),
    }[kind]


def check(weights: torch.Tensor, means: torch.Tensor, covariances: torch.Tensor, kind: str) -> None:
    """Raises UsageError unless the parameters are those of a mixture."""
    if means.dim() != 2 or weights.shape != means.shape[:1]:
        raise UsageError(
            f"weights {tuple(weights.shape)} and means {tuple(means.shape)}, but must be (K,) and (K, D)"
        )
    wanted = shape_of(kind, *means.shape)
    if covariances.shape != wanted:
        raise UsageError(f"{kind} covariances are {tuple(covariances.shape)}, but must be {wanted}")
    if not means.isfinite().all():
        raise UsageError("a mean is not a finite number")
    if not (weights >= 0).all() or abs(float(weights.double().sum()) - 1) > _SUM_TOLERANCE:
        raise UsageError("weights must be at least 0 and sum to 1")
    prepared(weights, means, covariances, kind)
