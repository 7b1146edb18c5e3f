"""Pictures of tables: which plot, what it says, and images in a grid."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from zoo.datasets.table_columns import ImageShape
from zoo.datasets.table_files import Table
from zoo.errors import MissingDependencyError, UsageError
from zoo.modality import plots


def table(columns, rows=50, names=None):
    values = np.random.default_rng(0).normal(size=(rows, columns))
    return Table(names or tuple(f"column {n}" for n in range(columns)), values)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were made into PNGs."""
    figures, png = [], plots.figure_png
    monkeypatch.setattr(plots, "figure_png", lambda figure: figures.append(figure) or png(figure))
    return figures


def texts(figure):
    """All that is written in a figure but ticks."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
    return [text for text in found if text]


def seen(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_one_column_is_a_histogram_with_the_density_of_the_model(drawn):
    def density(rows):
        assert rows.shape == (500, 1)
        return -(rows[:, 0] ** 2) / 2

    content = plots.plot_png(table(1), "toy", density=density)
    [axes] = drawn[0].axes
    assert texts(drawn[0]) == ["toy: 50 rows", "column 0", "density"]
    assert axes.lines[0].get_ydata().max() == pytest.approx(1, abs=1e-3)
    heights = np.array([bar.get_height() * bar.get_width() for bar in axes.patches])
    assert heights.sum() == pytest.approx(1)
    assert len(np.unique(seen(content).reshape(-1, 4), axis=0)) > 10


def test_two_columns_are_a_scatter_plot(drawn):
    plots.plot_png(table(2), "toy")
    [axes] = drawn[0].axes
    assert axes.collections[0].get_offsets().tolist() == table(2).values.tolist()
    assert texts(drawn[0]) == ["toy: 50 rows", "column 0", "column 1"]


def test_more_columns_are_a_pair_plot_that_says_which_are_left_out(drawn):
    plots.plot_png(table(3), "toy")
    assert len([axes for axes in drawn[0].axes if axes.axison]) == 6  # below and on the diagonal
    plots.plot_png(table(9), "toy")
    assert len([axes for axes in drawn[1].axes if axes.axison]) == 21
    assert "toy: 50 rows\nnot shown: column 6, column 7, column 8" in texts(drawn[1])


def test_names_are_never_read_as_formulas_and_long_ones_are_cut(drawn):
    plots.plot_png(table(2, names=("$\\frac{$", "very " * 20)), "a $ b_$\x1b[2J")
    assert texts(drawn[0])[0] == "a $ b_$[2J: 50 rows"
    assert texts(drawn[0])[1] == "$\\frac{$"
    assert len(texts(drawn[0])[2]) == 28


def test_characters_that_the_font_lacks_and_constant_columns_are_drawn_without_a_warning():
    values = np.zeros((4, 3))
    values[:, 1] = 1e12
    plots.plot_png(Table(("\u4e2d\u6587", "b", "c"), values), "\U0001f600")
    plots.plot_png(Table(("a",), np.zeros((1, 1))), "one")


def test_rows_that_are_no_finite_numbers_are_left_out(drawn):
    values = np.array([[0.0, 1], [np.nan, 2], [3, np.inf], [4, 5]])
    plots.plot_png(Table(("a", "b"), values), "toy")
    assert drawn[0].axes[0].collections[0].get_offsets().tolist() == [[0, 1], [4, 5]]
    with pytest.raises(UsageError, match="no row has finite numbers alone"):
        plots.plot_png(Table(("a",), np.array([[np.nan]])), "toy")


def test_many_rows_are_cut_and_the_title_says_so(drawn, monkeypatch):
    monkeypatch.setattr(plots, "MOST_ROWS", 10)
    plots.plot_png(table(2), "toy", rows=1_000_000)
    assert texts(drawn[0])[0] == "toy: the first 10 of 1,000,000 rows"
    assert len(drawn[0].axes[0].collections[0].get_offsets()) == 10


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_the_same_rows_make_the_same_picture(columns):
    assert plots.plot_png(table(columns), "toy") == plots.plot_png(table(columns), "toy")


def test_images_are_a_grid_of_enlarged_pixels_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    values = np.array([[-9.0, 0, 100, 300], [255, 254.6, 1, 0]])
    shown = seen(plots.picture(Table(tuple("abcd"), values), "toy", image=ImageShape(2, 2, 1)))
    assert shown.shape == (2 + 48 + 2, 2 + 48 + 2 + 48 + 2)
    assert [shown[2 + y, 2 + x] for y in (0, 47) for x in (0, 47)] == [0, 0, 100, 255]
    assert [shown[2 + y, 52 + x] for y in (0, 47) for x in (0, 47)] == [255, 255, 1, 0]
    colour = seen(plots.grid_png(np.full((1, 3), [10.0, 20, 30]), ImageShape(1, 1, 3)))
    assert colour[20, 20].tolist() == [10, 20, 30]


def test_what_cannot_be_drawn_is_said(monkeypatch):
    with pytest.raises(UsageError, match="there are no rows to draw"):
        plots.picture(table(2, rows=0), "toy")
    monkeypatch.setattr(plots, "MOST_IMAGES", 3)
    with pytest.raises(UsageError, match="4 images are too many for one picture; at most 3"):
        plots.grid_png(np.zeros((4, 1)), ImageShape(1, 1, 1))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError) as missing:
        plots.plot_png(table(2), "toy")
    assert missing.value.hint == "pip install 'zoo-core[plots]'"


@pytest.mark.parametrize(("middle", "spread"), [(1e10, 1.0), (-1e10, 1e4), (0.0, 1e-8), (1e300, 1e299)])
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_ticks_can_be_told_apart_and_what_they_share_is_said(drawn, middle, spread, columns):
    values = middle + spread * np.random.default_rng(0).normal(size=(50, columns))
    plots.plot_png(Table(table(columns).names, values), "toy")
    axes = next(axes for axes in reversed(drawn[0].axes) if axes.axison)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(set(labels)) == len(labels) > 1
    assert max(map(len, labels)) <= 7
    assert axes.xaxis.get_offset_text().get_text()
