"""How well table and sequence models predict rows and sequences, with confidence intervals.

Rows count as independent, and so do whole sequences where there are at least 8. Of fewer, runs of frames are the
blocks, as runs of tokens are of few documents (see `zoo.evaluation.evaluating`): each given all that comes before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.datasets.file_rules import PLAIN, FileRules
from zoo.datasets.sequences import SequenceMaterial
from zoo.datasets.table import TableMaterial
from zoo.errors import DataError
from zoo.evaluation import held_out, materials
from zoo.evaluation.interval import LEAST_BLOCKS, Estimate, ratio, runs
from zoo.evaluation.materials import Measured
from zoo.modality.sequence_model import SequenceModel
from zoo.modality.table_model import TableModel


@dataclass(frozen=True)
class Metric:
    """A measure by its estimate. samples: how many there are of what `of` names, such as "rows"."""

    estimate: Estimate
    samples: int
    of: str


@dataclass(frozen=True, eq=False)
class RowEvaluation:
    """What was measured on rows. Those of weight 0 are left out.

    log_likelihoods, weights: (N,) of each row; in nats, a density's of the data's own units. columns: of a row.
    seed: what drew the held-out rows; None when the data was measured whole.
    """

    model: str
    data: str
    log_likelihoods: np.ndarray
    weights: np.ndarray
    columns: int
    seed: int | None
    nats_per_row: Estimate
    bits_per_column: Estimate

    @property
    def rows(self) -> int:
        return len(self.log_likelihoods)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """By name."""
        return {
            "nats_per_row": Metric(self.nats_per_row, self.rows, "rows"),
            "bits_per_column": Metric(self.bits_per_column, self.rows, "rows"),
        }


@dataclass(frozen=True, eq=False)
class SequenceEvaluation:
    """What was measured on sequences, or on the end of the only one, given what comes before it.

    log_likelihoods: (N,) of each sequence, in nats, a density's of the data's own units. lengths: (N,) in frames.
    unit: what a frame is: "frame" where it is numbers, "symbol", or "character" of text. blocks: what the intervals
    of frames were taken over; those of sequences are over whole ones. seed: as of `RowEvaluation`.
    """

    model: str
    data: str
    log_likelihoods: np.ndarray
    lengths: np.ndarray
    unit: str
    blocks: int
    seed: int | None
    nats_per_frame: Estimate
    nats_per_sequence: Estimate

    @property
    def sequences(self) -> int:
        return len(self.lengths)

    @property
    def frames(self) -> int:
        return int(self.lengths.sum())

    @property
    def bits_per_frame(self) -> Estimate:
        """For symbols, of which a frame is one; of numbers it would depend on their units."""
        return self.nats_per_frame.through(lambda nats: nats / math.log(2))

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """By name: nats a frame of numbers; of symbols bits a symbol, and nats a sequence."""
        if self.unit == "frame":
            return {"nats_per_frame": Metric(self.nats_per_frame, self.frames, "frames")}
        return {
            f"bits_per_{self.unit}": Metric(self.bits_per_frame, self.frames, f"{self.unit}s"),
            "nats_per_sequence": Metric(self.nats_per_sequence, self.sequences, "sequences"),
        }


def of_table(
    model: TableModel,
    sources: Sequence[str] | None = None,
    *,
    weights: str | None = None,
    files: FileRules = PLAIN,
    batch_size: int | None = None,
    offline: bool = False,
) -> RowEvaluation:
    """Nats a row and bits a column: of files, folders and built-in sets, or of what the model's run held out.

    Columns are matched by name. weights: the sources' column that says how much each row counts; what a run held out
    counts as its recipe says. files: how the sources' files are written. batch_size: rows computed together.
    Raises UsageError and DataError as `zoo.evaluate`.
    """
    data = materials.rows(model, sources, weights, files, offline=offline)
    scored = [part.scores(model.network, whole=data.whole, batch_size=batch_size) for part in data.parts]
    each, weight = (np.concatenate(parts) for parts in zip(*scored, strict=True))
    if not len(each):
        raise _nothing(data, model.name, "rows with a weight above 0")
    nats = -each * weight
    return RowEvaluation(
        model.name,
        data.name,
        each,
        weight,
        len(model.columns),
        data.seed,
        ratio(nats, weight),
        ratio(nats / math.log(2), weight * len(model.columns)),
    )


def of_sequences(
    model: SequenceModel,
    sources: Sequence[str] | None = None,
    *,
    files: FileRules = PLAIN,
    batch_size: int | None = None,
    offline: bool = False,
) -> SequenceEvaluation:
    """Nats a frame of numbers, or bits a symbol and nats a sequence; as `of_table`."""
    data = materials.sequences(model, sources, files, offline=offline)
    scored = [part.scores(model.network, whole=data.whole, batch_size=batch_size) for part in data.parts]
    each, lengths = (np.concatenate(parts) for parts in zip(*scored, strict=True))
    if not len(each):
        raise _nothing(data, model.name, "frames")
    blocks, sizes = each, lengths
    if len(lengths) < LEAST_BLOCKS and sum(counts := runs(lengths.tolist())) >= LEAST_BLOCKS:
        blocks, sizes = _runs(model, data, [len(part) for part, _ in scored], counts, batch_size)
    form = model.format
    return SequenceEvaluation(
        model.name,
        data.name,
        each,
        lengths,
        "frame" if form.symbols is None else "character" if form.text else "symbol",
        len(blocks),
        data.seed,
        ratio(-blocks, sizes),
        ratio(-each, np.ones(len(each))),
    )


def _runs(
    model: SequenceModel,
    data: Measured[SequenceMaterial],
    sequences: Sequence[int],
    counts: Sequence[int],
    batch_size: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihoods and lengths of runs of frames. sequences: of each part. counts: of each sequence's runs."""
    found, done = [], 0
    for part, several in zip(data.parts, sequences, strict=True):
        of_part = counts[done : done + several]
        found.append(part.scores(model.network, whole=data.whole, runs=of_part, batch_size=batch_size))
        done += several
    blocks, sizes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return blocks, sizes


def _nothing(data: Measured[TableMaterial] | Measured[SequenceMaterial], name: str, what: str) -> Exception:
    return DataError(f"{data.name} has no {what} to measure on") if data.whole else held_out.nothing(name)
