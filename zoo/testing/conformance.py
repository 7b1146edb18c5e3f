"""What a registry entry promises, held against what its plugin builds. A plugin's tests call `findings` per model.

@pytest.mark.parametrize("name", [entry.name for entry in zoo.list_models(plugin="zoo-mine")])
def test_the_model_keeps_its_promises(name):
    assert findings(zoo.info(name)) == []
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from torch import nn

from zoo import plugins, settings
from zoo.evaluation.scoring import scored_by
from zoo.family import Family
from zoo.modality import MODALITIES
from zoo.registry.entry import ModelEntry
from zoo.weights.load import build_on_meta

METHODS = {
    "sample": "sample",
    "train": "loss",
    "fit": "fit",
    "encode": "encode",
    "decode": "decode",
}
"""What `can:` says, and the method of the module that does it; `score` is by `zoo.evaluation.scoring.scored_by`."""


def findings(entry: ModelEntry) -> list[str]:
    """What is wrong with a model of an installed plugin; empty when it keeps its promises. No weights are loaded.

    Held: the family's references resolve, config and controls are frozen settings, the built module has as many
    parameters as the entry says, keeps no buffer outside its state, and can do just what `can:` says.
    """
    family = plugins.family(entry.plugin, entry.family)
    return [*_of_family(family), *_of_module(entry, family)]


def _of_family(family: Family) -> Iterator[str]:
    if family.modality not in MODALITIES:
        yield f"modality {family.modality!r} is none of {', '.join(MODALITIES)}"
    for reference in dataclasses.fields(family):
        if ":" in getattr(family, reference.name):
            family.resolve(reference.name)
    for field in ("config", "controls"):
        kind: Any = family.resolve(field)
        if not getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
            yield f"{field} {kind!r} is not a frozen dataclass"
            continue
        unsaid = [setting.name for setting in settings.fields(kind) if not setting.described.help]
        if unsaid:
            yield f"{field}: no help text for {', '.join(unsaid)}"


def _of_module(entry: ModelEntry, family: Family) -> Iterator[str]:
    config = settings.make(family.resolve("config"), dict(entry.config), what=f"config of {entry.name}")
    module = build_on_meta(family.resolve("build"), config)
    count = sum(parameter.numel() for parameter in module.parameters())
    if count != entry.parameters:
        yield f"the registry says {entry.parameters:,} parameters, the module has {count:,}"
    stored = module.state_dict(keep_vars=True)
    loose = [name for name, _ in module.named_buffers() if name not in stored]
    if loose:
        yield f"buffers that no file stores: {', '.join(loose)}"
    yield from _of_methods(entry, module, family.modality)


def _of_methods(entry: ModelEntry, module: Any, modality: str) -> Iterator[str]:
    for can, method in {**METHODS, "score": scored_by(modality)}.items():
        has = callable(getattr(module, method, None)) and method not in vars(nn.Module)
        if has and can not in entry.can:
            yield f"can: {can!r} is not said, but {method}() is there"
        if can in entry.can and not has:
            yield f"can: {can!r} is said, but {method}() is not there"
