"""A sequence model: text, lists of symbols or frames of numbers, to what its network computes with and back.

Shapes: T frames, D columns, S hidden states, V symbols.
"""

from __future__ import annotations

import collections
import itertools
import reprlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from zoo.datasets.passes import ALONE, Team
from zoo.datasets.sequence_passes import SequencePasses
from zoo.datasets.table_columns import numbered, unscaled
from zoo.errors import CapabilityError, UsageError, WeightsError
from zoo.modality import data_frames, sequence_format
from zoo.modality.sequence import SequenceControls
from zoo.modality.sequence_batches import BATCH_SIZE, batch, batches, dtype_of, log_likelihoods
from zoo.modality.sequence_format import Format, Given, folded
from zoo.modality.sequence_samples import SEQUENCE, Drawn, SequenceSample
from zoo.modality.text import TextPiece, TextSample
from zoo.model import Model
from zoo.nn.padding import Batch
from zoo.noise import Noise
from zoo.settings import require_whole

if TYPE_CHECKING:
    from torch import nn

    from zoo.targets import Target


@dataclass(frozen=True, eq=False)
class Prediction:
    """What comes after a sequence. states: (S,) probabilities of the next hidden state.

    frame: (V,) probabilities of the symbols, in the order of the format's; or the expected frame (D,) in data units.
    """

    states: np.ndarray
    frame: np.ndarray


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SequenceModel(Model):
    """network: takes values (B, T) or (B, T, D) with lengths (B,); what it can do, its methods say.

    format: what a frame is. A sequence is given as text, as a list of symbols, or as frames (T,) or (T, D).
    """

    format: Format

    @property
    def symbols(self) -> tuple[str, ...] | None:
        """The symbols, in the order of their numbers; None where frames are numbers."""
        return self.format.symbols

    @property
    def names(self) -> tuple[str, ...]:
        """The names of a frame's columns."""
        return self.format.names

    def sample(
        self,
        prompt: Given | None = None,
        *,
        count: int = 1,
        seed: int = 0,
        start: int = 0,
        batch_size: int = BATCH_SIZE,
        controls: SequenceControls | None = None,
        **settings: Any,
    ) -> Iterator[Drawn]:
        """Whole sequences, what was given and how it goes on, in order of index; see `samples` for the arguments."""
        samples = self.samples(
            prompt, count=count, seed=seed, start=start, batch_size=batch_size, controls=controls, **settings
        )
        return (sample.whole for sample in samples)

    def samples(
        self,
        prompt: Given | None = None,
        *,
        count: int = 1,
        seed: int = 0,
        start: int = 0,
        batch_size: int = BATCH_SIZE,
        controls: SequenceControls | None = None,
        **settings: Any,
    ) -> Iterator[SequenceSample]:
        """Samples in order of index. Sample i is the same for every start, count and batch_size.

        prompt: a sequence to go on from; that of the controls when left out. start: the index of the first sample.
        controls, or its fields as keywords: see `zoo.modality.sequence.SequenceControls`.
        Raises UsageError for a bad setting, DataError for a prompt that the network does not know, before anything
        is drawn; DataError for one that it cannot follow.
        """
        asked = self.asked(controls, settings)
        given = self.prompt(asked.prompt) if prompt is None else prompt
        encoded, shown = self._encoded_prompt(given)
        batches = self._batches(count, seed, start, batch_size)
        return self._samples(batches, asked, encoded, shown)

    def _samples(
        self,
        batches: Iterable[tuple[int, Noise]],
        controls: SequenceControls,
        prompt: Batch | None,
        shown: Drawn | None,
    ) -> Iterator[SequenceSample]:
        for rows, noise in batches:
            [(states, frames)] = collections.deque(self._draw(rows, noise, controls, prompt), maxlen=1)
            for row in range(rows):
                yield SequenceSample(
                    noise.start + row,
                    noise.seed,
                    shown,
                    self.format.decode(frames[row]),
                    None if states is None else states[row],
                )

    def stream(
        self,
        prompt: str | None = None,
        *,
        count: int = 1,
        seed: int = 0,
        start: int = 0,
        batch_size: int = BATCH_SIZE,
        controls: SequenceControls | None = None,
        **settings: Any,
    ) -> Iterator[TextPiece]:
        """Text as it is drawn, for a model of characters; `tokens` are the numbers of symbols. Else as `samples`.

        Raises CapabilityError for a model whose frames are no characters.
        """
        if not self.format.text:
            raise CapabilityError(f"{self.name} writes no text; `samples` draws its sequences")
        asked = self.asked(controls, settings)
        encoded, shown = self._encoded_prompt(asked.prompt if prompt is None else prompt)
        batches = self._batches(count, seed, start, batch_size)
        return itertools.chain.from_iterable(
            self._stream_batch(rows, noise, asked, encoded, str(shown or "")) for rows, noise in batches
        )

    def generate(
        self,
        prompt: str | None = None,
        *,
        seed: int = 0,
        controls: SequenceControls | None = None,
        **settings: Any,
    ) -> str:
        """What a model of characters writes after a prompt, without it: the text of sample 0; see `stream`."""
        pieces = self.stream(prompt, seed=seed, controls=self.asked(controls, settings))
        return "".join(piece.text for piece in pieces)

    def _batches(self, count: int, seed: int, start: int, batch_size: int) -> Iterable[tuple[int, Noise]]:
        """How many are drawn together, with their noise. Raises what every kind of drawing does before it begins."""
        require_whole("count", count)
        require_whole("batch_size", batch_size)
        Noise(seed, start)  # refuses a bad seed
        if getattr(self.network, "draw", None) is None:
            self._method("sample")
        return (
            (min(batch_size, start + count - at), Noise(seed, at))
            for at in range(start, start + count, batch_size)
        )

    def log_prob(self, sequences: Any, *, batch_size: int | None = None) -> tuple[float, ...]:
        """ln P of each sequence, in nats of the data's own units; minus infinity for one that is impossible.

        sequences: one (text, or frames as an array (T,) or (T, D)), or several. batch_size: sequences computed
        together; it changes results by rounding alone.
        Raises CapabilityError, DataError for what the network cannot take, UsageError for nothing to score.
        """
        encoded = self.encoded(sequences)
        self._method("log_prob")
        size = BATCH_SIZE if batch_size is None else batch_size
        require_whole("batch_size", size)
        found = log_likelihoods(self.network, encoded, size)
        unscaled_by = self.format.columns.log_scale
        return tuple(value - len(one) * unscaled_by for value, one in zip(found, encoded, strict=True))

    def states(self, sequences: Any) -> list[np.ndarray]:
        """The most probable hidden states of each sequence, (T,) int64, by Viterbi's algorithm. Raises as above."""
        return self.paths(sequences)[0]

    def paths(self, sequences: Any) -> tuple[list[np.ndarray], tuple[float, ...]]:
        """As `states`, and for each ln P(states, sequence) in nats of the data's units."""
        encoded = self.encoded(sequences)
        viterbi = self._method("viterbi")
        found: dict[int, tuple[np.ndarray, float]] = {}
        for group, some in batches(self.network, encoded):
            paths, values = viterbi(some)
            for number, path, value in zip(group.tolist(), paths.cpu().numpy(), values.tolist(), strict=True):
                frames = len(encoded[number])
                found[number] = path[:frames], value - frames * self.format.columns.log_scale
        ordered = [found[number] for number in range(len(encoded))]
        return [path for path, _ in ordered], tuple(value for _, value in ordered)

    def posterior(self, sequences: Any) -> list[np.ndarray]:
        """P(state at t | sequence) of each sequence, (T, S). Raises as `log_prob`."""
        encoded = self.encoded(sequences)
        posterior = self._method("posterior")
        found: dict[int, np.ndarray] = {}
        for group, some in batches(self.network, encoded):
            for number, table in zip(group.tolist(), posterior(some).cpu().numpy(), strict=True):
                found[number] = table[: len(encoded[number])]
        return [found[number] for number in range(len(encoded))]

    def predict_next(self, sequences: Any) -> list[Prediction]:
        """What comes after each sequence. Raises as `log_prob`; DataError after one that is impossible."""
        encoded = self.encoded(sequences)
        predict = self._method("predict_next")
        found: dict[int, Prediction] = {}
        for group, some in batches(self.network, encoded):
            states, frames = (table.cpu().numpy() for table in predict(some))
            restores = self.format.symbols is None and frames.shape[1] == len(self.format.names)
            frames = self.format.columns.restored(frames) if restores else frames
            for row, number in enumerate(group.tolist()):
                found[number] = Prediction(states[row], frames[row])
        return [found[number] for number in range(len(encoded))]

    def passes(self, sequences: Any, team: Team = ALONE) -> SequencePasses:
        """What a fit of the network goes through; sequences, and what is raised, are those of `log_prob`.

        A model whose columns have no names yet, as `zoo.build` makes it, takes those of a data frame.
        """
        self._take_names(sequences)
        encoded = self.encoded(sequences)
        lengths = np.array([len(one) for one in encoded], np.int64)
        form = replace(self.format, columns=unscaled(self.format.names))  # they are scaled already
        dtype = dtype_of(self.network, symbols=form.symbols is not None)
        starts = lengths.cumsum() - lengths
        return SequencePasses(np.concatenate(encoded), starts, lengths, form, dtype, team=team)

    def encoded(self, sequences: Any) -> list[np.ndarray]:
        """Each of the given sequences as the network takes it. Raises UsageError for none or an empty one."""
        several = self._several(sequences)
        if not several:
            raise UsageError("there is nothing to compute with: no sequence was given")
        found = [
            self.format.encode(one, what=f"sequence {number}" if len(several) > 1 else "the sequence")
            for number, one in enumerate(several)
        ]
        for number, one in enumerate(found):
            if not len(one):
                raise UsageError(f"sequence {number} is empty, but must have at least 1 frame")
        return found

    def prompt(self, text: str) -> Given | None:
        """The sequence that a prompt written as text means, folded where the model's letters are; None for no text.

        Raises UsageError for a model whose frames are numbers.
        """
        if not text:
            return None
        if self.format.symbols is None:
            raise UsageError(
                f"prompt is text, but the frames of {self.name} are numbers: {', '.join(self.format.names)[:200]}",
                hint="give frames: --prefix FILE.csv, or an array from Python",
            )
        if self.format.text:
            return folded(text, goes_on=True) if self.format.letters else text
        return text.split()

    def _several(self, given: Any) -> list[Given]:
        if data_frames.is_frame(given):
            return self._of_frame(given)
        given = _array(given)
        if isinstance(given, str) or (isinstance(given, np.ndarray) and given.ndim < 3):
            return [given]
        found: list[Given] = []
        for one in given:
            found += self._of_frame(one) if data_frames.is_frame(one) else [_array(one)]
        return found

    def _of_frame(self, frame: Any) -> list[Given]:
        return data_frames.sequences(frame, None if self.format.symbols is not None else self.names)

    def _take_names(self, given: Any) -> None:
        """Those of a data frame, or of the first of several, in place of numbers for names."""
        first = given[0] if isinstance(given, list) and given else given
        if not data_frames.is_frame(first) or sequence_format.FILE in self.files or self.symbols is not None:
            return
        names = tuple(name for name in data_frames.names_of(first) if name != SEQUENCE)
        if len(names) == len(self.names) and self.names == _unnamed(len(names)):
            object.__setattr__(self, "format", replace(self.format, columns=unscaled(names)))

    def _encoded_prompt(self, given: Any) -> tuple[Batch | None, Drawn | None]:
        """For the network, and as a person gets it back; None for nothing to go on from."""
        if data_frames.is_frame(given):
            several = self._of_frame(given)
            if len(several) != 1:
                raise UsageError(f"the prompt is {len(several)} sequences, but must be one")
            given = several[0]
        given = _array(given)
        if given is not None and not hasattr(given, "__len__"):
            raise UsageError(f"prompt is {reprlib.repr(given)}, but must be a sequence")
        if given is None or not len(given):
            return None, None
        encoded = self.format.encode(given, what="the prompt", goes_on=True)
        if not len(encoded):
            return None, None
        shown = self.format.decode(encoded) if self.format.symbols else self.format.checked(given)
        return batch(self.network, [encoded]), shown

    def _draw(
        self, rows: int, noise: Noise, controls: SequenceControls, prompt: Batch | None
    ) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        """Hidden states (B, t), if the network tells them, and frames (B, t) or (B, t, D) so far."""
        draw = getattr(self.network, "draw", None)
        if draw is not None:
            for states, frames in draw(rows, noise, controls.length, prompt):
                yield states.cpu().numpy(), frames.cpu().numpy()
            return
        extra = () if prompt is None else (prompt,)
        for frames in self._method("sample")(rows, noise, controls, *extra):
            yield None, frames.cpu().numpy()

    def _stream_batch(
        self, rows: int, noise: Noise, controls: SequenceControls, prompt: Batch | None, shown: str
    ) -> Iterator[TextPiece]:
        done = 0
        for _, frames in self._draw(rows, noise, controls, prompt):
            finished = frames.shape[1] == controls.length
            for row, symbols in enumerate(frames):
                index = noise.start + row
                text = str(self.format.decode(symbols[done:]))
                sample = None
                if finished:
                    whole = str(self.format.decode(symbols))
                    sample = TextSample(index, noise.seed, shown, whole, tuple(symbols.tolist()), "length")
                yield TextPiece(index, text, sample)
            done = frames.shape[1]

    def _method(self, name: str) -> Any:
        method = getattr(self.network, name, None)
        if not callable(method):
            raise CapabilityError(f"{self.name}: the network has no `{name}`")
        return method


def _array(given: Any) -> Any:
    """A tensor, or a column of a data frame, as an array; what is neither, as it is."""
    if isinstance(given, torch.Tensor):
        return given.cpu().numpy()
    return given.to_numpy() if callable(getattr(given, "to_numpy", None)) else given


def _unnamed(columns: int) -> tuple[str, ...]:
    """The names of a frame's numbers where none are known."""
    return ("value",) if columns == 1 else numbered(columns)


def opened(found: Target, network: nn.Module, files: dict[str, Path]) -> SequenceModel:
    """The model of a sequence family's network, with the format that its files say.

    Without sequence.json, frames are numbers as they are, as many as the config's `columns` says. Raises WeightsError
    for a file that says other symbols or columns than the network has.
    """
    if sequence_format.FILE in files:
        read = sequence_format.read(files[sequence_format.FILE])
        _require_fit(found, read)
    else:
        columns = int(getattr(found.config, "columns", 1))
        read = Format(None, unscaled(_unnamed(columns)))
    return SequenceModel(
        found.name, found.family, found.config, network, files, found.entry, found.revision, format=read
    )


def _require_fit(found: Target, form: Format) -> None:
    field, said = ("columns", form.names) if form.symbols is None else ("symbols", form.symbols)
    built = getattr(found.config, field, len(said))
    if built != len(said):
        raise WeightsError(
            f"{found.name}: {sequence_format.FILE} names {len(said)} {field}, but the network has {built}",
            hint="the file beside the weights is that of another model",
        )
