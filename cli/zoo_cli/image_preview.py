"""Rows that are images, drawn on a terminal: half blocks where it has colours, else shades of characters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo_cli import streams, terminal

if TYPE_CHECKING:
    import numpy as np
    from rich.text import Text

    from zoo.datasets.table_columns import ImageShape

MOST_IMAGES = 16
"""Images that a terminal shows."""

_SHADES = " .:-=+*#%@"


@contextmanager
def images(shape: ImageShape) -> Iterator[Callable[[np.ndarray], None]]:
    """An output of `zoo_cli.table_output`: the first images side by side, when all are there."""
    first: list[np.ndarray] = []
    count = 0

    def take(rows: np.ndarray) -> None:
        nonlocal count
        count += len(rows)
        first.extend(rows[: MOST_IMAGES - len(first)])

    yield take
    _show(first, shape)
    if (more := count - len(first)) > 0:
        terminal.note(f"... and {more:,} more image{'s' * (more != 1)}; -o FILE.png draws all")


def _show(rows: list[np.ndarray], shape: ImageShape) -> None:
    import numpy as np
    from rich.text import Text

    console, colour = terminal.console(streams.results()), terminal.has_colour(streams.results())
    pixels = np.nan_to_num(np.stack(rows)).clip(0, 255).round().astype(np.uint8)
    pixels = pixels.reshape(-1, shape.height, shape.width, shape.channels)
    wide = shape.width if colour else 2 * shape.width
    step = max(1, -(-wide // console.width))  # every so many pixels of an image that does not fit
    drawn = [(_blocks if colour else _shades)(image[::step, ::step]) for image in pixels]
    side_by_side = max(1, (console.width + 2) // (len(drawn[0][0]) + 2))
    for first in range(0, len(drawn), side_by_side):
        if first:
            console.print()
        for parts in zip(*drawn[first : first + side_by_side], strict=True):
            console.print(Text("  ").join(parts), no_wrap=True, crop=False)


def _blocks(image: np.ndarray) -> list[Text]:
    """An image (H, W, C) as lines in which each character is two pixels, one above the other."""
    from rich.text import Text

    lines = []
    for row in range(0, len(image), 2):
        line = Text()
        for column in range(image.shape[1]):
            lower = f" on {_rgb(image[row + 1, column])}" if row + 1 < len(image) else ""
            line.append("▀", style=_rgb(image[row, column]) + lower)
        lines.append(line)
    return lines


def _rgb(pixel: np.ndarray) -> str:
    red, green, blue = pixel.tolist() * (3 // len(pixel))
    return f"rgb({red},{green},{blue})"


def _shades(image: np.ndarray) -> list[Text]:
    """An image (H, W, C) as lines with two characters a pixel, which is about a square; blank is black."""
    from rich.text import Text

    light = image.mean(axis=2)
    return [Text("".join(2 * _SHADES[int(value) * len(_SHADES) // 256] for value in row)) for row in light]
