"""Table models: samples and densities in the data's units, what is given, and rows that are not the model's."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import zoo
from table_runs import NORMAL, Normal, NormalConfig, mixture_run, model
from zoo.datasets.table_columns import ImageShape
from zoo.datasets.table_files import Table
from zoo.errors import CapabilityError, DataError, UsageError, WeightsError
from zoo.modality.table import TableControls, assignments
from zoo.modality.table_model import opened

# the model's columns x and y are normal with these means and deviations, in the data's units
X, Y = stats.norm(10 + 2 * 0.5, 2), stats.norm(100 - 0.1, 0.1)


def test_a_row_depends_on_the_seed_and_on_its_index_alone():
    whole = model().draw(20, seed=3).values
    assert whole.shape == (20, 2)
    for batch_size in (1, 3, 20, 50):
        assert (model().draw(20, seed=3, batch_size=batch_size).values == whole).all()
    assert (model().draw(5, seed=3, start=7).values == whole[7:12]).all()
    assert (np.stack(list(model().sample(20, seed=3))) == whole).all()
    assert not (model().draw(20, seed=4).values == whole).any()


def test_parts_are_blocks_of_the_rows_in_order():
    parts = list(model().parts(7, seed=1, batch_size=3))
    assert [part.shape for part in parts] == [(3, 2), (3, 2), (1, 2)]
    assert (np.concatenate(parts) == model().draw(7, seed=1).values).all()


def test_samples_are_in_the_units_of_the_data():
    table = model().draw(500, seed=0)
    assert table.names == ("x", "y")
    for values, distribution in zip(table.values.T, (X, Y), strict=True):
        assert stats.kstest(values, distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_densities_are_in_the_units_of_the_data(dtype):
    rows = np.array([[11.0, 99.9], [8.0, 100.1], [14.0, 99.95]])
    witness = X.logpdf(rows[:, 0]) + Y.logpdf(rows[:, 1])
    loaded = model(dtype=dtype)
    for size in (None, 1, 2):
        assert loaded.log_prob(rows, batch_size=size) == pytest.approx(witness, rel=1e-5)
    assert loaded.log_prob(rows.tolist()) == pytest.approx(witness, rel=1e-5)
    assert zoo.score(loaded, rows).items == pytest.approx(witness, rel=1e-5)


def test_a_tables_columns_are_matched_by_name():
    rows = np.array([[99.9, -1.0, 11.0], [100.1, -2.0, 8.0]])
    table = Table(("y", "other", " x"), rows)
    assert model().log_prob(table) == model().log_prob(rows[:, [2, 0]])
    with pytest.raises(DataError, match="the table has no column y; it has x, z"):
        model().log_prob(Table(("x", "z"), rows[:, :2]))


def test_a_data_frames_columns_are_matched_by_name():
    rows = np.array([[99.9, 11.0], [100.1, 8.0]])
    frame = pytest.importorskip("pandas").DataFrame(rows, columns=["y", "x"])
    assert model().log_prob(frame) == model().log_prob(rows[:, ::-1].copy())


def test_arrays_are_taken_however_they_lie_in_memory():
    rows = np.array([[11.0, 99.9], [8.0, 100.1], [14.0, 99.95]])
    witness = model().log_prob(rows)
    still = rows.copy()
    still.flags.writeable = False
    for like in (rows[::-1].copy()[::-1], np.asfortranarray(rows), still, torch.tensor(rows)):
        assert model().log_prob(like) == witness
    plain = model(mean=(0, 0), scale=(1, 1))  # nothing is computed before torch has it
    for like in (rows[::-1].copy()[::-1], still):
        assert plain.log_prob(like) == plain.log_prob(rows)


def test_a_fit_goes_through_rows_as_the_network_computes_with_them():
    [batch] = model().passes(np.array([[12.0, 99.9], [10.0, 100.0]])[::-1]).batches(5)
    assert batch.numpy() == pytest.approx(np.array([[0, 0], [1, -1]]), abs=1e-9)
    with pytest.raises(DataError, match=r"rows are \(2, 3\)"):
        model().passes(np.zeros((2, 3)))


def test_components_are_those_of_the_network():
    rows = np.array([[11.0, 1.0], [9.0, 1.0]])  # 0.5 and -0.5 as the network has them
    assert model().predict(rows).tolist() == [1, 0]
    found = model().responsibilities(rows, batch_size=1)
    assert found[:, 1] == pytest.approx([1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(0.5))])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("given", [("y=100.3",), {"y": 100.3}, ["  y = 100.3 "]])
def test_a_given_column_is_scaled_for_the_network_and_comes_back_as_it_was(dtype, given):
    loaded = model(dtype=dtype)
    values = loaded.draw(30, seed=2, given=given).values
    assert (values[:, 1] == 100.3).all()
    [(asked,)] = set(loaded.network.asked)
    assert asked == f"1={float((100.3 - 100) / 0.1)!r}"
    assert (values[:, 0] == model(dtype=dtype).draw(30, seed=2).values[:, 0]).all()


def test_a_given_column_changes_what_a_mixture_draws_of_the_others(tmp_path):
    loaded = zoo.load(str(mixture_run(tmp_path)))
    free = loaded.draw(2000, seed=0).values
    tall = loaded.draw(2000, seed=0, given={"height, in cm": 200.0}).values
    assert (tall[:, 0] == 200).all()
    # of both components the second is likelier for the tall: 0.8 of what is above its mean of 0.7
    assert tall[:, 1].mean() == pytest.approx(70 + 8 * (0.7 + 0.8 * (3 - 0.7)), abs=0.5)
    assert free[:, 1].mean() == pytest.approx(70 + 8 * (0.7 * 0.7 - 0.3 * 0.5), abs=0.7)
    assert tall[:, 1].std() < free[:, 1].std()
    again = loaded.draw(30, seed=0, start=100, batch_size=7, given=("height, in cm=200",)).values
    assert (again == tall[100:130]).all()


@pytest.mark.parametrize(
    ("given", "said", "hint"),
    [
        (
            "weight=1",
            "the column 'weight', but the columns are height, wide=short, z",
            "did you mean 'height'?",
        ),
        ("height", "given is 'height', but must be NAME=VALUE", "as in height=1.5"),
        ("height=tall", "given is 'tall' for the column 'height', but must be a finite number", ""),
        ("height=nan", "given is 'nan' for the column 'height'", ""),
        ("height=-inf", "given is '-inf' for the column 'height'", ""),
        ("q=1", "the column 'q'", ""),
    ],
)
def test_what_cannot_be_given_is_refused_by_name(given, said, hint):
    loaded = model(("height", "wide=short", "z"), (0, 0, 0), mean=(0, 0, 0), scale=(1, 1, 1))
    with pytest.raises(UsageError, match=said) as refused:
        loaded.draw(given=(given,))
    assert refused.value.hint == hint


def test_names_may_have_the_sign_and_no_column_is_given_twice_nor_all():
    names = ("a", "b=c")
    assert assignments(["b=c=-1e-3"], names) == {1: -0.001}
    with pytest.raises(UsageError, match="two values for the column 'a'"):
        assignments(["a=1", "a=2"], names)
    with pytest.raises(UsageError, match="given names every column"):
        assignments(["a=1", "b=c=2"], names)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1.0, math.nan]], "row 1, column 'y' is nan, not a finite number"),
        ([[1.0, 2.0], [3.0, 4.0], [math.inf, 1.0]], "row 3, column 'x' is inf"),
        ([1.0, 2.0], r"rows are \(2,\), but must be \(N, 2\)"),
        ([[1.0, 2.0, 3.0]], r"rows are \(1, 3\), but must be \(N, 2\)"),
        (np.zeros((0, 2)), r"rows are \(0, 2\), but must be \(N, 2\), N at least 1"),
        ([["a", "b"]], "rows must be numbers"),
        ([[1.0, 2.0], [3.0]], "rows must be numbers"),
    ],
)
def test_rows_that_are_not_the_models_are_refused(rows, said):
    with pytest.raises(DataError, match=said):
        model().log_prob(rows, batch_size=2)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"count": 0}, "count is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"start": -1}, "start is -1"),
        ({"temperature": 1.0}, "there is no setting 'temperature'"),
        ({"given": ("x=1",), "controls": TableControls()}, "either controls or given, not both"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_drawn(values, said):
    with pytest.raises(UsageError, match=said):
        model().parts(**values)
    with pytest.raises(UsageError, match="batch_size is 0"):
        model().log_prob([[1.0, 2.0]], batch_size=0)


def test_what_a_network_does_not_do_is_said():
    loaded = replace(model(), network=nn.Linear(2, 2))
    with pytest.raises(CapabilityError, match="toy does not sample"):
        loaded.draw()
    for method in ("log_prob", "predict", "responsibilities"):
        with pytest.raises(CapabilityError, match=f"toy has no {method.replace('_', ' ')}"):
            getattr(loaded, method)([[1.0, 2.0]])


def test_a_run_is_opened_with_the_names_scales_and_image_of_its_columns(tmp_path):
    loaded = zoo.load(str(mixture_run(tmp_path / "table", ("a b", 'the "c"'), mean=(1, 2), scale=(3, 4))))
    assert loaded.columns == ("a b", 'the "c"')
    assert loaded.image is None
    assert loaded.layout.scale.tolist() == [3, 4]
    shape = ImageShape(1, 2, 1)
    folder = mixture_run(tmp_path / "image", shape.names(), mean=(0, 0), scale=(1, 1), image=shape)
    assert zoo.load(str(folder)).image == shape


def target(columns):
    config = None if columns is None else NormalConfig(columns=columns)
    return SimpleNamespace(name="toy", family=NORMAL, config=config, entry=None, revision="")


def test_without_a_columns_file_columns_are_numbered():
    loaded = opened(target(2), Normal([0.5, -1.0]), {})
    assert loaded.columns == ("c0", "c1")
    assert loaded.log_prob([[0.5, -1.0]])[0] == pytest.approx(-math.log(2 * math.pi))
    with pytest.raises(WeightsError, match=r"there is no columns\.json"):
        opened(target(None), Normal([0.5, -1.0]), {})


def test_a_columns_file_that_does_not_fit_the_network_is_refused(tmp_path):
    file = mixture_run(tmp_path) / "columns.json"
    with pytest.raises(WeightsError, match=r"columns\.json names 3 columns, but the network has 2"):
        opened(target(2), Normal([0.0, 0.0]), {"columns.json": file})
    file.write_text("{}")
    with pytest.raises(WeightsError, match="does not say names, mean and scale"):
        opened(target(3), Normal([0.0, 0.0, 0.0]), {"columns.json": file})
