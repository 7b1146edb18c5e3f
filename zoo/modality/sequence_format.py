"""What the frames of a model's sequences are: symbols or numbers, their names, and how numbers were scaled.

`sequence.json` beside the weights says it. Shapes: T frames, D columns.
"""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets.table_columns import Columns, few
from zoo.errors import DataError
from zoo.modality import CODEC_FILE

FILE = CODEC_FILE["sequence"]
"""Beside the weights: what a `Format` says."""

LETTERS = " abcdefghijklmnopqrstuvwxyz"
"""The symbols of folded text, as in Cave and Neuwirth, "Hidden Markov models for English", 1980."""

_MOST_BYTES = 64_000_000
_SHOWN = 5  # unknown symbols that an error names

Given = str | Sequence[str] | Sequence[float] | np.ndarray
"""A sequence as a person gives it: text, a list of symbols, or frames (T,) or (T, D)."""


@dataclass(frozen=True, eq=False)
class Format:
    """symbols: those that a frame can be, in the order of their numbers; None for frames of numbers.

    columns: names of the numbers in a frame, and how they are scaled; of symbols it is one, as it is.
    text: symbols are characters, which are joined. letters: text is folded to `LETTERS` first.
    """

    symbols: tuple[str, ...] | None
    columns: Columns
    text: bool = False
    letters: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return self.columns.names

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """Each symbol's number."""
        return {symbol: number for number, symbol in enumerate(self.symbols or ())}

    def encode(self, given: Given, *, what: str = "the sequence", goes_on: bool = False) -> np.ndarray:
        """A sequence for the network: symbols as (T,) int64, numbers as (T, D) float64, scaled. T may be 0 here.

        what: names the sequence in errors. goes_on: a blank at the end of folded text stays, since more follows.
        Raises DataError for unknown symbols, for frames of other columns and for what is no finite number.
        """
        if self.symbols is not None:
            return self._encode_symbols(given, what, goes_on=goes_on)
        return self.columns.scaled(self.checked(given, what=what))

    def checked(self, given: Given, *, what: str = "the sequence") -> np.ndarray:
        """Frames of numbers as (T, D) float64, in their own units. Raises DataError as `encode` does."""
        try:
            as_given = np.asarray(given)
            frames = as_given.astype(np.float64)
        except (TypeError, ValueError):
            as_given = np.asarray("")
        if as_given.dtype.kind == "U":
            raise DataError(f"{what} is not made of numbers, but the model's frames are")
        frames = frames[:, None] if frames.ndim == 1 else frames
        if frames.ndim != 2 or frames.shape[1] != len(self.names):
            raise DataError(
                f"{what} has the shape {frames.shape}, but must be (T, {len(self.names)}) for the columns "
                f"{few(self.names)}"
            )
        wrong = np.argwhere(~np.isfinite(frames))
        if len(wrong):
            frame, column = wrong[0].tolist()
            raise DataError(
                f"{what}: frame {frame}, column {self.names[column]!r} is {frames[frame, column]}, "
                "not a finite number"
            )
        return frames

    def decode(self, frames: np.ndarray) -> str | list[str] | np.ndarray:
        """A drawn sequence, (T,) or (T, D), for a person: text, a list of symbols, or (T, D) in data units.

        Whole numbers that were not scaled stay whole.
        """
        if self.symbols is not None:
            drawn = [self.symbols[number] for number in frames.reshape(-1).tolist()]
            return "".join(drawn) if self.text else drawn
        frames = frames[:, None] if frames.ndim == 1 else frames
        return frames if self.columns.plain else self.columns.restored(frames)

    def write(self, path: Path) -> None:
        """Write sequence.json, whole or not at all."""
        from zoo.datasets.previews import write

        said = {
            "schema": 1,
            "kind": "numbers" if self.symbols is None else "symbols",
            "symbols": None if self.symbols is None else list(self.symbols),
            "text": self.text,
            "names": list(self.names),
            "mean": self.columns.mean.tolist(),
            "scale": self.columns.scale.tolist(),
            "letters": self.letters,
        }
        write(path, json.dumps(said, indent=1).encode() + b"\n")

    def _encode_symbols(self, given: Given, what: str, *, goes_on: bool) -> np.ndarray:
        if isinstance(given, str):
            if not self.text:
                raise DataError(
                    f"{what} is text, but the model's sequences are lists of symbols: {few(self.symbols or ())}"
                )
            given = folded(given, goes_on=goes_on) if self.letters else given
        symbols = [str(one) for one in (given.tolist() if isinstance(given, np.ndarray) else given)]
        numbers = self.numbers
        try:
            return np.array([numbers[symbol] for symbol in symbols], np.int64)
        except KeyError:
            raise self.unknown(dict.fromkeys(symbols), what) from None

    def unknown(self, symbols: Sequence[str] | Mapping[str, Any], what: str) -> DataError:
        """The error for those of some symbols that the model does not know."""
        strange = [symbol for symbol in symbols if symbol not in self.numbers]
        shown = ", ".join(repr(symbol) for symbol in strange[:_SHOWN])
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        kind = "characters" if self.text else "symbols"
        return DataError(f"{what} has {kind} that the model does not know: {shown}{more}", hint=self._known())

    def _known(self) -> str:
        symbols = self.symbols or ()
        if self.text:
            return f"it knows {len(symbols)} characters: {''.join(symbols)!r}"
        return f"it knows {len(symbols)} symbols: {few(symbols)}"


def read(path: Path) -> Format:
    """The format in a sequence.json. Raises DataError when it is none."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} is larger than {_MOST_BYTES:,} bytes")
        found = _of_plain(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        found = None
    if found is None:
        raise DataError(f"{path} does not say what a sequence's frames are: symbols, names, mean and scale")
    return found


def _of_plain(said: Any) -> Format | None:
    """None when it does not fit together. Raises KeyError, TypeError or ValueError for what is no format at all."""
    symbols = None if said["symbols"] is None else tuple(said["symbols"])
    names = tuple(said["names"])
    mean, scale = np.array(said["mean"], np.float64), np.array(said["scale"], np.float64)
    text, letters = said["text"], said["letters"]
    fits = said["schema"] == 1 and said["kind"] == ("numbers" if symbols is None else "symbols")
    fits = fits and len(names) > 0 and mean.shape == scale.shape == (len(names),)
    fits = fits and bool(np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all())
    fits = fits and all(isinstance(name, str) for name in (*names, *(symbols or ())))
    fits = fits and isinstance(text, bool) and isinstance(letters, bool)
    if symbols is not None:
        fits = fits and len(names) == 1 and 0 < len(symbols) == len(set(symbols))
        fits = fits and not (text and any(len(symbol) != 1 for symbol in symbols))
    return Format(symbols, Columns(names, mean, scale), text, letters) if fits else None


def folded(text: str, *, goes_on: bool = False) -> str:
    """Text in `LETTERS`: accents are dropped, and whatever else is no letter becomes a blank, several of them one.

    No blank stands at the text's beginning, and at its end only where it goes on.
    """
    plain = unicodedata.normalize("NFKD", text).lower()
    kept = (letter for letter in plain if not unicodedata.combining(letter))
    words = "".join(letter if "a" <= letter <= "z" else " " for letter in kept)
    ends = " " if goes_on and words.endswith(" ") and words.strip() else ""
    return " ".join(words.split()) + ends
