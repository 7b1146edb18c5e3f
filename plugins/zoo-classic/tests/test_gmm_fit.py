"""Fitting Gaussian mixtures: scikit-learn as witness step by step, what always holds, and data that is bad."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from zoo.errors import DataError, ZooWarning
from zoo.noise import Noise
from zoo_classic import gmm_expectation
from zoo_classic.gmm import GMM, build
from zoo_classic.gmm_config import COVARIANCES, GMMConfig
from zoo_classic.gmm_moments import of_labels
from zoo_classic.passes import TensorPasses

THEIRS = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


def blobs(
    rows: int = 400, columns: int = 3, components: int = 3, seed: int = 0, apart: float = 3.0
) -> torch.Tensor:
    """Correlated clusters, the columns of very different place and size."""
    rng = np.random.default_rng(seed)
    shapes = rng.normal(size=(components, columns, columns))
    centres = rng.normal(size=(components, columns)) * apart
    which = rng.integers(components, size=rows)
    x = centres[which] + np.einsum("nij,nj->ni", shapes[which], rng.normal(size=(rows, columns)))
    return torch.tensor(x * 10.0 ** np.arange(columns) + 1000)


def start_of(x: torch.Tensor, covariance: str, components: int = 3) -> tuple[torch.Tensor, ...]:
    """A plain start: some rows as means, the variances of all."""
    variance = x.var(dim=0)
    covariances = {
        "full": variance.diag().repeat(components, 1, 1),
        "tied": variance.diag(),
        "diagonal": variance.repeat(components, 1),
        "spherical": variance.mean().repeat(components),
    }[covariance]
    weights = torch.arange(1.0, components + 1, dtype=torch.float64)
    return x[:components].clone(), covariances, weights / weights.sum()


def started(x: torch.Tensor, covariance: str = "full", components: int = 3, **config: Any) -> GMM:
    model = build(GMMConfig(x.shape[1], components, covariance, **config))
    model.start(*start_of(x, covariance, components))
    return model


def fitted(model: GMM, data: Any, steps: int, seed: int = 0) -> list[float]:
    """The log-likelihood that each step brought."""
    found = itertools.islice(model.fit(data, Noise(seed), {}), steps)
    return [float(step["log_likelihood"]) for step in found]


def their_steps(x: np.ndarray, start: tuple[torch.Tensor, ...], covariance: str, steps: int) -> Any:
    """scikit-learn's log-likelihoods from the same start, and its model after the last step."""
    means, covariances, weights = (value.numpy() for value in start)
    peer = GaussianMixture(
        len(means),
        covariance_type=THEIRS[covariance],
        weights_init=weights,
        means_init=means,
        precisions_init=np.linalg.inv(covariances) if covariance in ("full", "tied") else 1 / covariances,
        max_iter=1,
        warm_start=True,
        tol=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged after one step
        found = [peer.fit(x).lower_bound_ for _ in range(steps)]
    return found, peer


def same(model: GMM, peer: Any, tolerance: float) -> bool:
    pairs = (
        (model.weights, peer.weights_),
        (model.means, peer.means_),
        (model.covariances, peer.covariances_),
    )
    return all(np.allclose(own.numpy(), other, rtol=tolerance, atol=tolerance * 1e-3) for own, other in pairs)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_each_step_is_scikit_learns(covariance):
    x = blobs()
    model = started(x, covariance, regularisation=1e-6)
    found = fitted(model, TensorPasses(x), 15)
    wanted, peer = their_steps(x.numpy(), start_of(x, covariance), covariance, 15)
    assert np.allclose(found, wanted, rtol=1e-9, atol=0)
    assert same(model, peer, 1e-6)
    assert np.array_equal(model.predict(x).numpy(), peer.predict(x.numpy()))
    assert np.allclose(model.responsibilities(x).numpy(), peer.predict_proba(x.numpy()), atol=1e-7)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_components_far_narrower_than_the_data_is_wide_keep_their_digits(covariance):
    rng = np.random.default_rng(4)
    which = rng.integers(3, size=300)
    x = rng.normal(size=(300, 2)) * 1e-3 + which[:, None] * 1e3
    clusters = [x[which == cluster] for cluster in range(3)]
    full = np.stack([np.cov(cluster.T, ddof=0) for cluster in clusters])
    shares = np.bincount(which) / 300
    wanted = {
        "full": full,
        "tied": np.einsum("k,kij->ij", shares, full),
        "diagonal": full.diagonal(axis1=1, axis2=2),
        "spherical": full.trace(axis1=1, axis2=2) / 2,
    }[covariance]
    model = build(GMMConfig(2, 3, covariance, regularisation=0.0))
    means = torch.tensor([[0.0, 0.0], [1e3, 1e3], [2e3, 2e3]], dtype=torch.float64)
    model.start(means, torch.tensor(wanted) * 10)
    fitted(model, TensorPasses(torch.tensor(x)), 2)
    assert np.allclose(model.weights.numpy(), shares, rtol=1e-9)
    assert np.allclose(
        model.means.numpy(), np.stack([cluster.mean(axis=0) for cluster in clusters]), rtol=1e-12
    )
    assert np.allclose(model.covariances.numpy(), wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_both_ways_to_gather_give_the_same_fit(covariance, monkeypatch):
    x = blobs(200)
    weights = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    models = [started(x, covariance), started(x, covariance)]
    first = fitted(models[0], TensorPasses(x, weights), 4)
    monkeypatch.setattr(gmm_expectation, "rounding", lambda ready: float("inf"))
    assert np.allclose(fitted(models[1], TensorPasses(x, weights), 4), first, rtol=1e-11)
    assert all(
        torch.allclose(a, b, rtol=1e-8) for a, b in zip(*(m.parameters() for m in models), strict=True)
    )


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_float32_follows_float64(covariance):
    x = blobs()
    exact = fitted(started(x, covariance), TensorPasses(x), 10)
    model = started(x, covariance, precision="float32")
    assert np.allclose(fitted(model, TensorPasses(x.float()), 10), exact, rtol=1e-4)
    assert model.means.dtype == torch.float32


@pytest.mark.parametrize("start", ["k-means++", "random"])
def test_a_fit_finds_well_separated_clusters_by_itself(start):
    x = blobs(apart=30, seed=3)
    model = build(GMMConfig(3, 3, start=start, restarts=4))
    found = fitted(model, TensorPasses(x), 20)
    peer = GaussianMixture(3, n_init=10, random_state=0).fit(x.numpy())
    assert found[-1] == pytest.approx(peer.lower_bound_, rel=1e-3)


def test_the_same_seed_starts_alike_and_more_restarts_are_never_worse():
    x = TensorPasses(blobs(apart=1.0, components=6))

    def first(seed: int, restarts: int) -> float:
        config = GMMConfig(3, 6, start="random", restarts=restarts, restart_steps=5)
        return fitted(build(config), x, 1, seed)[0]

    assert first(7, 2) == first(7, 2)
    assert first(7, 2) != first(8, 2)
    assert first(7, 5) >= first(7, 2)


def test_a_fitted_model_goes_on_from_where_it_stands():
    x = TensorPasses(blobs())
    model = build(GMMConfig(3, 3))
    before = fitted(model, x, 10)
    assert fitted(model, x, 2)[0] > before[0]


@pytest.mark.parametrize("batch_rows", [0, 150])
def test_a_fit_goes_on_to_the_same_bits_from_its_state(batch_rows):
    x = TensorPasses(blobs())
    model, state = build(GMMConfig(3, 3, batch_rows=batch_rows)), {}
    steps = model.fit(x, Noise(1), state)
    for _ in range(4):
        next(steps)
    other, kept = copy.deepcopy(model), {name: value.clone() for name, value in state.items()}
    again = other.fit(x, Noise(1), kept)
    for _ in range(5):
        assert next(steps) == next(again)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_it_says_when_it_has_converged():
    steps = started(blobs(), tolerance=1e-3).fit(TensorPasses(blobs()), Noise(0), {})
    said = [(step["log_likelihood"], step["converged"]) for step in itertools.islice(steps, 60)]
    assert said[0][1] == 0
    changes = [abs(b[0] - a[0]) for a, b in itertools.pairwise(said)]
    assert [step[1] for step in said[1:]] == [float(change < 1e-3) for change in changes]
    assert said[-1][1] == 1


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_batches_come_close_to_what_all_rows_give(covariance):
    x = blobs(6000, apart=8.0)
    x = (x - x.mean(dim=0)) / x.std(dim=0)  # else a spherical mixture sees one column alone
    whole, batches = (build(GMMConfig(3, 3, covariance, batch_rows=rows)) for rows in (0, 300))
    fitted(whole, TensorPasses(x), 60)
    fitted(batches, TensorPasses(x), 20 * 8)
    reached, wanted = (float(model.log_prob(x).mean()) for model in (batches, whole))
    assert reached == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("kind", ["full", "tied", "diagonal"])
def test_moments_of_two_parts_are_those_of_the_whole(kind):
    x, weights = blobs(90), torch.rand(90, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels = (
        torch.arange(90) % 3 * (torch.arange(90) < 70)
    )  # the second part has rows of the first cluster alone
    first, second = (of_labels(kind, x[p], weights[p], labels[p], 3) for p in (slice(70), slice(70, 90)))
    merged, whole = first.plus(second), of_labels(kind, x, weights, labels, 3)
    assert torch.allclose(merged.count, whole.count)
    assert torch.allclose(merged.mean, whole.mean, rtol=1e-12)
    assert torch.allclose(merged.scatter, whole.scatter, rtol=1e-9)


@pytest.mark.parametrize("batch_rows", [0, 15_000])
def test_the_number_of_threads_changes_no_bit_and_is_left_as_it_was(batch_rows):
    x, found = blobs(20_000), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            model = started(x, batch_rows=batch_rows)
            fitted(model, TensorPasses(x), 3)
            assert torch.get_num_threads() == threads
            found.append(model.covariances)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


seeds = st.integers(0, 10_000)


@settings(max_examples=25, deadline=None)
@example(seed=5760, covariance="full", components=5)  # positive definite until it is scaled
@given(seed=seeds, covariance=st.sampled_from(COVARIANCES), components=st.integers(1, 5))
def test_the_likelihood_never_falls_and_weights_sum_to_one(seed, covariance, components):
    x = blobs(80, 2, components, seed, apart=1.0)
    model = build(GMMConfig(2, components, covariance, regularisation=0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        steps = list(itertools.islice(model.fit(TensorPasses(x), Noise(seed), {}), 12))
    for step, following in itertools.pairwise(steps):
        if not step["reseeded"]:
            assert following["log_likelihood"] >= step["log_likelihood"] - 1e-9 * abs(step["log_likelihood"])
    assert model.weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert (model.weights >= 0).all()


@settings(max_examples=15, deadline=None)
@given(seed=seeds, covariance=st.sampled_from(COVARIANCES))
def test_the_order_of_rows_does_not_change_a_fit(seed, covariance):
    x = blobs(120, seed=seed)
    order = torch.tensor(np.random.default_rng(seed).permutation(120))
    models = [started(x, covariance, regularisation=0.1) for _ in range(2)]  # no component may collapse
    fitted(models[0], TensorPasses(x), 5)
    fitted(models[1], TensorPasses(x[order]), 5)
    assert all(
        torch.allclose(a, b, rtol=1e-7) for a, b in zip(*(m.parameters() for m in models), strict=True)
    )


@settings(max_examples=15, deadline=None)
@given(seed=seeds, covariance=st.sampled_from(COVARIANCES))
def test_a_weighted_row_counts_as_that_many_rows(seed, covariance):
    x = blobs(120, seed=seed)
    times = torch.tensor(np.random.default_rng(seed).integers(0, 4, size=120))
    models = [started(x, covariance, regularisation=0.1) for _ in range(2)]  # no component may collapse
    found = fitted(models[0], TensorPasses(x, times.double()), 5)
    assert np.allclose(
        fitted(models[1], TensorPasses(x.repeat_interleave(times, dim=0)), 5), found, rtol=1e-9
    )
    assert all(
        torch.allclose(a, b, rtol=1e-7) for a, b in zip(*(m.parameters() for m in models), strict=True)
    )


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_an_empty_component_begins_anew_with_a_warning(covariance):
    x = blobs()
    model = build(GMMConfig(3, 3, covariance))
    means, covariances, weights = start_of(x, covariance)
    means[2] = 1e9
    model.start(means, covariances, weights)
    with pytest.warns(ZooWarning, match="1 of 3 components were empty"):
        steps = list(itertools.islice(model.fit(TensorPasses(x), Noise(0), {}), 30))
    assert [step["reseeded"] for step in steps] == [1.0] + [0.0] * 29
    assert (model.weights > 0.01).all()
    assert x.amin(dim=0).le(model.means[2]).all()
    assert x.amax(dim=0).ge(model.means[2]).all()


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
def test_a_component_that_collapses_on_one_row_begins_anew(covariance):
    x = torch.cat([blobs(100, apart=0.1), torch.full((1, 3), 1e6, dtype=torch.float64)])
    model = build(GMMConfig(3, 2, covariance, regularisation=0.0))
    with pytest.warns(ZooWarning, match="degenerate"):
        fitted(model, TensorPasses(x), 5)
    assert all(value.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize("batch_rows", [0, 100])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_named_by_row_and_column(bad, batch_rows):
    x = blobs()
    x[321, 1] = bad
    model = started(blobs(), batch_rows=batch_rows, start_rows=100 if batch_rows else 1000)
    before = copy.deepcopy(model)
    with pytest.raises(DataError, match="row 321, column 1"):
        fitted(model, TensorPasses(x), 5)
    if not batch_rows:
        assert torch.equal(model.means, before.means)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_column_that_does_not_vary_is_kept_in_bounds_by_the_regularisation(covariance):
    x = blobs()
    x[:, 1] = 7.0
    model = build(GMMConfig(3, 3, covariance))
    fitted(model, TensorPasses(x), 5)
    assert torch.allclose(model.means[:, 1], torch.tensor(7.0).double())
    assert model.log_prob(x).isfinite().all()


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal"])
def test_a_column_that_does_not_vary_is_refused_without_regularisation(covariance):
    x = blobs()
    x[:, 1] = 7.0
    with pytest.raises(DataError, match="look at column 1"):
        fitted(build(GMMConfig(3, 3, covariance, regularisation=0.0)), TensorPasses(x), 1)


def test_fewer_rows_than_components_are_refused():
    for rows, said in ((2, "2 rows are too few for 3 components"), (1, "1 row is too few for 3 components")):
        with pytest.raises(DataError, match=said):
            fitted(build(GMMConfig(3, 3)), TensorPasses(blobs(rows)), 1)


def test_values_whose_squares_are_beyond_all_numbers_are_refused_as_such():
    with pytest.raises(DataError, match="too large or too small to compute with"):
        fitted(build(GMMConfig(3, 3)), TensorPasses(blobs() * 1e300), 1)


def test_building_one_without_weights_imports_no_compiler():
    """Seconds of start-up: torch.eye on the meta device would."""
    script = (
        "import sys, torch; from zoo_classic.gmm import build; from zoo_classic.gmm_config import GMMConfig\n"
        "with torch.device('meta'): build(GMMConfig(3, 2)), build(GMMConfig(3, 2, 'tied'))\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_rows_of_other_columns_are_refused():
    with pytest.raises(DataError, match=r"must be \(B, 4\)"):
        fitted(build(GMMConfig(4, 3)), TensorPasses(blobs()), 1)


def test_rows_that_are_all_the_same_are_fitted_by_one_component():
    x = torch.full((20, 2), 3.0, dtype=torch.float64)
    model = build(GMMConfig(2, 1))
    fitted(model, TensorPasses(x), 3)
    assert model.means.tolist() == [[3.0, 3.0]]
    assert model.covariances[0].diagonal().tolist() == pytest.approx([1e-6, 1e-6])


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_rows_that_are_all_the_same_need_a_regularisation(covariance):
    x = TensorPasses(torch.full((20, 2), 3.0, dtype=torch.float64))
    copies = "20 rows have 1 different value and carry as many components: 2 of the 3 are copies"
    with (
        pytest.raises(DataError, match="columns that do not vary") as refused,
        pytest.warns(ZooWarning, match=copies),
    ):
        fitted(build(GMMConfig(2, 3, covariance, regularisation=0.0)), x, 1)
    assert "--set config.relative_regularisation=1e-3" in refused.value.hint
    with pytest.warns(ZooWarning, match=copies):
        found = fitted(build(GMMConfig(2, 3, covariance)), x, 3)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_columns_that_follow_from_one_another_are_fitted(covariance, precision):
    """The second column is 1000 times the first: no digits of float32 are left for what is between them."""
    x = blobs(columns=2)
    x[:, 1] = 1000 * x[:, 0]
    model = build(GMMConfig(2, 3, covariance, precision=precision))
    found = fitted(model, TensorPasses(x), 8)
    assert found == sorted(found) or precision == "float32"
    assert np.isfinite(found).all()
    assert model.log_prob(x).isfinite().all()


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [float("nan"), 1.0], [1.0]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(DataError):
        TensorPasses(blobs(2), torch.tensor(weights))


def test_rows_without_any_weight_are_refused():
    with pytest.raises(DataError, match="weight"):
        fitted(build(GMMConfig(3, 3)), TensorPasses(blobs(), torch.zeros(400)), 1)
