"""Data frames where rows and sequences are taken: columns by name, and what is no number named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import zoo
from zoo.datasets.table_columns import numbered, unscaled
from zoo.errors import DataError, UsageError, ZooWarning
from zoo.modality import data_frames
from zoo.modality.sequence_model import SequenceModel
from zoo.modality.table_model import TableModel
from zoo.training import start
from zoo_classic.gmm import GMM
from zoo_classic.gmm_config import GMMConfig

pandas = pytest.importorskip("pandas")

ROWS = np.random.default_rng(0).normal(size=(60, 2)) * [1.0, 5.0]
PLAN = zoo.FitPlan(steps=2, until_converged=False)


def table() -> TableModel:
    """A new mixture of two columns that have no names."""
    network, family = GMM(GMMConfig(2, 2)), start.find("gmm").family
    return TableModel("new", family, network.config, network, {}, layout=unscaled(numbered(2)))


def chain() -> SequenceModel:
    return zoo.build("sunspots-hmm", dtype="auto")


def people(**more: Any) -> Any:
    return pandas.DataFrame({"name": ["x"] * 60, "weight": ROWS[:, 1], "height": ROWS[:, 0], **more})


def test_a_new_model_takes_the_names_of_the_frame_it_is_fitted_to() -> None:
    model, same = table(), table()
    frame = people()[["height", "weight"]]
    [*_, last] = zoo.train(model, frame, PLAN, device="cpu")
    [*_, wanted] = zoo.train(same, ROWS, PLAN, device="cpu")
    assert last.loss == wanted.loss
    assert model.columns == ("height", "weight")
    assert model.draw(2, given={"weight": 1.0}).names == ("height", "weight")
    scores = zoo.score(model, people()).items  # by name: another order, and one column more
    assert scores == zoo.score(same, ROWS).items
    assert np.array_equal(model.predict(people()), same.predict(ROWS))
    with pytest.raises(DataError, match="the data frame has no column weight; it has name, height"):
        model.log_prob(people().drop(columns="weight"))


def test_a_bare_network_takes_the_columns_in_their_order() -> None:
    network, same = GMM(GMMConfig(2, 2)), GMM(GMMConfig(2, 2))
    frame = pandas.DataFrame(ROWS, columns=[3, 7])
    [*_, last] = zoo.train(network, frame, PLAN, device="cpu")
    [*_, wanted] = zoo.train(same, ROWS, PLAN, device="cpu")
    assert last.loss == wanted.loss


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (["a"] * 60, r"column 'height' (has 'a' in row 0, which is no number|is of .*, not of numbers)"),
        (pandas.array([1] * 59 + [None], dtype="Int64"), "column 'height' (has <NA> in row 59|is nan)"),
        (pandas.date_range("2020-01-01", periods=60), "column 'height' is of datetime64.*, not of numbers"),
        ([1.0] * 59 + [np.nan], "row 60, column 'height' is nan, not a finite number"),
    ],
)
def test_what_is_no_number_is_named(column: Any, said: str) -> None:
    model = table()
    frame = people(height=column)[["height", "weight"]]
    with pytest.raises(DataError, match=said):
        zoo.train(model, frame, PLAN, device="cpu")
    with pytest.raises(DataError, match=said):
        zoo.score(model, frame)


def test_a_frame_is_one_sequence_or_as_many_as_its_column_says() -> None:
    model = chain()
    frame = pandas.DataFrame({"year": range(60), "value": ROWS[:, 0] * 30})
    [whole] = model.log_prob(ROWS[:, 0] * 30)
    assert model.log_prob(frame) == (whole,)
    assert model.log_prob(frame["value"]) == (whole,)
    assert model.log_prob([frame, frame]) == (whole, whole)
    frame["sequence"] = ["b"] * 20 + ["a"] * 30 + ["b"] * 10
    parts = [np.concatenate([ROWS[:20, 0], ROWS[50:, 0]]) * 30, ROWS[20:50, 0] * 30]
    assert zoo.score(model, frame).items == pytest.approx(model.log_prob(parts), rel=1e-12)
    [drawn] = model.samples(frame[:20], length=3)
    assert np.array_equal(np.asarray(drawn.prompt)[:, 0], ROWS[:20, 0] * 30)
    with pytest.raises(UsageError, match="the prompt is 2 sequences, but must be one"):
        list(model.samples(frame, length=3))


def test_a_new_chain_takes_the_name_of_the_column_it_is_fitted_to() -> None:
    model = chain()
    with pytest.warns(ZooWarning):  # eight states for sixty frames
        list(zoo.train(model, pandas.DataFrame({"return": ROWS[:, 0]}), zoo.FitPlan(steps=1), device="cpu"))
    assert model.names == ("return",)


def test_symbols_are_the_only_other_column() -> None:
    frame = pandas.DataFrame({"sequence": [1, 1, 2], "base": ["A", "C", "A"]})
    assert [one.tolist() for one in data_frames.sequences(frame, None)] == [["A", "C"], ["A"]]
    with pytest.raises(DataError, match="has the columns base, more, but symbols are one column"):
        data_frames.sequences(frame.assign(more=1), None)
