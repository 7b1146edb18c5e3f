"""What is measured on tables, against densities by hand and a run's own measurement."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import zoo
from table_runs import mixture_run, model
from zoo.datasets.table_columns import ImageShape
from zoo.datasets.table_files import Table
from zoo.errors import CapabilityError, DataError, UsageError
from zoo.modality.table_files import save

NAMES = ("x", "y")
ROWS = np.array([[10.0, 100.0], [13.0, 99.9], [11.0, 99.8], [7.5, 100.1]])


def by_hand(rows):
    """ln p of each row under `table_runs.model`, whose columns are normal: x by (11, 2), y by (99.9, 0.1)."""
    found = []
    for x, y in rows.tolist():
        parts = [(x, 11.0, 2.0), (y, 99.9, 0.1)]
        found.append(
            sum(
                -((value - mean) ** 2) / (2 * scale**2) - math.log(scale * math.sqrt(2 * math.pi))
                for value, mean, scale in parts
            )
        )
    return np.array(found)


def table(path, values=ROWS, names=NAMES):
    save(Table(names, np.asarray(values, np.float64)), path)
    return path


def test_the_numbers_are_those_of_a_sum_over_all_rows(tmp_path):
    found = zoo.evaluate(model(), table(tmp_path / "a.csv"))
    nats = -by_hand(ROWS)
    assert found.log_likelihoods == pytest.approx(-nats)
    assert found.nats_per_row.value == pytest.approx(nats.mean())
    assert found.bits_per_column.value == pytest.approx(nats.mean() / math.log(2) / 2)
    assert (found.rows, found.columns, found.seed, found.data) == (4, 2, None, str(tmp_path / "a.csv"))
    assert found.nats_per_row.low is None  # of fewer than 8 rows


def test_each_row_is_a_block_of_the_interval(tmp_path):
    rows = np.random.default_rng(0).normal((11, 99.9), (2, 0.1), (9, 2))
    found = zoo.evaluate(model(), table(tmp_path / "a.csv", rows))
    nats = -by_hand(rows)
    margin = 2.3060 * nats.std(ddof=1) / 3
    assert found.nats_per_row.high - found.nats_per_row.value == pytest.approx(margin, rel=1e-4)
    assert found.nats_per_row.value - found.nats_per_row.low == pytest.approx(margin, rel=1e-4)
    assert found.bits_per_column.high == pytest.approx(found.nats_per_row.high / math.log(4))


def test_rows_count_by_their_weights_and_not_at_all_without_one(tmp_path):
    weights = np.array([1.0, 0.0, 2.5, 4.0])
    path = table(tmp_path / "a.csv", np.column_stack([ROWS, weights]), (*NAMES, "w"))
    found = zoo.evaluate(model(), path, weights="w")
    assert found.nats_per_row.value == pytest.approx(-np.average(by_hand(ROWS), weights=weights))
    assert (found.rows, found.weights.tolist()) == (3, [1.0, 2.5, 4.0])
    unweighted = zoo.evaluate(model(), path)
    assert unweighted.nats_per_row.value == pytest.approx(-by_hand(ROWS).mean())
    none = table(tmp_path / "b.csv", np.column_stack([ROWS, weights * 0]), (*NAMES, "w"))
    with pytest.raises(DataError, match="has no rows with a weight above 0 to measure on"):
        zoo.evaluate(model(), none, weights="w")


def test_columns_are_matched_by_name_and_those_of_arrays_by_order(tmp_path):
    shuffled = table(
        tmp_path / "a.csv", np.column_stack([ROWS[:, 1], ROWS[:, 0] * 0, ROWS[:, 0]]), ("y", "z", "x")
    )
    np.save(tmp_path / "b.npy", ROWS)
    for path in (shuffled, tmp_path / "b.npy"):
        assert zoo.evaluate(model(), path).log_likelihoods == pytest.approx(by_hand(ROWS))
    np.save(tmp_path / "c.npy", ROWS[:, :1])
    with pytest.raises(DataError, match="has the columns c0, but toy has x, y"):
        zoo.evaluate(model(), tmp_path / "c.npy")
    with pytest.raises(DataError, match="has no column y; it has x, z"):
        zoo.evaluate(model(), table(tmp_path / "d.csv", ROWS, ("x", "z")))


def test_several_sources_and_a_folder_are_measured_together(tmp_path):
    one, two = table(tmp_path / "a.csv", ROWS[:1]), table(tmp_path / "b.csv", ROWS[1:])
    both, folder = zoo.evaluate(model(), [str(one), str(two)]), zoo.evaluate(model(), tmp_path)
    assert both.log_likelihoods.tolist() == folder.log_likelihoods.tolist()
    assert both.log_likelihoods == pytest.approx(by_hand(ROWS))
    assert both.data == f"{one}, {two}"


def test_rows_computed_together_change_nothing(tmp_path):
    path = table(tmp_path / "a.csv")
    assert zoo.evaluate(model(), path, batch_size=1).log_likelihoods == pytest.approx(
        by_hand(ROWS), rel=1e-14
    )


def test_images_are_measured_by_a_model_of_such_images(tmp_path):
    image = ImageShape(8, 8, 1)
    of_images = mixture_run(tmp_path / "a", image.names(), mean=[8] * 64, scale=[5] * 64, image=image)
    found = zoo.evaluate(str(of_images), "digits", device="cpu")
    assert (found.rows, found.columns, found.data) == (1797, 64, "digits")
    of_others = mixture_run(tmp_path / "b", [f"c{at}" for at in range(64)], mean=[8] * 64, scale=[5] * 64)
    with pytest.raises(DataError, match="digits has the columns r0c0"):
        zoo.evaluate(str(of_others), "digits", device="cpu")


def fitted(tmp_path, **rules):
    """A run of 3 steps of a mixture of two, on 40 weighted rows."""
    from zoo.training import run as training
    from zoo.training.recipe import Recipe

    drawn = np.random.default_rng(3)
    rows = np.column_stack([drawn.normal((0, 5), (1, 3), (40, 2)), drawn.uniform(0.5, 2, 40)])
    path = table(tmp_path / "rows.csv", rows, (*NAMES, "w"))
    data = {"held_out_share": 0.25, "weights": "w", "standardise": True, **rules}
    begun = training.begin(
        Recipe("gmm", {"components": 2}, str(path), data, {"steps": 3, "seed": 6}),
        tmp_path / "run",
        device="cpu",
    )
    return begun, list(training.steps(begun))


def test_a_run_is_measured_on_the_rows_that_it_held_out(tmp_path):
    begun, _ = fitted(tmp_path)
    found = zoo.evaluate(str(begun.folder), device="cpu")
    assert (found.seed, found.rows, found.data) == (6, 10, f"held out of {begun.recipe.source}")
    assert found.nats_per_row.value == pytest.approx(begun.best, rel=1e-12)
    assert found.nats_per_row.low < found.nats_per_row.value < found.nats_per_row.high
    whole = zoo.evaluate(str(begun.folder), begun.recipe.source, weights="w", device="cpu")
    assert (whole.seed, whole.rows) == (None, 40)
    assert set(np.round(found.log_likelihoods, 9)) < set(np.round(whole.log_likelihoods, 9))


def test_what_a_run_does_not_say_is_asked_for(tmp_path):
    begun, _ = fitted(tmp_path, held_out_share=0.0)
    with pytest.raises(UsageError, match="held nothing out"):
        zoo.evaluate(str(begun.folder), device="cpu")
    with pytest.raises(UsageError, match="is no run with held-out data of its own"):
        zoo.evaluate(model())
    with pytest.raises(UsageError, match=r"weights is 'w', but what .* held out counts as its recipe says"):
        zoo.evaluate(str(begun.folder), weights="w", device="cpu")


def test_options_of_text_and_arrays_are_refused(tmp_path):
    with pytest.raises(UsageError, match="window is 4, but toy makes table"):
        zoo.evaluate(model(), table(tmp_path / "a.csv"), window=4)
    with pytest.raises(UsageError, match="data is ndarray, but must be a file"):
        zoo.evaluate(model(), ROWS)
    with pytest.raises(UsageError, match="no data was named"):
        zoo.evaluate(model(), [])


def test_a_model_without_densities_is_refused(tmp_path):
    import dataclasses

    with pytest.raises(CapabilityError, match="gives no log-likelihoods"):
        zoo.evaluate(dataclasses.replace(model(), network=torch.nn.Linear(1, 1)), tmp_path)


def test_what_is_not_a_number_is_not_hidden(tmp_path):
    found = zoo.evaluate(model(means=(math.nan, 0)), table(tmp_path / "a.csv"))
    assert math.isnan(found.nats_per_row.value)
    assert found.bits_per_column.low is None
