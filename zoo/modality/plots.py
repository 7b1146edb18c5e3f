"""Pictures of tables as PNG: a histogram, a scatter plot or a pair plot; and rows that are images as a grid."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zoo.datasets.table_columns import ImageShape
from zoo.datasets.table_files import Table
from zoo.errors import MissingDependencyError, UsageError
from zoo.text_safety import safe_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 20_000
"""A plot shows no more; the title says so."""
MOST_COLUMNS = 6
MOST_IMAGES = 10_000

_COLOUR, _LINE, GREY, DARK = "#3b6ea8", "#c8553d", "#555555", "#222222"
_DOTS_PER_INCH = 150
_SMALLEST_IMAGE = 48  # pixels of the longer side in a grid
_LONGEST_NAME = 28
LONGEST_TITLE = 40
"""Characters of a model's name in a plot's title."""

Density = Callable[[np.ndarray], np.ndarray]
"""Rows (N, D) to their log-densities (N,), in nats."""


def picture(
    table: Table,
    title: str,
    *,
    image: ImageShape | None = None,
    density: Density | None = None,
    rows: int = 0,
) -> bytes:
    """A PNG of a table: its images in a grid, else a plot of its columns.

    title: such as the model's name. density: drawn over the histogram of a single column. rows: how many there are in
    all, of which the table has the first. Raises MissingDependencyError without matplotlib, which a grid does not
    need; UsageError for no rows, or more images than one picture holds.
    """
    if not len(table.values):
        raise UsageError("there are no rows to draw")
    if image is not None:
        return grid_png(table.values, image)
    return plot_png(table, title, density=density, rows=rows)


def grid_png(values: np.ndarray, image: ImageShape) -> bytes:
    """Rows (N, D) with values from 0 to 255, others are clipped, as images in a grid; small ones are enlarged."""
    from zoo.datasets import previews
    from zoo.datasets.images import grid
    from zoo.datasets.table import images_of

    if len(values) > MOST_IMAGES:
        raise UsageError(f"{len(values):,} images are too many for one picture; at most {MOST_IMAGES:,}")
    images = images_of(values, image)
    times = max(1, math.ceil(_SMALLEST_IMAGE / max(image.height, image.width)))
    return previews.png(grid(images.repeat_interleave(times, 2).repeat_interleave(times, 3)))


def plot_png(table: Table, title: str, *, density: Density | None = None, rows: int = 0) -> bytes:
    """A histogram of one column, a scatter plot of two, of more what pairs of the first six look like."""
    figure = require_figure()
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    values, names = table.values[:MOST_ROWS], [shortened(name) for name in table.names]
    finite = np.isfinite(values).all(axis=1)
    if not finite.any():
        raise UsageError("no row has finite numbers alone: there is nothing to draw")
    values = values[finite]
    shown = min(len(names), MOST_COLUMNS)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches
    made = figure(figsize=_size(shown), dpi=_DOTS_PER_INCH, layout=layout)
    notes = shortened(title, LONGEST_TITLE) + _notes(names[shown:], len(finite), max(rows, len(table.values)))
    if shown <= 2:
        axes = made.add_subplot()
        axes.set_title(notes, fontsize=11, color=DARK, parse_math=False, pad=12)
        if shown == 1:
            _histogram(axes, values[:, 0], names[0], density)
        else:
            _scatter(axes, values, names)
    else:
        _pairs(made, values[:, :shown], names[:shown])
        made.text(
            0.985,
            0.985,
            notes,
            ha="right",
            va="top",
            fontsize=13,
            color=DARK,
            parse_math=False,
            linespacing=1.6,
        )
    return figure_png(made)


def require_figure() -> type[Figure]:
    """matplotlib's class. Raises MissingDependencyError."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError(
            "the package matplotlib, which draws plots, is not installed",
            hint="pip install 'zoo-core[plots]'",
        ) from None
    return Figure


def figure_png(figure: Figure) -> bytes:
    """A figure as a PNG, the same bytes each time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    into = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about characters that the font does not have
        figure.savefig(into, format="png", metadata={"Software": None})
    return into.getvalue()


def _size(columns: int) -> tuple[float, float]:
    """In inches."""
    if columns <= 2:
        return (6.4, 4.6) if columns == 1 else (5.8, 5.4)
    side = 1.2 + 1.8 * columns
    return (side, side)


def _notes(left_out: Sequence[str], shown: int, rows: int) -> str:
    said = f": the first {shown:,} of {rows:,} rows" if shown < rows else f": {rows:,} row{'s' * (rows != 1)}"
    if left_out:
        names = ", ".join(left_out[:4]) + (f" and {len(left_out) - 4} more" if len(left_out) > 4 else "")
        said += f"\nnot shown: {names}"
    return said


def shortened(name: str, most: int = _LONGEST_NAME) -> str:
    """A name of a column or a symbol, or with LONGEST_TITLE of a model, as a plot has room for it."""
    name = safe_text(name)
    return name if len(name) <= most else name[: most - 1] + "…"


def _histogram(axes: Axes, values: np.ndarray, name: str, density: Density | None) -> None:
    axes.hist(values, bins=_bins(values), density=True, color=_COLOUR, alpha=0.6 if density else 0.85)
    axes.set_xlabel(name, parse_math=False)
    axes.set_ylabel("density")
    if density is not None:
        low, high = axes.get_xlim()
        at = np.linspace(low, high, 500)
        axes.plot(at, np.exp(density(at[:, None])), color=_LINE, linewidth=1.8, label="density of the model")
        axes.set_xlim(low, high)
        axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
        axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def _bins(values: np.ndarray) -> Any:
    """Edges of bins for a histogram: by the rule of Freedman and Diaconis, from 10 to 60 of them."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return 1
    quarter, three_quarters = np.quantile(values, [0.25, 0.75])
    width = 2 * (three_quarters - quarter) / len(values) ** (1 / 3)
    count = math.ceil((high - low) / width) if width > 0 else 10
    return int(min(60, max(10, count)))


def _scatter(axes: Axes, values: np.ndarray, names: Sequence[str]) -> None:
    _points(axes, values[:, 0], values[:, 1], size=12.0)
    axes.set_xlabel(names[0], parse_math=False)
    axes.set_ylabel(names[1], parse_math=False)
    tidy(axes)


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, *, size: float) -> None:
    """size: of a point, in square points, among a thousand; where there are more, they are smaller and fainter."""
    many = len(x)
    opacity = float(np.clip(2.4 * size / math.sqrt(many), 0.05, 0.7))
    size *= 2.0 if many < 200 else 1.0 if many < 2000 else 0.5
    axes.scatter(x, y, s=size, alpha=opacity, color=_COLOUR, linewidths=0)


def _pairs(figure: Figure, values: np.ndarray, names: Sequence[str]) -> None:
    """A histogram of each column on the diagonal, and below it each pair of columns; above is room for the title."""
    count = len(names)
    axes: Any = figure.subplots(count, count, sharex="col", squeeze=False)
    for row in range(count):
        for column in range(count):
            at = axes[row, column]
            if column > row:
                at.set_axis_off()
                continue
            if row == column:
                at.hist(values[:, row], bins=_bins(values[:, row]), color=_COLOUR, alpha=0.85)
            else:
                _points(at, values[:, column], values[:, row], size=7.0)
            tidy(at)
            at.locator_params(axis="x", nbins=3)
            at.locator_params(axis="y", nbins=4)
            at.tick_params(labelsize=8, labelleft=column == 0 != row, labelbottom=row == count - 1)
            at.yaxis.offsetText.set_visible(column == 0 != row)
            at.xaxis.offsetText.set_visible(row == count - 1)
            if row == column:
                at.set_yticks([])
            if row == count - 1:
                at.set_xlabel(names[column], fontsize=10, parse_math=False)
            if column == 0 != row:
                at.set_ylabel(names[row], fontsize=10, parse_math=False)
    figure.align_labels()


def tidy(axes: Axes, numbers: Literal["x", "y", "both"] = "both") -> None:
    """Quiet lines. numbers: which axes have some: "x", "y" or "both"; what their ticks share is written once."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(colors=GREY, labelsize=9)
    axes.ticklabel_format(axis=numbers, style="sci", scilimits=(-4, 7), useOffset=True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(DARK)
        axis.offsetText.set(color=GREY, fontsize=8)
