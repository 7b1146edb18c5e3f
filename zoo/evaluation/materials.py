"""What a table or sequence model is measured on: what its run held out, or all of the data that a person names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from zoo import settings
from zoo.datasets import reading, sequence_files, table_files
from zoo.datasets.file_rules import PLAIN, FileRules
from zoo.datasets.records import is_table, layout
from zoo.datasets.sequences import SequenceMaterial, SequenceRules
from zoo.datasets.table import TableMaterial, TableRules
from zoo.datasets.table_columns import few
from zoo.datasets.table_files import Table
from zoo.datasets.table_gathering import gather
from zoo.errors import DataError, UsageError
from zoo.evaluation import held_out
from zoo.modality.sequence_model import SequenceModel
from zoo.modality.table_model import TableModel
from zoo.model import Model

Read = TypeVar("Read", TableMaterial, SequenceMaterial)


@dataclass(frozen=True)
class Measured(Generic[Read]):
    """name: what the data is called. parts: a material for each source, bound to the model.

    seed: what drew the held-out items, which alone are measured; None where all of the data is.
    """

    name: str
    parts: tuple[Read, ...]
    seed: int | None = None

    @property
    def whole(self) -> bool:
        return self.seed is None


def rows(
    model: TableModel, sources: Sequence[str] | None, weights: str | None, files: FileRules, *, offline: bool
) -> Measured[TableMaterial]:
    """sources: None for what the model's run held out. weights: their column that says how much a row counts.

    files: how those of the sources are written; what a run held out is read as its recipe says.

    Raises UsageError without sources for what is no run, DataError for data that cannot be read or does not fit.
    """
    if sources is None:
        _none(files, model)
        if weights is not None:
            raise UsageError(
                f"weights is {weights!r}, but what {model.name} held out counts as its recipe says",
                hint="leave it out, or say what to measure on: --data D",
            )
        found: Measured[TableMaterial] = _of_run(model, offline)
    else:
        parts = tuple(_table(model, name, weights, files, offline) for name in sources)
        found = Measured(", ".join(sources), parts)
    for part in found.parts:
        part.bind_to(model.family, model.layout)
    return found


def sequences(
    model: SequenceModel, sources: Sequence[str] | None, files: FileRules, *, offline: bool
) -> Measured[SequenceMaterial]:
    """As `rows`. Sources are cut into sequences as the model's run cut its data, if it is one of a run."""
    if sources is None:
        _none(files, model)
        found: Measured[SequenceMaterial] = _of_run(model, offline)
    else:
        rules = dataclasses.replace(_sequence_rules(model), **settings.plain(files))
        parts = tuple(_sequences(model, name, rules, offline) for name in sources)
        found = Measured(", ".join(sources), parts)
    for part in found.parts:
        part.bind_to(model.family, model.format)
    return found


def _none(files: FileRules, model: Model) -> None:
    """Raises UsageError for rules of files where there are none to name."""
    if files != PLAIN:
        raise UsageError(
            f"what {model.name} held out is read as its recipe says",
            hint="leave the settings of data out, or say what to measure on: --data D",
        )


def _of_run(model: Model, offline: bool) -> Any:
    """What the run in the model's folder measures on, by the source, rules and seed of its recipe."""
    said, modality = held_out.recipe_of(model.folder, model.name), model.family.modality
    what = f"in the recipe of {model.name}"
    rules: Any = settings.make(reading.rules_class(modality), dict(said.data), what=f"data {what}")
    plan: Any = settings.make(model.family.resolve("plan"), said.plan, what=f"plan {what}")
    seed = reading.dividing_seed(rules, plan.seed)
    material = reading.read(modality, said.source, rules, seed, offline=offline)
    return Measured(f"held out of {said.source}", (material,), seed)


def _table(
    model: TableModel, name: str, weights: str | None, files: FileRules, offline: bool
) -> TableMaterial:
    """Columns of files are matched by name, as are those of images; other arrays have them in the model's order."""
    source = reading.locate("table", name, offline=offline)
    wanted: tuple[str, ...] = ()
    if source.built_in is None:
        first = source.files(table_files.SUFFIXES)[0]
        if not table_files.is_array(first):
            names = table_files.layout(first, files, model.columns).names
            wanted = tuple(names[place] for place in model.places(names, str(first)))
    data = gather(source, wanted, weights, files)
    own = data.table.names
    if len(own) != len(model.columns) or (data.image is not None and own != model.columns):
        raise DataError(f"{name} has the columns {few(own)}, but {model.name} has {few(model.columns)}")
    data = dataclasses.replace(data, table=Table(model.columns, data.table.values))
    return TableMaterial(data, TableRules(weights=weights, held_out_share=0.0), 0)


def sequence_column(model: SequenceModel) -> str:
    """The column of tables that says which sequence a row belongs to, as in the model's run; else the usual one."""
    return _sequence_rules(model).sequence


def _sequence_rules(model: SequenceModel) -> SequenceRules:
    """As the model's run read its data; else as its frames are."""
    form = model.format
    rules = SequenceRules(letters=form.letters, symbols=form.symbols is not None)
    if model.folder is None or not (model.folder / held_out.RECIPE).is_file():
        return rules
    said = settings.make(
        SequenceRules,
        dict(held_out.recipe_of(model.folder, model.name).data),
        what=f"data in the recipe of {model.name}",
    )
    return dataclasses.replace(rules, sequence=said.sequence, split=said.split)


def _sequences(model: SequenceModel, name: str, rules: SequenceRules, offline: bool) -> SequenceMaterial:
    source, form = reading.locate("sequence", name, offline=offline), model.format
    first = source.files(sequence_files.SUFFIXES)[0]
    columns = () if form.symbols is not None else form.names
    if is_table(first.name):
        names = layout(first, rules, form.names).names
        missing = tuple(column for column in form.names if column not in names)
        if missing and form.symbols is None:
            raise DataError(f"{first} has no column {few(missing)}; it has {few(names)}")
        columns = (
            () if missing else form.names
        )  # symbols may stand in a column of any name, if it is the only one
    rules = dataclasses.replace(rules, columns=columns, held_out_share=0.0)
    material: Any = reading.read("sequence", name, rules, 0, offline=offline)
    return material  # type: ignore[no-any-return]
