"""Sequences as a fit takes them: symbols or frames of numbers in order, and what is held out to measure on."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.datasets import previews, sequence_files
from zoo.datasets.arrays import config_settings, evaluating
from zoo.datasets.file_rules import FileRules
from zoo.datasets.material import Rows
from zoo.datasets.passes import ALONE, Team
from zoo.datasets.sequence_files import Sequences, Wanted
from zoo.datasets.sequence_passes import SequencePasses
from zoo.datasets.sequence_split import Part, cut, divided, in_runs, named
from zoo.datasets.source import Source
from zoo.datasets.split import split_seed
from zoo.datasets.table_columns import Columns, few, standardised
from zoo.errors import CapabilityError, DataError, UsageError, ZooWarning
from zoo.family import Family
from zoo.modality import sequence_format
from zoo.modality.sequence_batches import BATCH_SIZE, log_likelihoods
from zoo.modality.sequence_format import Format
from zoo.modality.sequence_samples import SEQUENCE, content
from zoo.settings import setting

__all__ = ["SequenceMaterial", "SequenceRules", "Sequences", "read"]

_FRAMES_AT_ONCE = 1 << 20
_MOST_SYMBOLS = 10_000_000  # that whole numbers are taken for


@dataclass(frozen=True)
class SequenceRules(FileRules):
    """How files become sequences to fit to and sequences to measure on."""

    columns: tuple[str, ...] = setting(
        (), help="names of a frame's columns in a table; none means all but the one that says the sequence"
    )
    sequence: str = setting(
        SEQUENCE,
        help="the column of a table that says which sequence a row belongs to; without it, a file is one",
    )
    split: str = setting(
        "files", help="what is a sequence of text: a file, or a line", choices=("files", "lines")
    )
    letters: bool = setting(False, help="fold text to the letters a to z and single blanks")
    symbols: bool = setting(False, help="read numbers as symbols")
    window: int | None = setting(
        None,
        help="cut longer sequences into pieces of so many frames; whole when unset",
        minimum=1,
        unit="frames",
    )
    standardise: bool = setting(
        False, help="give each column mean 0 and variance 1 over the frames that are fitted to"
    )
    held_out: tuple[str, ...] = setting(
        (), help="names of the sequences never fitted to: of their files, or in the table's column"
    )
    held_out_share: float = setting(
        0.05,
        help="share of the sequences that the seed draws when none is named; of a single one its last frames",
        minimum=0.0,
        maximum=0.9,
    )
    split_seed: int | None = split_seed()


def read(source: Source, rules: SequenceRules, seed: int) -> SequenceMaterial:
    """The sequences of text files, tables and arrays; see `zoo.datasets.sequence_files.read` for what it raises."""
    members = source.files(sequence_files.SUFFIXES)
    wanted = Wanted(
        rules.columns, rules.sequence, rules.split == "lines", rules.letters, rules.symbols, rules
    )
    return SequenceMaterial(sequence_files.read(members, wanted), rules, seed)


class SequenceMaterial:
    """A `zoo.datasets.material.Material` of sequences. `bind` comes before what fits, measures or draws."""

    def __init__(self, sequences: Sequences, rules: SequenceRules, seed: int) -> None:
        """Raises DataError when the sequences cannot be divided, UsageError for rules that do not fit them."""
        if rules.standardise and sequences.format.symbols is not None:
            raise UsageError(
                "data.standardise is for numbers, but these are sequences of symbols",
                hint="leave it out, or choose numeric columns: --set data.columns=NAME",
            )
        self._sequences, self._rules = sequences, rules
        self._family: Family | None = None
        self._format: Format | None = None
        self._numbers: np.ndarray | None = None  # the model's number of each symbol of the data
        self._learned = self._warned = False
        chosen = named(sequences.names, rules.held_out)
        self._train, self._held_out = divided(sequences.lengths, rules.held_out_share, seed, chosen)
        self.summary = self._summary()

    def learn(self, folder: Path) -> None:
        """Write what a frame is into folder/sequence.json."""
        found = self._sequences.format
        if self._rules.standardise:
            found = dataclasses.replace(found, columns=self._measured())
        found.write(folder / sequence_format.FILE)
        self._learned = True

    def bind(self, family: Family, files: Mapping[str, Path]) -> dict[str, Any]:
        """Read what a frame is to the network; give what of a new network's config the data decides.

        A network keeps the symbols and the scales that it was made with. Raises DataError when the data has symbols
        or columns that the network does not know.
        """
        if sequence_format.FILE not in files:
            raise DataError(
                f"{family.name}: there is no {sequence_format.FILE}, so it is not known what a frame is"
            )
        found = sequence_format.read(files[sequence_format.FILE])
        self.bind_to(family, found)
        return config_settings(family, self._decided(found)) if self._learned else {}

    def bind_to(self, family: Family, found: Format) -> None:
        """As `bind`, to a format that is known. Raises DataError as it does."""
        own = self._sequences.format
        if found.symbols is None:
            if own.symbols is not None or own.names != found.names:
                held = "symbols" if own.symbols is not None else f"the columns {few(own.names)}"
                raise DataError(f"the data has {held}, but the network has the columns {few(found.names)}")
        else:
            self._numbers = _numbered(own, found)
        self._family, self._format = family, found

    def rows(self, network: nn.Module, seed: int) -> Rows:  # noqa: ARG002 - as the protocol has it
        """Nothing learns sequences by gradients yet."""
        raise CapabilityError(
            "sequences are fitted to, by families such as hmm; no network is trained on them by gradients"
        )

    def passes(self, network: nn.Module, seed: int, team: Team) -> SequencePasses:  # noqa: ARG002 - as above
        """Batches of values (B, T) int64 symbols or (B, T, D) numbers, and lengths (B,).

        Numbers are float64 for a network of float64, else float32.
        """
        return self._passes(cut(self._train, self._rules.window), network, team)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Bits a symbol, or nats a frame in the data's units, of the held-out sequences, whole; and how many frames.

        Infinite when the network says that one of them is impossible.
        """
        _, found = self._bound()
        each, lengths = self.scores(network)
        if not len(each):
            return {}
        frames = int(lengths.sum())
        nats = -math.fsum(each) / frames
        if not math.isfinite(nats):
            nats = math.inf
            self._warn_of_impossible()
        if found.symbols is None:
            return {"held_out_nats_per_frame": nats, "held_out_frames": frames}
        return {"held_out_bits_per_symbol": nats / math.log(2), "held_out_frames": frames}

    def scores(
        self,
        network: nn.Module,
        *,
        whole: bool = False,
        runs: Sequence[int] | None = None,
        batch_size: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The log-likelihood of each held-out sequence, (n,) float64, and how many frames it is of, (n,) int64.

        In nats, a density's of the data's own units; of the end of a sequence, given what comes before it.
        whole: of all sequences, from their first frame on. runs: (n,) into how many runs of equal length each one's
        frames are divided; then both are of each run, (sum of runs,), given all that comes before it.
        batch_size: sequences computed together.
        """
        _, found = self._bound()
        part = divided(self._sequences.lengths, 0.0, 0)[0] if whole else self._held_out
        passes, size = self._passes(part, network, ALONE), batch_size or BATCH_SIZE
        which, begins, ends = in_runs(
            part, np.ones(passes.rows, np.int64) if runs is None else np.array(runs)
        )
        whole_ones = [passes.sequence(number) for number in range(passes.rows)]
        beginnings = [
            whole_ones[number][:end] for number, end in zip(which.tolist(), ends.tolist(), strict=True)
        ]
        given = np.flatnonzero(part.given)
        with evaluating(network):
            until = np.array(log_likelihoods(network, beginnings, size))
            before = np.zeros(passes.rows)
            before[given] = log_likelihoods(
                network, [whole_ones[number][: part.given[number]] for number in given], size
            )
        before = np.where(begins > part.given[which], np.roll(until, 1), before[which])
        possible = until != -math.inf  # else what comes before may be impossible itself
        each = np.where(possible, until - np.where(possible, before, 0), -math.inf)
        return each - (ends - begins) * found.columns.log_scale, ends - begins

    def preview(self, network: nn.Module, count: int, seed: int, stem: Path) -> Iterator[Path]:
        """Draw sequences of the length that is usual: text into one .txt file under headings, others into a CSV."""
        from zoo.modality.sequence_model import SequenceModel

        family, found = self._bound()
        model = SequenceModel(stem.name, family, None, network, {}, format=found)
        with evaluating(network):
            samples = list(model.samples(count=count, seed=seed))
        if found.text:
            parts = [f"=== sample {sample.index}, seed {seed}\n{sample.drawn}\n" for sample in samples]
            yield previews.write(stem.with_name(f"{stem.name}.txt"), "\n".join(parts).encode())
        else:
            path = stem.with_name(f"{stem.name}.csv")
            yield previews.write(path, content(path, samples, found))

    def _warn_of_impossible(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                "what is held out is impossible under the model: it has symbols or steps that never came in what was "
                "fitted to; pseudo-counts, such as config.emission_prior=0.1 of an hmm, keep them possible",
                ZooWarning,
                stacklevel=3,
            )

    def _summary(self) -> str:
        own, count = self._sequences, len(self._sequences.lengths)
        frames = int(own.lengths.sum())
        kinds = f"{frames:,} frames of {len(own.format.names)} column{'s' * (len(own.format.names) != 1)}"
        if own.format.symbols is not None:
            word = "characters" if own.format.text else "symbols"
            kinds = f"{frames:,} {word}, {len(own.format.symbols)} different ones"
        said = f"{count:,} sequence{'s' * (count != 1)}: {kinds}"
        if count > 1:
            held_out = len(self._held_out.lengths)
            said += f", {held_out:,} sequence{'s' * (held_out != 1)} held out"
        elif self._held_out.frames:
            said += f", the last {self._held_out.frames:,} held out"
        empty = [f"{own.empty:,} empty ones left out"] if own.empty else []
        return "; ".join([said, *empty, *own.notes])

    def _measured(self) -> Columns:
        """Mean and deviation of the frames that are fitted to; a column that does not vary keeps its scale."""
        values, wanted = self._sequences.values, np.zeros(len(self._sequences.values), bool)
        for start, length in zip(self._train.starts.tolist(), self._train.lengths.tolist(), strict=True):
            wanted[start : start + length] = True
        parts = [slice(at, at + _FRAMES_AT_ONCE) for at in range(0, len(values), _FRAMES_AT_ONCE)]
        count = int(wanted.sum())
        with np.errstate(over="ignore", invalid="ignore"):
            mean = sum(values[part][wanted[part]].sum(axis=0) for part in parts) / count
            variance = sum(((values[part][wanted[part]] - mean) ** 2).sum(axis=0) for part in parts) / count
        return standardised(self._sequences.format.names, np.asarray(mean), np.asarray(variance))

    def _decided(self, found: Format) -> dict[str, Any]:
        """Settings of a new network's config. A column of counts may be taken for symbols by who asks for that."""
        if found.symbols is not None:
            if len(found.symbols) < 2:
                raise DataError(
                    f"the data has the symbol {found.symbols[0]!r} alone: there is nothing to learn"
                )
            return {"emissions": "categorical", "symbols": len(found.symbols), "columns": 1}
        decided = {"columns": len(found.names)}
        if len(found.names) == 1 and found.columns.plain:
            largest = _largest_count(self._sequences.values)
            if 1 <= largest < _MOST_SYMBOLS:
                decided["symbols"] = largest + 1
        return decided

    def _passes(self, part: Part, network: nn.Module, team: Team) -> SequencePasses:
        _, found = self._bound()
        double = any(weight.dtype == torch.float64 for weight in network.parameters())
        dtype = torch.float64 if double else torch.float32
        if found.symbols is not None:
            dtype = torch.int64
        return SequencePasses(
            self._sequences.values,
            part.starts,
            part.lengths,
            found,
            dtype,
            numbers=self._numbers,
            bounds=self._sequences.bounds()[:-1],
            team=team,
        )

    def _bound(self) -> tuple[Family, Format]:
        if self._family is None or self._format is None:
            raise DataError(
                "the sequences belong to no network yet: bind them to the files beside the weights first"
            )
        return self._family, self._format


def _numbered(own: Format, found: Format) -> np.ndarray:
    """The network's number of each symbol of the data, (V,) int64. Raises DataError for symbols it does not know."""
    if own.symbols is None:
        raise DataError(
            "the data has numbers, but the network has symbols",
            hint="--set data.symbols=true reads them as such",
        )
    if unknown := [symbol for symbol in own.symbols if symbol not in found.numbers]:
        told = found.unknown(unknown, "the data")
        if found.letters and not own.letters:
            told.hint = "the network has letters alone: --set data.letters=true folds text to them"
        raise told
    return np.array([found.numbers[symbol] for symbol in own.symbols], np.int64)


def _largest_count(values: np.ndarray) -> int:
    """The largest of (N, 1) whole numbers; -1 when one of them is negative or not whole."""
    largest = -1
    for at in range(0, len(values), _FRAMES_AT_ONCE):
        part = values[at : at + _FRAMES_AT_ONCE]
        if (part < 0).any() or (part != np.floor(part)).any():
            return -1
        largest = max(largest, int(part.max()))
    return largest
