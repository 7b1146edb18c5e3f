"""What training asks of data, whatever its modality: rows by number, and what to measure on.

A row's content depends on the seed and on its number alone, counted from the run's first row on. So a batch can be
shared out among processes, computed in parts, and asked for again after a run was killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo.datasets.passes import Team
    from zoo.family import Family
    from zoo.noise import Noise


class Rows(Protocol):
    """The rows a network is trained on, in an order that the seed draws anew each epoch.

    unit: what speed is counted in, such as "tokens" or "images". units: how many of them a row has.
    epoch: rows in an epoch. fingerprint: sha256, in hex, of all that rows are drawn from.
    """

    @property
    def unit(self) -> str: ...

    @property
    def units(self) -> int: ...

    @property
    def epoch(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def rows(self, first: int, count: int) -> Any:
        """Rows first .. first + count - 1 for `network.loss`: a tensor, or a tuple or dict of tensors, on the CPU.

        Every tensor's first dimension is `count`.
        """
        ...


class Passes(Protocol):
    """Data as a fit goes through it: all of it, again and again, each process its own share.

    rows: in all processes' shares together. unit: what they are, such as "rows" or "sequences". fingerprint: sha256,
    in hex, of all of it.
    """

    @property
    def rows(self) -> int: ...

    @property
    def unit(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def batches(self, size: int) -> Iterator[Any]:
        """All rows once, `size` at a time, and of these this process's share, on the fit's device.

        Always in one order. Batch number k is of the same rows in every process, so that several fit as one would;
        the last may be missing in some.
        """
        ...

    def some(self, count: int, noise: Noise) -> Any:
        """At most `count` rows drawn from all of the data without replacement; the same in every process."""
        ...

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over processes of what each found in its share."""
        ...


class Material(Protocol):
    """One data set, read and divided into what is trained on and what is held out, for one modality."""

    summary: str
    """One line for people, such as "1,774,390 tokens of 40 documents, 2 held out"; complete after `rows`."""

    def learn(self, folder: Path) -> None:
        """For a new network: write what it needs beside its weights, such as a tokenizer, into the run's folder."""
        ...

    def bind(self, family: Family, files: Mapping[str, Path]) -> dict[str, Any]:
        """Take up the files beside the weights; returns the settings of the network's config that the data decides.

        Raises DataError when a file that is needed is missing.
        """
        ...

    def rows(self, network: nn.Module, seed: int) -> Rows:
        """The rows to train this network on. Raises UsageError, DataError when they do not fit it."""
        ...

    def passes(self, network: nn.Module, seed: int, team: Team) -> Passes:
        """The rows to fit this network to, where it is fitted (`zoo.protocols.Fittable`).

        Raises CapabilityError for a modality that nothing is fitted to; UsageError, DataError as `rows`.
        """
        ...

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Measured on what is held out, in evaluation mode; the first is the measure of the best, lower is better.

        A whole number, such as "held_out_bytes", says of how much. Empty when nothing is held out.
        """
        ...

    def preview(self, network: nn.Module, count: int, seed: int, stem: Path) -> Iterator[Path]:
        """Draw `count` samples and save them under `stem` with the fitting suffix; the files written."""
        ...
