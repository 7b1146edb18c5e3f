"""A table model: rows and their densities in the data's own units, whatever scaling the network computes with."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.datasets.table_columns import (
    COLUMNS,
    Columns,
    ImageShape,
    numbered,
    read_columns,
    unscaled,
)
from zoo.datasets.table_files import Table
from zoo.errors import CapabilityError, DataError, UsageError, WeightsError
from zoo.modality import data_frames
from zoo.modality.table import TableControls, assignments
from zoo.modality.table_files import LABELS
from zoo.model import Model
from zoo.noise import Noise
from zoo.settings import require_whole

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo.datasets.passes import RowPasses, Team
    from zoo.targets import Target

BATCH_SIZE = 4096
"""Rows drawn or measured together unless asked otherwise."""


@dataclass(frozen=True, eq=False, repr=False)
class TableModel(Model):
    """network has `sample(count, noise, controls)`, `log_prob(rows)`, or both, on scaled rows (B, D).

    layout: names and scaling of the columns.
    """

    layout: Columns = field(default_factory=lambda: unscaled(()))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.layout.names

    @property
    def image(self) -> ImageShape | None:
        """What image a row is, values from 0 to 255; None for other rows."""
        return self.layout.image

    def sample(
        self,
        count: int = 1,
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int = BATCH_SIZE,
        controls: TableControls | None = None,
        **settings: Any,
    ) -> Iterator[np.ndarray]:
        """Rows (D,) float64 in the data's units, in order of index; see `parts` for the arguments."""
        parts = self.parts(
            count, seed=seed, start=start, batch_size=batch_size, controls=controls, **settings
        )
        return itertools.chain.from_iterable(parts)

    def draw(
        self,
        count: int = 1,
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int = BATCH_SIZE,
        controls: TableControls | None = None,
        **settings: Any,
    ) -> Table:
        """All rows as a table, values (count, D) float64 in the data's units; see `parts` for the arguments."""
        parts = self.parts(
            count, seed=seed, start=start, batch_size=batch_size, controls=controls, **settings
        )
        return Table(self.columns, np.concatenate(list(parts)))

    def parts(
        self,
        count: int = 1,
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int = BATCH_SIZE,
        controls: TableControls | None = None,
        **settings: Any,
    ) -> Iterator[np.ndarray]:
        """Rows in blocks of `batch_size`, (B, D) float64 in the data's units; only one block is in memory.

        count: how many rows. start: the index of the first. Row i is the same for every start, count and batch_size.
        controls, or its fields as keywords: see `zoo.modality.table.TableControls`; `given` may also be a mapping of
        names to values in the data's units.
        Raises UsageError for a bad setting, CapabilityError for a network that does not sample; both before
        anything is drawn.
        """
        require_whole("count", count)
        require_whole("batch_size", batch_size)
        if not callable(getattr(self.network, "sample", None)):
            raise CapabilityError(f"{self.name} does not sample")
        if isinstance(given := settings.get("given"), Mapping):
            settings["given"] = tuple(f"{name}={_written(value)}" for name, value in given.items())
        asked = self.asked(controls, settings)
        fixed = assignments(getattr(asked, "given", ()), self.columns)
        asked = self._translated(asked, fixed)
        Noise(seed, start)  # refuses a bad seed before anything is drawn
        return self._parts(count, seed, start, batch_size, asked, fixed)

    def _parts(
        self, count: int, seed: int, start: int, batch_size: int, controls: Any, given: Mapping[int, float]
    ) -> Iterator[np.ndarray]:
        import torch

        network: Any = self.network
        for first in range(0, count, batch_size):
            rows = min(batch_size, count - first)
            with torch.inference_mode():
                drawn = network.sample(rows, Noise(seed, start + first), controls)
                [last] = collections.deque(drawn, maxlen=1)
            values = self.layout.restored(last.cpu().double().numpy())
            for column, value in given.items():
                values[:, column] = value  # exactly, whatever the network's precision
            yield values

    def log_prob(self, items: Any, *, batch_size: int | None = None) -> tuple[float, ...]:
        """The log-density of each row in the data's own units, in nats. items: rows (N, D), a Table or a DataFrame.

        The latter two's columns are matched by name; there may be others too. batch_size: rows computed together.
        Raises DataError for rows that are not the model's, CapabilityError for a network without densities.
        """
        return tuple(self.log_densities(items, batch_size=batch_size).tolist())

    def log_densities(self, items: Any, *, batch_size: int | None = None) -> np.ndarray:
        """As `log_prob`, (N,) float64."""
        return self._measured("log_prob", items, batch_size) - self.layout.log_scale

    def predict(self, items: Any, *, batch_size: int | None = None) -> np.ndarray:
        """The likeliest component of each row, (N,) int64; see `log_prob`."""
        return self._measured("predict", items, batch_size)

    def responsibilities(self, items: Any, *, batch_size: int | None = None) -> np.ndarray:
        """The probability of each of K components given the row, (N, K) float64; see `log_prob`."""
        return self._measured("responsibilities", items, batch_size)

    def labelled(
        self, parts: Iterator[np.ndarray], *, seed: int, start: int, controls: TableControls
    ) -> Iterator[np.ndarray]:
        """Drawn rows, (B, D) at a time as `parts` gives them, behind two columns: (B, 2 + D).

        These are the component that a row was drawn from, counted from 0, and its probability given the row.
        Raises CapabilityError for a network without components, UsageError for one with columns of these names.
        """
        components: Any = getattr(self.network, "components", None)
        if not callable(components):
            raise CapabilityError(f"{self.name} does not draw from components")
        if taken := [name for name in LABELS if name in self.columns]:
            raise UsageError(
                f"{self.name} has a column {taken[0]!r} itself, which a label would be taken for"
            )
        asked = self._translated(controls, assignments(getattr(controls, "given", ()), self.columns))

        def with_labels() -> Iterator[np.ndarray]:
            first = start
            for rows in parts:
                component = components(len(rows), Noise(seed, first), asked).numpy()
                shares = self.responsibilities(rows)[np.arange(len(rows)), component]
                yield np.column_stack([component, shares, rows])
                first += len(rows)

        return with_labels()

    def labels(self, items: Any, *, batch_size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest component of each row, (N,) int64, and its probability given the row; see `log_prob`."""
        found = self.responsibilities(items, batch_size=batch_size)
        return found.argmax(axis=1), found.max(axis=1)

    def _measured(self, method: str, items: Any, batch_size: int | None) -> np.ndarray:
        """What a method of the network says of each row, part by part."""
        import torch

        from zoo.datasets.passes import tensor_of

        of_rows = getattr(self.network, method, None)
        if not callable(of_rows):
            raise CapabilityError(f"{self.name} has no {method.replace('_', ' ')}")
        rows = self.matched(items)
        size = BATCH_SIZE if batch_size is None else batch_size
        require_whole("batch_size", size)
        found = []
        like = _weight(self.network)
        with torch.inference_mode():
            for first in range(0, len(rows), size):
                part = self._finite(rows, slice(first, first + size))
                scaled = tensor_of(self.layout.scaled(part))
                found.append(of_rows(scaled.to(like.dtype).to(like.device)).cpu())
        together = torch.cat(found)
        return (together.double() if together.is_floating_point() else together).numpy()

    def passes(self, items: Any, team: Team | None = None) -> RowPasses:
        """What a fit of the network goes through; items, and what is raised, are those of `log_prob`.

        A model whose columns have no names yet, as `zoo.build` makes it, takes those of a data frame.
        """
        from zoo.datasets.passes import ALONE, RowPasses

        dtype = _weight(self.network).dtype
        if data_frames.is_frame(items):
            self._take_names(data_frames.names_of(items))
        rows = self.matched(items)
        for first in range(0, len(rows), BATCH_SIZE):
            self._finite(rows, slice(first, first + BATCH_SIZE))
        layout = self.layout
        return RowPasses(rows, team or ALONE, mean=layout.mean, scale=layout.scale, dtype=dtype)

    def _take_names(self, names: tuple[str, ...]) -> None:
        if COLUMNS not in self.files and self.columns == numbered(len(names)):
            object.__setattr__(self, "layout", unscaled(names))  # fitted in place, names and all

    def matched(self, items: Any) -> np.ndarray:
        """Rows (N, D) with the model's columns, in its order. Raises DataError for rows that are not the model's."""
        if data_frames.is_frame(items):
            rows = data_frames.values(items, self.columns)
        elif isinstance(items, Table):
            places = self.places(items.names, "the table")
            rows = items.values
            rows = rows if places == list(range(rows.shape[1])) else rows[:, places]
        else:
            rows = items.cpu() if hasattr(items, "cpu") else items  # a tensor, perhaps of a GPU
        try:
            rows = np.asarray(rows)
            rows = rows if rows.dtype.kind == "f" else rows.astype(np.float64)
        except (TypeError, ValueError):
            raise DataError("rows must be numbers, (N, D)") from None
        count = len(self.columns)
        if rows.ndim != 2 or rows.shape[1] != count or not len(rows):
            raise DataError(f"rows are {rows.shape}, but must be (N, {count}), N at least 1")
        return rows

    def places(self, names: Sequence[str], of: str) -> list[int]:
        """Where each of the model's columns is among others. Raises DataError naming those that are missing."""
        return data_frames.places(self.columns, names, of)

    def _finite(self, rows: np.ndarray, which: slice) -> np.ndarray:
        part = np.asarray(rows[which], np.float64)
        if not np.isfinite(part).all():
            row, column = (int(found[0]) for found in np.nonzero(~np.isfinite(part)))
            raise DataError(
                f"row {which.start + row + 1}, column {self.columns[column]!r} is {part[row, column]}, not a finite"
                " number",
                hint="leave such rows out",
            )
        return part

    def _translated(self, controls: Any, given: Mapping[int, float]) -> Any:
        """The controls as the network takes them: columns by number, values scaled."""
        if not given:
            return controls
        mean, scale = self.layout.mean, self.layout.scale
        said = ((column, (value - mean[column]) / scale[column]) for column, value in given.items())
        return replace(controls, given=tuple(f"{column}={float(value)!r}" for column, value in said))


def opened(found: Target, network: nn.Module, files: dict[str, Path]) -> TableModel:
    """The model of a table family's network; without a columns.json its columns are c0, c1, ...

    Raises WeightsError when the file says other columns than the network has, or is none.
    """
    count = getattr(found.config, "columns", None)
    if COLUMNS in files:
        try:
            layout = read_columns(files[COLUMNS])
        except DataError as error:
            raise WeightsError(str(error)) from None
        if count is not None and len(layout.names) != count:
            raise WeightsError(
                f"{found.name}: {COLUMNS} names {len(layout.names)} columns, but the network has {count}"
            )
    elif count is None:
        raise WeightsError(f"{found.name}: there is no {COLUMNS}, so it is not known which columns it has")
    else:
        layout = unscaled(numbered(count))
    return TableModel(
        found.name, found.family, found.config, network, files, found.entry, found.revision, layout=layout
    )


def _written(value: Any) -> str:
    """With all digits of a number; what is none is refused by whoever reads it."""
    try:
        return repr(float(value))
    except (TypeError, ValueError):
        return str(value)


def _weight(network: nn.Module) -> torch.Tensor:
    """A tensor with the network's device and precision."""
    import torch

    weights = [weight for weight in network.parameters() if weight.is_floating_point()]
    return next(iter(weights), torch.zeros(0, dtype=torch.float64))
