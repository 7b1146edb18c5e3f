"""What a text model is measured on: text that a person names, or what a run held out by its own recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.datasets import hub_rows, reading
from zoo.datasets.corpus import first_characters
from zoo.datasets.documents import Document, of_files
from zoo.datasets.row_corpus import RowCorpus
from zoo.datasets.source import Source, find
from zoo.datasets.text import split
from zoo.errors import DataError, UsageError

if TYPE_CHECKING:
    from zoo.training.recipe import Recipe

MOST_CHARACTERS = 4_000_000
"""Of rows, which may be more than memory holds; the first ones are measured on."""
RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class HeldOut:
    """name: what the documents are called together. seed: what drew them; None when nothing was drawn."""

    name: str
    documents: tuple[Document, ...]
    seed: int | None = None


def named(*sources: str, column: str | None = None, offline: bool = False) -> HeldOut:
    """All text of one source or several (see `zoo.datasets.source.find`): of files, or of a column of rows.

    A row is a document. Of rows with more than `MOST_CHARACTERS`, the first are taken, and the name says so.
    Raises DataError, and what asking the Hub raises.
    """
    found = [_whole(name, find(name, offline=offline), column) for name in sources]
    documents = tuple(document for each in found for document in each.documents)
    return HeldOut(", ".join(each.name for each in found), documents)


def _whole(name: str, source: Source, column: str | None) -> HeldOut:
    if not hub_rows.has_rows(source):
        return HeldOut(name, of_files(source))
    texts = list(first_characters(_rows(source, column), MOST_CHARACTERS))
    if sum(map(len, texts)) >= MOST_CHARACTERS:
        name = f"the first {MOST_CHARACTERS:,} characters of {name}"
    return HeldOut(name, tuple(Document(f"row {number}", text) for number, text in enumerate(texts, 1)))


def _rows(source: Source, column: str | None) -> Iterator[Document]:
    """Each row's text as a document."""
    rows = hub_rows.settle(source).rows()
    try:
        wanted = rows.text_column(column)
    except DataError as error:
        hint = "name the one that is meant: --column NAME" if error.hint else ""
        raise DataError(str(error), hint=hint) from error
    for number, row in enumerate(rows, 1):
        text = row[wanted]
        if not isinstance(text, str):
            raise DataError(f"{source.name}: row {number} has {type(text).__name__}, not text, in {wanted}")
        yield Document(f"row {number}", text)


def of_run(folder: Path | None, name: str, *, offline: bool = False) -> HeldOut:
    """What the run in a folder measures on: its recipe says of which data, by which rules and seed.

    name: the model as a person named it. Raises UsageError when there is no run in the folder or it held nothing out,
    DataError when the data cannot be read.
    """
    said = recipe_of(folder, name)
    source, rules = find(said.source, offline=offline), _text_rules(said.data, name)
    seed = reading.dividing_seed(rules, _seed(said, name))
    if hub_rows.has_rows(source):
        texts = RowCorpus(hub_rows.settle(source), rules, seed).measured()
        documents = tuple(Document(f"held out {number}", text) for number, text in enumerate(texts, 1))
    else:
        held_out = split(of_files(source)[: rules.documents], rules, seed).held_out
        texts = list(first_characters(held_out, rules.held_out_characters))
        documents = tuple(Document(item.name, text) for item, text in zip(held_out, texts, strict=False))
    if not documents:
        raise nothing(name)
    return HeldOut(f"held out of {said.source}", documents, seed)


def recipe_of(folder: Path | None, name: str) -> Recipe:
    """The recipe of the run in a folder. Raises UsageError and DataError as `of_run`."""
    from zoo.training import recipe

    if folder is None or not (folder / RECIPE).is_file():
        raise UsageError(
            f"{name} is no run with held-out data of its own", hint="say what to measure on: --data D"
        )
    said = recipe.read(folder / RECIPE)
    if not said.source:
        raise DataError(f"the recipe of {name} does not say what it was trained on", hint="say it: --data D")
    return said


def nothing(name: str) -> UsageError:
    """The error for a run that held nothing out."""
    return UsageError(f"{name} held nothing out", hint="say what to measure on: --data D")


def _seed(said: Recipe, name: str) -> int:
    from zoo import settings
    from zoo.training.plan import Plan

    return settings.make(Plan, said.plan, what=f"plan in the recipe of {name}").seed


def _text_rules(said: Any, name: str) -> Any:
    from zoo import settings

    return settings.make(reading.rules_class("text"), dict(said), what=f"data in the recipe of {name}")
