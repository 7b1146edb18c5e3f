"""How drawn sequences are shown: CSV for a pipe, JSON lines, and for a person lines of text or a bar a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from zoo_cli import streams, terminal

if TYPE_CHECKING:
    import numpy as np

    from zoo.modality.sequence_format import Format
    from zoo.modality.sequence_samples import SequenceSample

_BARS = "▁▂▃▄▅▆▇█"
_MOST_COLUMNS = 12
_NAME = 24  # characters of a column's name
_STATES = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def as_json(samples: Iterable[SequenceSample], form: Format, *, states: bool) -> Iterator[SequenceSample]:
    """Write one JSON object a sample to standard output, and hand the sample on."""
    from zoo.modality.sequence_samples import record

    for sample in samples:
        terminal.out_json(record(sample, form, states=states))
        yield sample


def as_table(samples: Iterable[SequenceSample], form: Format, *, states: bool) -> Iterator[SequenceSample]:
    """Write CSV with a row a frame to standard output, and hand the samples on."""
    from zoo.modality import sequence_samples as written

    head = [written.heads(form, states=states)]
    for sample in samples:
        terminal.out(written.delimited([*head, *written.rows(sample, states=states)]), end="")
        head = []
        yield sample


def for_reading(samples: Iterable[SequenceSample], form: Format, *, states: bool) -> Iterator[SequenceSample]:
    """Show samples to a person: text and symbols in lines, each column of numbers as bars, and hand them on."""
    width = terminal.console(streams.results()).width
    for sample in samples:
        frames = len(sample.drawn)
        terminal.out(f"--- sample {sample.index}: {frames:,} frame{'s' * (frames != 1)} ---", style="dim")
        if isinstance(sample.drawn, str | list):
            _show_symbols(sample, width, states=states)
        else:
            _show_numbers(sample, form.names, width, states=states)
        yield sample


def _show_symbols(sample: SequenceSample, width: int, *, states: bool) -> None:
    """Symbols in lines as wide as the terminal, and beneath each the digit of its hidden state."""
    if isinstance(sample.drawn, str):
        cells = ["␤" if symbol == "\n" else terminal.one_line(symbol) or "·" for symbol in sample.drawn]
    else:
        cells = [terminal.one_line(symbol) + " " for symbol in sample.drawn]
    digits = _digits(sample) if states else ""
    at = 0
    while at < len(cells):
        end, room = at, width
        while end < len(cells) and (end == at or len(cells[end]) <= room):
            room -= len(cells[end])
            end += 1
        terminal.out("".join(cells[at:end]).rstrip() if not digits else "".join(cells[at:end]))
        if digits:
            beneath = (
                digit.ljust(len(cell)) for digit, cell in zip(digits[at:end], cells[at:end], strict=True)
            )
            terminal.out("".join(beneath), style="dim")
        at = end


def _show_numbers(sample: SequenceSample, names: Sequence[str], width: int, *, states: bool) -> None:
    """A line a column: its name, its course, and its smallest and largest value."""
    import numpy as np

    drawn = np.asarray(sample.drawn)
    shown = [terminal.one_line(name)[:_NAME] for name in names[:_MOST_COLUMNS]]
    left = max(map(len, [*shown, "state" if states else ""]))
    ranges = [f"{drawn[:, at].min():.4g} to {drawn[:, at].max():.4g}" for at in range(len(shown))]
    room = max(8, width - left - max(map(len, ranges)) - 5)
    for at, (name, said) in enumerate(zip(shown, ranges, strict=True)):
        terminal.out(f"{name.rjust(left)}  {sparkline(drawn[:, at], room)}  {said}")
    if states:
        places = np.linspace(0, len(drawn) - 1, min(room, len(drawn))).round().astype(int)
        digits = _digits(sample)
        terminal.out(f"{'state'.rjust(left)}  {''.join(digits[place] for place in places)}", style="dim")
    if len(names) > len(shown):
        more = len(names) - len(shown)
        terminal.note(f"... and {more} more column{'s' * (more != 1)}; -o FILE.csv saves all")


def sparkline(values: np.ndarray, width: int) -> str:
    """A course (T,) as bars, at most `width` of them: where there are more values, a bar is the mean of several."""
    import numpy as np

    if len(values) > width:
        parts = np.array_split(np.asarray(values, np.float64), width)
        values = np.array([part.mean() for part in parts])
    low, high = float(values.min()), float(values.max())
    levels = np.zeros(len(values)) if high == low else (values - low) / (high - low)
    return "".join(_BARS[min(len(_BARS) - 1, int(level * len(_BARS)))] for level in levels)


def _digits(sample: SequenceSample) -> str:
    """A sign for each frame's hidden state; * for those beyond the signs there are."""
    from zoo.modality.sequence_samples import told_states

    return "".join(_STATES[state] if state < len(_STATES) else "*" for state in told_states(sample).tolist())
