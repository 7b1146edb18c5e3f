"""Drawn sequences, and how they are written: as text, as rows of a table, as arrays, as JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import UsageError
from zoo.modality.sequence_format import Format

SEQUENCE = "sequence"
"""The column of a table that says which sample a row belongs to."""

STATE = "state"
"""The column of hidden states."""

SUFFIXES = (".txt", ".csv", ".tsv", ".npy", ".jsonl")
"""How the names of files end that `content` makes; .txt is for characters only."""

Drawn = str | list[str] | np.ndarray
"""A sequence as a person gets it: text, symbols, or frames (T, D) in the data's units."""


@dataclass(frozen=True, eq=False)
class SequenceSample:
    """One sample. prompt: what it goes on from, None for nothing. drawn: the new frames alone.

    states: (T,) the hidden state of each new frame; None when the network has none.
    """

    index: int
    seed: int
    prompt: Drawn | None
    drawn: Drawn
    states: np.ndarray | None = None

    @property
    def whole(self) -> Drawn:
        """What it goes on from, and the new frames."""
        if self.prompt is None:
            return self.drawn
        if isinstance(self.drawn, np.ndarray):
            return np.concatenate([self.prompt, self.drawn])
        return self.prompt + self.drawn  # type: ignore[operator] # both are text, or lists


def record(sample: SequenceSample, form: Format, *, states: bool = False) -> dict[str, Any]:
    """A sample as JSON: what it goes on from as `prompt`, and the new frames alone, by the kind they are of.

    states: whether the hidden state of each new frame is told.
    """
    said: dict[str, Any] = {"index": sample.index, "seed": sample.seed}
    if form.text:
        numbers = [form.numbers[symbol] for symbol in sample.drawn]
        said |= {"prompt": sample.prompt or "", "text": sample.drawn, "tokens": numbers, "finish": "length"}
    elif form.symbols is not None:
        said |= {"prompt": sample.prompt or [], "symbols": sample.drawn}
    else:
        prompt = [] if sample.prompt is None else np.asarray(sample.prompt).tolist()
        said |= {"columns": list(form.names), "prompt": prompt, "frames": np.asarray(sample.drawn).tolist()}
    return said | ({"states": told_states(sample).tolist()} if states else {})


def heads(form: Format, *, states: bool = False) -> list[str]:
    """The names above `rows`."""
    return [SEQUENCE, *form.names, *([STATE] if states else [])]


def rows(sample: SequenceSample, *, states: bool = False) -> Iterator[list[Any]]:
    """A row for each new frame: the sample's index, the frame, and where wanted its hidden state."""
    frames: Sequence[Any] = sample.drawn.tolist() if isinstance(sample.drawn, np.ndarray) else sample.drawn
    cells = (frame if isinstance(frame, list) else [frame] for frame in frames)
    if not states:
        yield from ([sample.index, *frame] for frame in cells)
        return
    for frame, state in zip(cells, told_states(sample).tolist(), strict=True):
        yield [sample.index, *frame, state]


def told_states(sample: SequenceSample) -> np.ndarray:
    """The sample's hidden states. Raises UsageError when the network has none."""
    if sample.states is None:
        raise UsageError("the model has no hidden states to tell: leave --states out")
    return sample.states


def delimited(rows: Iterable[Sequence[Any]], delimiter: str = ",") -> str:
    """Rows as the text of a CSV file, or of another with cells divided by something else."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue()


def check(path: Path, form: Format) -> None:
    """Raises UsageError when no file of this name can hold such sequences."""
    if path.suffix.lower() == ".txt" and not form.text:
        raise UsageError(
            f"cannot write to {path}: the model's frames are no characters", hint="name a .csv or .jsonl file"
        )


def content(
    path: Path,
    samples: Sequence[SequenceSample],
    form: Format,
    *,
    states: bool = False,
) -> bytes:
    """What a file of this name holds: whole texts, or the new frames alone. All samples are of one length.

    states: whether tables and lines tell the hidden states.
    """
    kind = path.suffix.lower()
    if kind == ".txt":
        return "\n\n".join(str(sample.whole) for sample in samples).encode() + b"\n"
    if kind == ".npy":
        file = io.BytesIO()
        drawn = [list(each.drawn) if isinstance(each.drawn, str) else each.drawn for each in samples]
        np.save(file, np.array(drawn), allow_pickle=False)
        return file.getvalue()
    if kind == ".jsonl":
        lines = (json.dumps(record(sample, form, states=states), ensure_ascii=False) for sample in samples)
        return "".join(f"{line}\n" for line in lines).encode()
    body = [row for sample in samples for row in rows(sample, states=states)]
    return delimited([heads(form, states=states), *body], "\t" if kind == ".tsv" else ",").encode()
