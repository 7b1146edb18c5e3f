"""columns.json, beside a table model's weights: the names of its columns, how values were scaled, and their image."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import DataError
from zoo.modality import CODEC_FILE

COLUMNS = CODEC_FILE["table"]
"""The file's name."""

_MOST_BYTES = 2**26  # of a columns.json; a hundred thousand columns have a tenth of it


@dataclass(frozen=True)
class ImageShape:
    """Rows that are images: height * width * channels columns, line by line, each a value from 0 to 255."""

    height: int
    width: int
    channels: int  # 1 or 3

    @property
    def columns(self) -> int:
        return self.height * self.width * self.channels

    def names(self) -> tuple[str, ...]:
        """r0c0, r0c1, ... by row and column; with several channels r0c0k0, r0c0k1, ..."""
        return tuple(
            f"r{row}c{column}" + (f"k{channel}" if self.channels > 1 else "")
            for row in range(self.height)
            for column in range(self.width)
            for channel in range(self.channels)
        )


@dataclass(frozen=True, eq=False)
class Columns:
    """A value x of the data is computed with as (x - mean) / scale. mean, scale: (D,) float64, scale above 0."""

    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    image: ImageShape | None = None

    @functools.cached_property
    def plain(self) -> bool:
        """Whether values are computed with as they are."""
        return bool((self.mean == 0).all() and (self.scale == 1).all())

    @functools.cached_property
    def log_scale(self) -> float:
        """What a log-density of scaled values is above that of values in the data's units, in nats."""
        return math.fsum(np.log(self.scale).tolist())

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Rows (..., D) of any numbers -> float64, as they are computed with."""
        values = np.asarray(values, np.float64)
        return values if self.plain else (values - self.mean) / self.scale

    def restored(self, values: np.ndarray) -> np.ndarray:
        """Rows (..., D) as they are computed with -> float64 in the data's units."""
        values = np.asarray(values, np.float64)
        return values if self.plain else values * self.scale + self.mean


def unscaled(names: tuple[str, ...], image: ImageShape | None = None) -> Columns:
    """Columns whose values are computed with as they are."""
    return Columns(names, np.zeros(len(names)), np.ones(len(names)), image)


def standardised(
    names: tuple[str, ...], mean: np.ndarray, variance: np.ndarray, image: ImageShape | None = None
) -> Columns:
    """Columns of this mean and variance, (D,), computed with as of mean 0 and variance 1.

    One that does not vary but by rounding keeps its scale. Raises DataError for one whose values are too large.
    """
    for name, one in zip(names, (mean + variance).tolist(), strict=True):
        if not math.isfinite(one):
            raise DataError(
                f"column {name!r} has values too large to take their variance",
                hint="divide the column by its size, or choose others: --set data.columns=NAME,NAME",
            )
    deviation = np.sqrt(variance)
    return Columns(names, mean, np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0), image)


def numbered(count: int) -> tuple[str, ...]:
    """The names of columns that have none: c0, c1, ..."""
    return tuple(f"c{number}" for number in range(count))


def to_json(columns: Columns) -> bytes:
    """What a columns.json holds."""
    said: dict[str, Any] = {
        "schema": 1,
        "names": columns.names,
        "mean": columns.mean.tolist(),
        "scale": columns.scale.tolist(),
    }
    if columns.image is not None:
        said["image"] = {
            "height": columns.image.height,
            "width": columns.image.width,
            "channels": columns.image.channels,
        }
    return json.dumps(said, indent=1).encode() + b"\n"


def read_columns(path: Path) -> Columns:
    """What a columns.json says. Raises DataError when it is none."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} has more than {_MOST_BYTES:,} bytes, too much for names of columns")
        said = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(said["names"])
        found = Columns(names, np.array(said["mean"], np.float64), np.array(said["scale"], np.float64))
        fits = said["schema"] == 1 and found.mean.shape == found.scale.shape == (len(names),)
        fits = fits and bool(np.isfinite(found.mean).all() and np.isfinite(found.scale).all())
        fits = fits and bool((found.scale > 0).all()) and all(isinstance(name, str) for name in names)
        image = _image(said["image"], len(names)) if "image" in said else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        fits, image = False, None
    if not fits or len(set(names)) < len(names):
        raise DataError(f"{path} does not say names, mean and scale of columns")
    return Columns(names, found.mean, found.scale, image)


def _image(said: Mapping[str, Any], columns: int) -> ImageShape:
    """Raises ValueError when it is not the shape of images with so many values."""
    sizes = (said["height"], said["width"], said["channels"])
    if not all(type(size) is int and size > 0 for size in sizes) or sizes[2] not in (1, 3):
        raise ValueError(said)
    shape = ImageShape(*sizes)
    if shape.columns != columns:
        raise ValueError(said)
    return shape


def few(names: tuple[str, ...]) -> str:
    """The first names, for an error."""
    shown = ", ".join(name[:40] for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
