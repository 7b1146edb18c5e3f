"""Pictures of drawn sequences as PNG, coloured by hidden state: courses of numbers, letters, symbols over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import UsageError
from zoo.modality.plots import DARK, GREY, LONGEST_TITLE, figure_png, require_figure, shortened, tidy
from zoo.modality.sequence_format import Format
from zoo.modality.sequence_samples import SequenceSample
from zoo.text_safety import safe_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 8
"""Courses in one picture; the title says what is left out."""
MOST_LINES = 60
"""Lines of text in one picture."""
MOST_SYMBOLS = 40
"""Symbols that have a line of their own in a picture."""

_COLOURS = (
    "#3b6ea8",
    "#c8553d",
    "#4f9d69",
    "#8e6bbf",
    "#d9a441",
    "#4aa9b8",
    "#b8588a",
    "#7a6a58",
    "#8fae3c",
    "#5c5c5c",
)
_PALE = "#aaaaaa"
_DOTS_PER_INCH = 150
_LEGEND_COLUMNS = 5  # of a legend, so that states of many digits have room
_LETTERS_A_LINE = 72
_LEAST_GIVEN = 50  # frames before the drawn ones that are shown


def picture(samples: Sequence[SequenceSample], form: Format, title: str) -> bytes:
    """A PNG of samples of one length. title: such as the model's name.

    What a sample goes on from is gray. Raises MissingDependencyError without matplotlib, UsageError for no samples.
    """
    if not samples:
        raise UsageError("there are no samples to draw")
    states = _States.of(samples)
    if form.text:
        return figure_png(_text(samples, states, title))
    if form.symbols is not None:
        return figure_png(_symbols(samples, form, states, title))
    return figure_png(_courses(samples, form, states, title))


@dataclass(frozen=True)
class _States:
    """The colours of hidden states. known: whether there are any; else one colour is used for all frames."""

    count: int
    known: bool

    @classmethod
    def of(cls, samples: Sequence[SequenceSample]) -> _States:
        told = [sample.states for sample in samples if sample.states is not None]
        return cls(1 + max((int(states.max()) for states in told), default=0), bool(told))

    def colour(self, state: int) -> Any:
        if self.count <= len(_COLOURS):
            return _COLOURS[state]
        from matplotlib import colormaps

        return colormaps["turbo"](0.05 + 0.9 * state / (self.count - 1))

    def each(self, sample: SequenceSample) -> np.ndarray:
        """(T,) the state of each frame; 0 for all where none are known."""
        return np.zeros(len(sample.drawn), np.int64) if sample.states is None else sample.states

    def legend(self, figure: Figure) -> None:
        """What the colours mean; of many states, those of some."""
        if not self.known or self.count < 2:
            return
        from matplotlib.lines import Line2D

        told = np.unique(np.linspace(0, self.count - 1, min(self.count, len(_COLOURS))).round().astype(int))
        marks = [
            Line2D([], [], marker="o", linestyle="", markersize=6, color=self.colour(state))
            for state in told.tolist()
        ]
        names = [f"state {state}" for state in told]
        figure.legend(
            marks,
            names,
            loc="outside lower center",
            ncols=min(len(told), _LEGEND_COLUMNS),
            frameon=False,
            fontsize=9,
            labelcolor=GREY,
            handletextpad=0.2,
        )


def _courses(samples: Sequence[SequenceSample], form: Format, states: _States, title: str) -> Figure:
    """A panel for each sample and column, one below the other over the same time."""
    columns = min(len(form.names), MOST_PANELS)
    shown = samples[: max(1, MOST_PANELS // columns)]
    left_out = [
        f"{len(form.names) - columns} more columns" if columns < len(form.names) else "",
        f"{len(samples) - len(shown):,} more samples" if len(shown) < len(samples) else "",
    ]
    panels = len(shown) * columns
    figure = _figure((9.6, 1.3 + (2.6 if panels == 1 else 1.45) * panels), title, samples, left_out)
    axes: Any = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    for number, sample in enumerate(shown):
        for column in range(columns):
            at = axes[number * columns + column]
            _course(at, sample, column, states)
            at.set_ylabel(shortened(form.names[column]), fontsize=10, color=DARK, parse_math=False)
            if len(samples) > 1 and column == 0:
                _corner(at, f"sample {sample.index}")
    axes[-1].set_xlabel("frame", fontsize=10, color=DARK)
    figure.align_ylabels()
    states.legend(figure)
    return figure


def _course(axes: Axes, sample: SequenceSample, column: int, states: _States) -> None:
    """One column over time: the given frames gray, the drawn ones in the colours of their states."""
    from matplotlib.collections import LineCollection

    drawn = np.asarray(sample.drawn, np.float64)[:, column]
    time = np.arange(len(drawn), dtype=np.float64)
    if sample.prompt is not None:
        given = np.asarray(sample.prompt, np.float64)[-max(_LEAST_GIVEN, 2 * len(drawn)) :, column]
        axes.plot(np.arange(-len(given), 0), given, color=_PALE, linewidth=1.1)
        axes.plot([-1, 0], [given[-1], drawn[0]], color=_PALE, linewidth=1.1)
        axes.axvline(-0.5, color=_PALE, linewidth=0.8, linestyle=(0, (2, 2)))
    own = states.each(sample)
    colours = [states.colour(state) for state in own.tolist()]
    points = np.stack([time, drawn], axis=1)
    lines = np.stack([points[:-1], points[1:]], axis=1)
    if len(lines):
        axes.add_collection(LineCollection(list(lines), colors=colours[1:], linewidths=1.3, alpha=0.9))
    if len(drawn) <= 400:
        axes.scatter(time, drawn, s=9, c=colours, linewidths=0, zorder=3)
    axes.margins(x=0.01, y=0.08)
    axes.autoscale_view()
    axes.locator_params(axis="x", integer=True)
    tidy(axes)


def _text(samples: Sequence[SequenceSample], states: _States, title: str) -> Figure:
    """Letters in lines, each in the colour of its state; what was given stands before in gray."""
    lines: list[tuple[str, np.ndarray]] = []
    for sample in samples:
        if len(samples) > 1:
            lines += [("", np.zeros(0, np.int64))] * bool(lines)
            said = f"sample {sample.index}"
            lines.append((said, np.full(len(said), -1)))
        lines += _lines(str(sample.prompt or ""), str(sample.drawn), states.each(sample))
    left_out = [f"{len(lines) - MOST_LINES:,} more lines" if len(lines) > MOST_LINES else ""]
    lines = lines[:MOST_LINES]
    figure = _figure((9.6, 1.1 + 0.25 * len(lines)), title, samples, left_out)
    axes = figure.add_subplot()
    axes.set_xlim(-0.5, _LETTERS_A_LINE + 0.5)
    axes.set_ylim(len(lines), 0)
    axes.set_axis_off()
    size = _letter_size(figure)
    for row, (text, own) in enumerate(lines):
        for state in sorted(set(own.tolist())):
            of_state = own == state
            colour = _PALE if state < 0 else states.colour(state)
            letters = "".join(letter if here else " " for letter, here in zip(text, of_state, strict=True))
            for at, letter in enumerate(letters):
                if letter != " ":
                    drawn = axes.text(
                        at + 0.5,
                        row + 0.5,
                        letter,
                        family="monospace",
                        fontsize=size,
                        color=colour,
                        ha="center",
                        va="center_baseline",
                        parse_math=False,
                    )
                    drawn.set_in_layout(False)  # measuring each letter takes longer than drawing it
            if state >= 0 and states.known:
                axes.broken_barh(_runs(of_state), (row + 0.06, 0.88), color=colour, alpha=0.16, linewidth=0)
    states.legend(figure)
    return figure


def _letter_size(figure: Figure) -> float:
    """Points, so that a line fits the figure's width: a letter of the font is 0.6 as wide as it is high."""
    return float(figure.get_figwidth() * 0.96 * 72 / (_LETTERS_A_LINE + 1) / 0.6 * 0.94)


def _lines(given: str, drawn: str, states: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Lines of text with the state of each letter, -1 for what was given; a line's end is shown."""
    text = given + drawn
    own = np.concatenate([np.full(len(given), -1), states])
    lines = []
    at = 0
    while at < len(text):
        feed = text.find("\n", at, at + _LETTERS_A_LINE)
        end = feed + 1 if feed >= 0 else min(len(text), at + _LETTERS_A_LINE)
        shown = "".join("↵" if letter == "\n" else safe_text(letter) or "·" for letter in text[at:end])
        lines.append((shown, own[at:end]))
        at = end
    return lines


def _runs(wanted: np.ndarray) -> list[tuple[float, float]]:
    """Where the true entries of (n,) stand together: (first, how many)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(np.int8)))
    return [(float(first), float(end - first)) for first, end in edges.reshape(-1, 2).tolist()]


def _symbols(samples: Sequence[SequenceSample], form: Format, states: _States, title: str) -> Figure:
    """A panel for each sample: time to the right, a line for each symbol that occurs."""
    shown = samples[:MOST_PANELS]
    seen = set().union(*(set(sample.drawn) | set(sample.prompt or ()) for sample in shown))
    symbols = [symbol for symbol in form.symbols or () if symbol in seen]
    kept = symbols[:MOST_SYMBOLS]
    left_out = [
        f"{len(symbols) - len(kept):,} more symbols" if len(kept) < len(symbols) else "",
        f"{len(samples) - len(shown):,} more samples" if len(shown) < len(samples) else "",
    ]
    height = max(1.2, 0.22 * len(kept))
    figure = _figure((9.6, 1.3 + height * len(shown)), title, samples, left_out)
    axes: Any = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    places = {symbol: place for place, symbol in enumerate(kept)}
    for at, sample in zip(axes, shown, strict=True):
        _marks(at, sample, places, states)
        at.set_yticks(range(len(kept)), [shortened(symbol) for symbol in kept], parse_math=False)
        at.set_ylim(len(kept) - 0.4, -0.6)
        at.margins(x=0.01)
        at.locator_params(axis="x", integer=True)
        tidy(at, "x")
        if len(samples) > 1:
            _corner(at, f"sample {sample.index}")
    axes[-1].set_xlabel("frame", fontsize=10, color=DARK)
    states.legend(figure)
    return figure


def _marks(axes: Axes, sample: SequenceSample, places: dict[str, int], states: _States) -> None:
    given = list(sample.prompt or ())
    own = [-1] * len(given) + states.each(sample).tolist()
    marks = [
        (time - len(given), places[symbol], _PALE if state < 0 else states.colour(state))
        for time, (symbol, state) in enumerate(zip([*given, *sample.drawn], own, strict=True))
        if symbol in places
    ]
    size = float(np.clip(2400 / max(1, len(own)), 6, 60))
    axes.scatter(
        [time for time, _, _ in marks],
        [place for _, place, _ in marks],
        c=[colour for _, _, colour in marks],
        s=size,
        marker="s",
        linewidths=0,
    )
    axes.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    if given:
        axes.axvline(-0.5, color=_PALE, linewidth=0.8, linestyle=(0, (2, 2)))


def _figure(
    size: tuple[float, float], title: str, samples: Sequence[SequenceSample], left_out: Sequence[str]
) -> Figure:
    figure = require_figure()(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")
    count, frames = len(samples), len(samples[0].drawn)
    said = f"{count:,} sample{'s' * (count != 1)} of {frames:,} frame{'s' * (frames != 1)}"
    more = " and ".join(note for note in left_out if note)
    figure.suptitle(
        f"{shortened(title, LONGEST_TITLE)}: {said}" + (f" ({more} not shown)" if more else ""),
        fontsize=11,
        color=DARK,
        parse_math=False,
    )
    return figure


def _corner(axes: Axes, said: str) -> None:
    axes.set_title(said, fontsize=9, color=GREY, loc="right", pad=3)
