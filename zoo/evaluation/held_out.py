"""What a model is measured on: text that a person names, or what a run held out by its own recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.datasets import text as data
from zoo.datasets.documents import Document, of_files
from zoo.datasets.source import Source, find
from zoo.errors import CapabilityError, DataError, UsageError


@dataclass(frozen=True)
class HeldOut:
    """name: what the documents are called together. seed: what drew them; None when nothing was drawn."""

    name: str
    documents: tuple[Document, ...]
    seed: int | None = None


def named(*sources: str, offline: bool = False) -> HeldOut:
    """All documents of one source or several (see `zoo.datasets.source.find`). Raises DataError."""
    found = [_documents(find(source, offline=offline)) for source in sources]
    return HeldOut(", ".join(sources), tuple(document for documents in found for document in documents))


def of_run(folder: Path | None, name: str, *, modality: str = "text", offline: bool = False) -> HeldOut:
    """What the run in a folder held out: its recipe says of which data, by which rules and seed.

    name: the model as a person named it. Raises UsageError when there is no run in the folder or it held nothing out,
    CapabilityError for other data than text, DataError when the data cannot be read.
    """
    from zoo import settings
    from zoo.datasets import reading
    from zoo.training import recipe

    if folder is None or not (folder / "recipe.yaml").is_file():
        raise UsageError(
            f"{name} is no run with held-out data of its own", hint="say what to measure on: --data D"
        )
    if modality != "text":
        raise CapabilityError(f"{name} makes {modality}, but only text models are evaluated so far")
    said = recipe.read(folder / "recipe.yaml")
    if not said.source:
        raise DataError(f"the recipe of {name} does not say what it was trained on", hint="say it: --data D")
    rules: Any = settings.make(
        reading.rules_class(modality), dict(said.data), what=f"data in the recipe of {name}"
    )
    source = find(said.source, offline=offline)
    held_out = data.split(_documents(source), rules, said.plan.seed).held_out
    if not held_out:
        raise UsageError(f"{name} held nothing out", hint="say what to measure on: --data D")
    return HeldOut(f"held out of {said.source}", held_out, said.plan.seed)


def _documents(source: Source) -> tuple[Document, ...]:
    if source.path is None:
        raise DataError(f"{source.name} cannot be read as text")
    return of_files(source)
