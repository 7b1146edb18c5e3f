"""Molecules as training takes them: rows of token ids, a vocabulary beside the weights, and SMILES as previews."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.datasets import previews, smiles
from zoo.datasets.arrays import ArrayRows, Pile, Selection, config_settings, held_out_loss
from zoo.datasets.smiles import END, START, Vocabulary
from zoo.datasets.source import Source
from zoo.datasets.split import split_rows, split_seed
from zoo.errors import DataError
from zoo.family import Family
from zoo.modality import CODEC_FILE
from zoo.settings import Settings, setting

VOCABULARY = CODEC_FILE["molecule"]

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class MoleculeRules(Settings):
    """How SMILES become training and held-out molecules."""

    longest: int | None = setting(
        None, help="leave out molecules of more tokens; unset, keep all", minimum=1, unit="tokens"
    )
    held_out_share: float = setting(
        0.05, help="share of the molecules that the seed holds out", minimum=0.0, maximum=0.9
    )
    split_seed: int | None = split_seed()


@dataclass(frozen=True, eq=False)
class _Molecules:
    """tokens: numbered as they were met. ids: all molecules one after the other, uint16. lengths: (N,) int64.

    empty: lines without a molecule. left_out: molecules longer than the rules want.
    """

    tokens: tuple[str, ...]
    ids: np.ndarray
    lengths: np.ndarray
    empty: int
    left_out: int


def read(source: Source, rules: MoleculeRules, seed: int) -> MoleculeMaterial:
    """The molecules of files with one SMILES a line, or a column `smiles`. Raises DataError for what is none."""
    return MoleculeMaterial(_gathered(source, rules.longest), rules, seed)


def _gathered(source: Source, longest: int | None) -> _Molecules:
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__  # a new token takes the next number
    pile = Pile((), np.uint16)
    waiting: list[int] = []
    lengths: list[int] = []
    empty = left_out = 0
    for member in source.files(smiles.SUFFIXES):
        for line, found in smiles.molecules(member):
            if not found:
                empty += 1
            elif longest is not None and len(found) > longest:
                left_out += 1
            else:
                waiting.extend(map(numbers.__getitem__, found))
                lengths.append(len(found))
            if len(numbers) > smiles.MOST_TOKENS:
                raise DataError(
                    f"{member}: by line {line} there are more than {smiles.MOST_TOKENS:,} different tokens, "
                    f"so this is no SMILES"
                )
            if len(waiting) > 2**16:
                pile.add(np.array(waiting))
                waiting.clear()
    pile.add(np.array(waiting))
    return _Molecules(tuple(numbers), pile.array(), np.array(lengths, np.int64), empty, left_out)


class MoleculeMaterial:
    """A `zoo.datasets.material.Material` of molecules. `bind` comes before what needs a vocabulary."""

    def __init__(self, molecules: _Molecules, rules: MoleculeRules, seed: int) -> None:
        """Raises DataError when the molecules cannot be divided."""
        self._molecules, self._seed = molecules, seed
        self._family: Family | None = None
        self._vocabulary: Vocabulary | None = None
        self._ids = np.empty((0, 0))
        self._train, self._held_out = split_rows(len(molecules.lengths), rules.held_out_share, seed)
        self._longest = int(molecules.lengths.max())
        self.summary = (
            f"{len(molecules.lengths):,} molecules of up to {self._longest} tokens, "
            f"{len(self._held_out):,} held out"
        )
        if molecules.left_out:
            self.summary += f", {molecules.left_out:,} longer ones left out"
        if molecules.empty:
            self.summary += f", {molecules.empty:,} empty lines skipped"

    def learn(self, folder: Path) -> None:
        """Write the vocabulary of all molecules, in order of the tokens' characters, into folder/vocabulary.json."""
        found = Vocabulary((*smiles.SPECIAL, *sorted(self._molecules.tokens)), self._longest)
        previews.write(folder / VOCABULARY, found.to_json().encode())

    def bind(self, family: Family, files: Mapping[str, Path]) -> dict[str, Any]:
        """Read the vocabulary and number all tokens by it. Raises DataError when it lacks one, or is too short."""
        if VOCABULARY not in files:
            raise DataError(f"{family.name}: there is no {VOCABULARY}, so molecules cannot be encoded for it")
        vocabulary = smiles.read_vocabulary(files[VOCABULARY])
        if missing := sorted(set(self._molecules.tokens) - set(vocabulary.tokens)):
            raise DataError(
                f"{len(missing)} tokens of the data are not in the network's vocabulary: "
                f"{' '.join(missing[:10])}"
            )
        if self._longest > vocabulary.length:
            raise DataError(
                f"the data has a molecule of {self._longest} tokens, but the network takes {vocabulary.length}",
                hint=f"leave longer ones out: --set data.longest={vocabulary.length}",
            )
        self._family, self._vocabulary = family, vocabulary
        self._ids = _padded(self._molecules, vocabulary)
        return config_settings(family, {"vocabulary": len(vocabulary.tokens), "length": vocabulary.length})

    def rows(self, network: nn.Module, seed: int) -> ArrayRows:  # noqa: ARG002 - bind has compared them
        """Rows of int64 token ids (B, L + 2): the start, the molecule, the end, and padding up to the longest."""
        return ArrayRows(self._selection(self._train), "molecules", 1, seed)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """The mean loss over the held-out molecules."""
        return held_out_loss(network, self._selection(self._held_out), self._seed)

    def preview(self, network: nn.Module, count: int, seed: int, stem: Path) -> Iterator[Path]:
        """Draw molecules, the last that `network.sample` yields: token ids (N, T); one .smi file, one a line."""
        family, vocabulary = self._bound()
        drawn = previews.last_sample(network, family, count, seed)
        text = "".join(f"{vocabulary.decode(ids)}\n" for ids in drawn.tolist())
        yield previews.write(stem.with_name(f"{stem.name}.smi"), text.encode())

    def _selection(self, chosen: np.ndarray) -> Selection:
        self._bound()
        return Selection((self._ids,), chosen, _prepared)

    def _bound(self) -> tuple[Family, Vocabulary]:
        if self._family is None or self._vocabulary is None:
            raise DataError(
                "the molecules have no vocabulary yet: bind them to the files beside the weights first"
            )
        return self._family, self._vocabulary


def _padded(molecules: _Molecules, vocabulary: Vocabulary) -> np.ndarray:
    """All molecules as rows of the vocabulary's ids, (N, length + 2)."""
    numbers = {token: number for number, token in enumerate(vocabulary.tokens)}
    table = np.array([numbers[token] for token in molecules.tokens])
    pile = Pile((vocabulary.length + 2,), np.uint8 if len(vocabulary.tokens) <= 256 else np.uint16)
    ends = np.cumsum(molecules.lengths)
    for at in range(0, len(ends), _ROWS_AT_ONCE):
        lengths = molecules.lengths[at : at + _ROWS_AT_ONCE]
        first = ends[at] - lengths[0]
        rows = np.zeros((len(lengths), vocabulary.length + 2), np.int64)  # PADDING
        inside = np.arange(vocabulary.length) < lengths[:, None]
        rows[:, 1:-1][inside] = table[molecules.ids[first : first + lengths.sum()]]
        rows[:, 0] = START
        rows[np.arange(len(lengths)), 1 + lengths] = END
        pile.add(rows)
    return pile.array()


def _prepared(ids: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(ids, np.int64))
