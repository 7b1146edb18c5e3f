"""Gaussian mixtures: densities against scikit-learn, marginals, conditionals, and samples against the model."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture

import zoo
from zoo.errors import DataError, UsageError
from zoo.modality.table import TableControls
from zoo.noise import Noise
from zoo.settings import make
from zoo.testing.conformance import findings
from zoo_classic.gaussians import expanded
from zoo_classic.gmm import GMM, build
from zoo_classic.gmm_config import COVARIANCES, GMMConfig

THEIRS = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


def parameters(covariance: str, components: int = 3, columns: int = 4, seed: int = 1) -> tuple[Any, Any, Any]:
    """Random means, covariances and weights, far from round numbers."""
    rng = np.random.default_rng(seed)
    matrices = rng.normal(size=(components, columns, columns))
    full = matrices @ matrices.transpose(0, 2, 1) + 0.3 * np.eye(columns)
    covariances = {
        "full": full,
        "tied": full[0],
        "diagonal": full.diagonal(axis1=1, axis2=2),
        "spherical": full[:, 0, 0],
    }[covariance]
    means = rng.normal(size=(components, columns)) * 3 + 5
    return tuple(
        torch.tensor(value) for value in (means, covariances, rng.dirichlet(np.full(components, 4.0)))
    )


def mixture(covariance: str, components: int = 3, columns: int = 4, precision: str = "float64") -> GMM:
    config = GMMConfig(columns, components, covariance, precision=precision)
    model = build(config)
    model.start(*parameters(covariance, components, columns))
    return model


def peer(model: GMM) -> GaussianMixture:
    """scikit-learn's mixture with the same parameters."""
    found = GaussianMixture(len(model.means), covariance_type=THEIRS[model.config.covariance])
    found.weights_, found.means_ = model.weights.numpy(), model.means.numpy()
    found.covariances_ = model.covariances.numpy()
    from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky

    found.precisions_cholesky_ = _compute_precision_cholesky(found.covariances_, found.covariance_type)
    return found


def rows(count: int = 50, columns: int = 4) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(2).normal(size=(count, columns)) * 4 + 5)


def last(model: GMM, count: int, noise: Noise, **controls: Any) -> torch.Tensor:
    return list(model.sample(count, noise, make(TableControls, controls, what="controls")))[-1]


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_densities_and_choices_are_scikit_learns(covariance):
    model, x = mixture(covariance), rows()
    witness = peer(model)
    assert np.allclose(model.log_prob(x).numpy(), witness.score_samples(x.numpy()), rtol=1e-12, atol=1e-11)
    assert np.allclose(model.responsibilities(x).numpy(), witness.predict_proba(x.numpy()), atol=1e-12)
    assert np.array_equal(model.predict(x).numpy(), witness.predict(x.numpy()))
    mean = float(model.log_prob(x).mean())
    assert model.bic(mean, len(x)) == pytest.approx(witness.bic(x.numpy()), rel=1e-12)
    assert model.aic(mean, len(x)) == pytest.approx(witness.aic(x.numpy()), rel=1e-12)


def test_a_row_far_from_every_component_has_a_density_in_logs():
    model = mixture("full")
    far = torch.full((1, 4), 1e6, dtype=torch.float64)
    assert model.log_prob(far).item() == pytest.approx(peer(model).score_samples(far.numpy())[0], rel=1e-10)
    assert model.responsibilities(far).sum().item() == pytest.approx(1)


def test_float32_agrees_to_its_own_precision():
    x = rows()
    own, exact = mixture("full", precision="float32"), mixture("full")
    assert own.log_prob(x).dtype == torch.float32
    assert torch.allclose(own.log_prob(x).double(), exact.log_prob(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_float32_keeps_its_digits_far_from_zero(covariance):
    """Densities of float64 rows far away, as float32 near zero would have them."""
    means, covariances, weights = parameters(covariance)
    far = build(GMMConfig(4, 3, covariance, precision="float32"))
    far.start(means.round() + 2**20, covariances, weights)
    near = build(GMMConfig(4, 3, covariance, precision="float32"))
    near.start(means.round(), covariances, weights)
    assert torch.allclose(far.log_prob(rows() + 2**20), near.log_prob(rows()), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_marginal_times_its_conditional_is_the_joint(covariance):
    model, x = mixture(covariance), rows(5)
    joint, known = model.log_prob(x), model.marginal([3, 1]).log_prob(x[:, [3, 1]])
    for row in range(len(x)):
        rest = model.conditional([3, 1], x[row, [3, 1]].tolist()).log_prob(x[row : row + 1, [0, 2]])
        assert (known[row] + rest).item() == pytest.approx(joint[row].item(), rel=1e-11)


def test_a_conditional_far_from_every_component_still_has_weights():
    weights = mixture("full").conditional([0], [1e5]).weights
    assert weights.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("columns", "values"), [([0, 0], [1, 1]), ([4], [1]), ([], []), ([0], [1, 2]), ([0], [float("nan")])]
)
def test_columns_there_are_not_are_refused(columns, values):
    with pytest.raises(UsageError):
        mixture("full").conditional(columns, values)


def test_when_every_column_is_given_there_is_nothing_to_draw():
    with pytest.raises(UsageError, match="nothing is left to draw"):
        mixture("diagonal", columns=2).conditional([0, 1], [1.0, 2.0])


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_samples_are_distributed_as_the_model(covariance):
    model = mixture(covariance, columns=3)
    drawn = last(model, 3000, Noise(11)).numpy()
    matrices = expanded(model.covariances, covariance, model.means).numpy()
    for direction in np.random.default_rng(0).normal(
        size=(3, 3)
    ):  # each projection is a mixture in one dimension
        means = model.means.numpy() @ direction
        deviations = np.sqrt(np.einsum("i,kij,j->k", direction, matrices, direction))
        below = stats.norm.cdf((drawn @ direction)[:, None], means, deviations) @ model.weights.numpy()
        counts = np.histogram(below, bins=30, range=(0, 1))[0]
        assert stats.chisquare(counts).pvalue > 1e-3


def test_samples_given_a_column_are_distributed_as_the_conditional():
    model = mixture("full", columns=2)
    drawn = last(model, 2000, Noise(5), given=("1=6.5",))
    assert drawn[:, 1].unique().tolist() == [6.5]
    rest = model.conditional([1], [6.5])
    deviations = rest.covariances[:, 0, 0].sqrt().numpy()
    below = stats.norm.cdf(drawn[:, :1].numpy(), rest.means[:, 0].numpy(), deviations) @ rest.weights.numpy()
    assert stats.chisquare(np.histogram(below, bins=20, range=(0, 1))[0]).pvalue > 1e-3


def test_a_sample_depends_on_its_own_number_alone():
    model = mixture("full")
    whole = last(model, 6, Noise(3))
    assert torch.equal(whole[4:], last(model, 2, Noise(3, start=4)))
    assert last(model, 0, Noise(3)).shape == (0, 4)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("columns", [1, 4, 200])
def test_rows_are_the_same_to_the_bit_whatever_is_drawn_beside_them(covariance, columns):
    """Across the ends of blocks, of 2048 rows, or 128 of 200 columns, and of what is drawn at once."""
    model = mixture(covariance, columns=columns)
    whole = last(model, 4500, Noise(3))
    for start, count in ((0, 1), (127, 3), (2040, 20), (4090, 15), (4499, 1)):
        assert torch.equal(whole[start : start + count], last(model, count, Noise(3, start=start)))


@pytest.mark.parametrize("given", [(), ("1=6.5",)])
def test_the_component_of_a_drawn_row_is_the_one_it_was_drawn_from(given):
    """Components that are far apart, so that each row's is the nearest; given a value that all can have."""
    model = build(GMMConfig(2, 3))
    means = torch.tensor([[0.0, 6.0], [1e3, 6.5], [2e3, 7.0]], dtype=torch.float64)
    model.start(means, torch.eye(2, dtype=torch.float64).expand(3, 2, 2))
    found = model.components(50, Noise(3, start=2040), TableControls(given=given))
    assert found.tolist() == model.predict(last(model, 50, Noise(3, start=2040), given=given)).tolist()
    assert len(found.unique()) == 3


@pytest.mark.parametrize("given", ["1", "one=2", "1=two", "9=1"])
def test_a_given_column_that_is_none_is_refused(given):
    with pytest.raises(UsageError):
        last(mixture("full"), 1, Noise(0), given=(given,))


def test_rows_of_other_columns_are_refused():
    with pytest.raises(DataError, match=r"\(50, 3\), but must be \(B, 4\)"):
        mixture("full").log_prob(rows(columns=3))


def test_a_start_that_is_not_positive_definite_is_refused_by_component():
    means, covariances, weights = parameters("full")
    covariances[1, 0, 0] = -1
    with pytest.raises(UsageError, match="covariance of component 1 is not positive definite"):
        build(GMMConfig(4, 3)).start(means, covariances, weights)


def test_a_start_that_is_not_symmetric_is_refused():
    means, covariances, weights = parameters("tied")
    covariances[0, 1] += 1
    with pytest.raises(UsageError, match="tied covariance is not positive definite"):
        build(GMMConfig(4, 3, "tied")).start(means, covariances, weights)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m, c, w: (m[:2], c, w), "must be"),
        (lambda m, c, w: (m, c[:2], w), "must be"),
        (lambda m, c, w: (m, c, w * 2), "sum to 1"),
        (lambda m, c, w: (m * float("inf"), c, w), "finite"),
        (lambda m, c, w: (m, c * float("nan"), w), "positive definite"),
    ],
)
def test_a_start_of_wrong_shape_or_numbers_is_refused(change, said):
    with pytest.raises(UsageError, match=said):
        build(GMMConfig(4, 3)).start(*change(*parameters("full")))


def test_a_mixture_too_large_to_build_is_refused_before_it_is():
    with pytest.raises(UsageError, match="at most"):
        GMMConfig(100_000, 100_000)


def test_the_family_keeps_what_a_registry_entry_promises():
    entry = dataclasses.replace(
        zoo.info("gpt2-small"),
        plugin="zoo-classic",
        family="gmm",
        can=("sample", "score", "fit"),
        config={"columns": 4, "components": 3},
        parameters=3 + 3 * 4 + 3 * 16,
    )
    assert findings(entry) == []
