"""From --data D and a model's modality to the material that training goes through."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoo.errors import CapabilityError, DataError

if TYPE_CHECKING:
    from zoo.datasets.material import Material
    from zoo.datasets.source import Source

_READERS = {
    "text": ("zoo.datasets.text", "TextRules"),
    "image": ("zoo.datasets.images", "ImageRules"),
    "audio": ("zoo.datasets.audio", "AudioRules"),
    "table": ("zoo.datasets.table", "TableRules"),
    "molecule": ("zoo.datasets.molecules", "MoleculeRules"),
    "sequence": ("zoo.datasets.sequences", "SequenceRules"),
}
"""Modality to its module and the class of its rules. The module has `read(source, rules, seed) -> Material`."""

_ALSO_READ = {"sequence": ("text",), "table": ("image",)}
"""Modality to the others whose built-in sets it can read as its own: text is symbols in order, an image a row."""


def rules_class(modality: str) -> type:
    """The frozen settings class of a modality's data rules. Raises CapabilityError for one that is not trained on."""
    module, name = _reader(modality)
    found: type = getattr(importlib.import_module(module), name)
    return found


def read(modality: str, source: str, rules: Any, seed: int, *, offline: bool = False) -> Material:
    """The data that a person means by `source`, read by the rules and divided by their seed, else by this one.

    source: see `zoo.datasets.source.find`. rules: of `rules_class(modality)`.
    Raises CapabilityError for a modality that is not trained on, DataError for data that cannot be used, UsageError
    for rules that do not fit it.
    """
    module, _ = _reader(modality)
    found = locate(modality, source, offline=offline)
    material: Material = importlib.import_module(module).read(found, rules, dividing_seed(rules, seed))
    return material


def dividing_seed(rules: Any, seed: int) -> int:
    """The seed that draws what is held out: the rules' own, else the plan's."""
    return seed if rules.split_seed is None else int(rules.split_seed)


def locate(modality: str, source: str, *, offline: bool = False) -> Source:
    """The source that a person means, if a modality's data can be read from it. Raises DataError when it cannot."""
    from zoo.datasets.source import find

    found = find(source, offline=offline)
    readable = (modality, *_ALSO_READ.get(modality, ()))
    if found.built_in is not None and found.built_in.modality not in readable:
        raise DataError(
            f"the built-in data {source} is {found.built_in.modality}, but {' or '.join(readable)} is needed"
        )
    if found.hub is not None and modality != "text":
        from zoo.datasets.hub_files import as_files

        found = as_files(found, modality)
    return found


def _reader(modality: str) -> tuple[str, str]:
    if modality not in _READERS:
        raise CapabilityError(
            f"there is no training on data of the modality {modality!r}; there is on {', '.join(_READERS)}"
        )
    return _READERS[modality]
