"""Mixtures of rows that carry fewer components than were asked for, and the starts that a person gives."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch

from zoo.errors import DataError, UsageError, ZooWarning
from zoo.noise import Noise
from zoo_classic.gmm import GMM
from zoo_classic.gmm_config import COVARIANCES, GMMConfig
from zoo_classic.passes import TensorPasses


def until_converged(model: GMM, x: torch.Tensor, most: int = 50) -> tuple[int, list[str]]:
    """The step that said so, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number, step in enumerate(
            itertools.islice(model.fit(TensorPasses(x), Noise(0), {}), most), start=1
        ):
            if step["converged"]:
                return number, [str(each.message) for each in caught]
    raise AssertionError("it has not converged")


def stars() -> torch.Tensor:
    """300 ratings from 1 to 5."""
    return torch.tensor(np.random.default_rng(0).integers(1, 6, (300, 1)), dtype=torch.float64)


@pytest.mark.parametrize("batch_rows", [0, 100])
@pytest.mark.parametrize("start", ["k-means++", "random"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_fewer_different_rows_than_components_are_told_once(
    covariance: str, start: str, batch_rows: int
) -> None:
    two = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64).repeat(50, 1)
    for x, components, different in ((stars(), 8, 5), (two, 10, 2)):
        config = GMMConfig(x.shape[1], components, covariance, start=start, batch_rows=batch_rows)
        model = GMM(config)
        _, said = until_converged(model, x, 300 if batch_rows else 100)
        [told] = [text for text in said if "different" in text]
        assert told == (
            f"the {len(x)} rows have {different} different values and carry as many components: "
            f"{components - different} of the {components} are copies of others (config.components={different})"
        )
        assert len(said) == 1 or start == "random"
        assert len(said) <= 3
        assert all(value.isfinite().all() for value in model.parameters())
        assert model.weights.sum().item() == pytest.approx(1)
        assert (model.weights > 0).all()


def test_the_copies_make_the_mixture_that_fewer_components_would() -> None:
    x = stars()
    eight, five = GMM(GMMConfig(1, 8)), GMM(GMMConfig(1, 5))
    assert until_converged(eight, x)[0] == until_converged(five, x)[0]
    torch.testing.assert_close(eight.log_prob(x), five.log_prob(x))


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
def test_a_component_that_fails_again_and_again_becomes_a_copy_and_the_fit_comes_to_rest(
    covariance: str,
) -> None:
    """It collapses on the one far row each time, for nothing is added to its variance."""
    x = torch.tensor(np.random.default_rng(1).normal(size=(60, 1)))
    x[7] = 1e6
    model = GMM(GMMConfig(1, 2, covariance, regularisation=0.0))
    _, said = until_converged(model, x, 60)
    assert said == [
        "1 of 2 components were empty or degenerate and begin anew",
        "1 of 2 components stayed empty or degenerate after 3 new beginnings and are now copies of others: "
        "the rows carry 1 (config.components=1)",
    ]
    assert torch.equal(model.means[0], model.means[1])


def test_fewer_rows_than_a_covariance_has_numbers_are_told_before_the_fit() -> None:
    x = torch.tensor(np.random.default_rng(0).normal(size=(50, 20)))
    said = "50 rows, 25 for each of 2 components, are fewer than the 210 numbers of a full covariance of 20 columns"
    with pytest.warns(ZooWarning, match=said):
        next(GMM(GMMConfig(20, 2)).fit(TensorPasses(x), Noise(0), {}))
    with pytest.warns(ZooWarning, match="50 rows are fewer than the 210 numbers of a tied covariance"):
        next(GMM(GMMConfig(20, 2, "tied")).fit(TensorPasses(x), Noise(0), {}))
    next(GMM(GMMConfig(20, 2, "diagonal")).fit(TensorPasses(x), Noise(0), {}))


def narrow_and_wide() -> torch.Tensor:
    """600 rows about one point, half of them ten times as far from it."""
    rng = np.random.default_rng(2)
    return torch.tensor(np.concatenate([rng.normal(size=(300, 2)), 10 * rng.normal(size=(300, 2))]))


@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_a_start_with_equal_means_and_unlike_variances_is_honoured(mean: float) -> None:
    x = narrow_and_wide() + mean
    model = GMM(GMMConfig(2, 2, "spherical"))
    model.start(torch.full((2, 2), mean), torch.tensor([1.0, 100.0]))
    until_converged(model, x)
    assert (model.means - mean).abs().max() < 1.5
    assert model.covariances.sqrt().tolist() == pytest.approx([1, 10], rel=0.1)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_means_alone_begin_with_the_covariance_of_all_rows(covariance: str) -> None:
    x = narrow_and_wide() * 1e-6 + torch.tensor([5.0, 0.0])
    means = x[[3, 400]].clone()
    alone, given = (GMM(GMMConfig(2, 2, covariance)) for _ in range(2))
    alone.start(means)
    whole = torch.cov(x.T, correction=0)
    each = {
        "full": whole.expand(2, 2, 2),
        "tied": whole,
        "diagonal": whole.diagonal().expand(2, 2),
        "spherical": whole.diagonal().mean().expand(2),
    }[covariance]
    given.start(means, each * (1 + 1e-6))
    assert until_converged(alone, x)[0] == until_converged(given, x)[0]
    torch.testing.assert_close(alone.covariances, given.covariances, rtol=1e-6, atol=0)


@pytest.mark.parametrize("means", [[[float("nan")], [0.0]], [[0.0]]])
def test_means_that_are_none_are_refused(means: list[list[float]]) -> None:
    model = GMM(GMMConfig(1, 2))
    with pytest.raises(UsageError):
        model.start(torch.tensor(means))
    assert not model.started


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", ["log_prob", "predict", "responsibilities", "log_joint"])
def test_a_row_that_is_not_finite_is_refused_and_named(method: str, bad: float) -> None:
    x = torch.zeros(5, 3, dtype=torch.float64)
    x[3, 1] = bad
    with pytest.raises(DataError, match=rf"row 3, column 1 \(both from 0\) is {bad}, not a finite number"):
        getattr(GMM(GMMConfig(3, 2)), method)(x)
