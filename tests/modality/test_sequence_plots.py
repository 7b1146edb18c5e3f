"""Pictures of drawn sequences: what is in them, and that nothing a person names can break one."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

import sequence_witness as witness
from zoo.datasets.table_columns import numbered, unscaled
from zoo.errors import MissingDependencyError, UsageError
from zoo.modality import sequence_plots
from zoo.modality.sequence_format import Format
from zoo.modality.sequence_plots import picture
from zoo.modality.sequence_samples import SequenceSample

STATES = np.array([0, 0, 1, 1, 0])
FRAMES = np.array([[1.0, 5.0], [2.0, 4.0], [3.0, 3.0], [4.0, 2.0], [5.0, 1.0]])
PALETTE = sequence_plots._COLOURS


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, as they are before they become bytes."""
    found = []
    as_png = sequence_plots.figure_png

    def keep(figure):
        found.append(figure)
        return as_png(figure)

    monkeypatch.setattr(sequence_plots, "figure_png", keep)
    return found


def sample(drawn, index=0, prompt=None, states=STATES):
    return SequenceSample(index, 7, prompt, drawn, states)


def size(png: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image.size


def test_each_column_has_a_panel_in_the_colours_of_its_states(figures):
    png = picture([sample(FRAMES, prompt=FRAMES[:3])], witness.NUMBERS, "model")
    assert min(size(png)) > 400
    upper, lower = figures[0].axes
    assert (upper.get_ylabel(), lower.get_ylabel(), lower.get_xlabel()) == ("x", "y", "frame")
    for axes, column in ((upper, 0), (lower, 1)):
        [points] = [made for made in axes.collections if isinstance(made, PathCollection)]
        assert np.asarray(points.get_offsets()).tolist() == [
            [time, value] for time, value in enumerate(FRAMES[:, column])
        ]
        assert [to_hex(colour) for colour in points.get_facecolor()] == [PALETTE[state] for state in STATES]
        [line] = [made for made in axes.collections if isinstance(made, LineCollection)]
        assert len(line.get_segments()) == 4
        given = axes.lines[0]
        assert (given.get_xdata().tolist(), given.get_ydata().tolist()) == (
            [-3, -2, -1],
            FRAMES[:3, column].tolist(),
        )
    assert figures[0].get_suptitle() == "model: 1 sample of 5 frames"
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["state 0", "state 1"]


def test_letters_have_the_colours_of_their_states_and_lines_end_where_they_do(figures):
    picture([sample("ab\nb ", prompt="to")], witness.LETTERS, "model")
    [axes] = figures[0].axes
    letters = {(text.get_position(), text.get_text()): to_hex(text.get_color()) for text in axes.texts}
    assert letters == {
        ((0.5, 0.5), "t"): sequence_plots._PALE,
        ((1.5, 0.5), "o"): sequence_plots._PALE,
        ((2.5, 0.5), "a"): PALETTE[0],
        ((3.5, 0.5), "b"): PALETTE[0],
        ((4.5, 0.5), "↵"): PALETTE[1],
        ((0.5, 1.5), "b"): PALETTE[1],
    }


def test_symbols_stand_over_time(figures):
    picture([sample(["T", "A", "T", "A", "A"], prompt=["G"])], witness.BASES, "model")
    [axes] = figures[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A", "G", "T"]
    [marks] = [made for made in axes.collections if isinstance(made, PathCollection)]
    assert np.asarray(marks.get_offsets()).tolist() == [[-1, 1], [0, 2], [1, 0], [2, 2], [3, 0], [4, 0]]
    expected = [sequence_plots._PALE, *(PALETTE[state] for state in STATES)]
    assert [to_hex(colour) for colour in marks.get_facecolor()] == expected


def test_what_does_not_fit_is_left_out_and_said(figures):
    many = [sample(FRAMES, index) for index in range(9)]
    picture(many, witness.NUMBERS, "m")
    assert (len(figures[-1].axes), figures[-1].get_suptitle()) == (
        8,
        "m: 9 samples of 5 frames (5 more samples not shown)",
    )
    wide = Format(None, unscaled(numbered(20)))
    picture([sample(np.tile(FRAMES, 10))], wide, "m")
    assert figures[-1].get_suptitle() == "m: 1 sample of 5 frames (12 more columns not shown)"
    picture([sample("\n" * 100, states=None)], witness.LETTERS, "m")
    assert figures[-1].get_suptitle() == "m: 1 sample of 100 frames (40 more lines not shown)"


@pytest.mark.parametrize("frames", [1, 2, 1000])
@pytest.mark.parametrize("states", [None, 1, 10, 40])
def test_any_number_of_frames_and_states_can_be_drawn(frames, states):
    told = None if states is None else np.arange(frames) % states
    png = picture([sample(np.ones((frames, 1)), states=told)], Format(None, unscaled(("x",))), "model")
    assert size(png)[0] > 1000


def test_of_many_states_the_colours_of_some_are_told(figures):
    picture([sample(np.ones((40, 1)), states=np.arange(40))], Format(None, unscaled(("x",))), "model")
    told = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert (told[0], told[-1], len(told)) == ("state 0", "state 39", 10)


def test_names_and_text_are_shown_as_they_are_but_for_what_could_do_harm(figures):
    form = Format(None, unscaled(("$x_1$ \x1b[31m",)))
    picture([sample(FRAMES[:, :1])], form, "$\\frac{1}{$\u202e")
    [axes] = figures[0].axes
    assert axes.get_ylabel() == "$x_1$ [31m"
    assert figures[0].get_suptitle().startswith("$\\frac{1}{$: 1 sample")
    odd = Format(("$", "\\", "\x07", "漢", "\u202e"), unscaled(("symbol",)), text=True)
    assert size(picture([sample("$\\\x07漢\u202e")], odd, "model"))[0] > 1000
    assert size(
        picture([sample(["$_{", "^}$", "", "\n", "é" * 99])], Format(("$_{",), unscaled(("s",))), "m")
    )


def test_what_is_missing_is_told(monkeypatch):
    with pytest.raises(UsageError, match="there are no samples to draw"):
        picture([], witness.NUMBERS, "model")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="matplotlib") as told:
        picture([sample(FRAMES)], witness.NUMBERS, "model")
    assert told.value.hint == "pip install 'zoo-core[plots]'"


@pytest.mark.parametrize("count", [2, 10, 25, 1000])
def test_legend_and_title_stand_inside_the_picture(figures, count):
    states = np.array([0, 1, count - 1])
    picture([sample(FRAMES[:3], states=states)], Format(None, unscaled(("a", "b"))), "a long name " * 9)
    whole = figures[0].bbox
    for part in (figures[0].legends[0], figures[0]._suptitle):
        box = part.get_window_extent()
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1


def test_frames_are_counted_in_whole_numbers(figures):
    picture([sample(FRAMES[:3], states=STATES[:3])], Format(None, unscaled(("a", "b"))), "toy")
    assert all(float(at).is_integer() for at in figures[0].axes[-1].get_xticks())
