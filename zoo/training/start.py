"""What a run starts from: a model with its weights and the files beside them, or a family with neither."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo import api, plugins, settings, targets
from zoo.datasets import reading
from zoo.errors import CapabilityError, PluginError, TrainingError, UnknownModelError, UsageError, ZooError
from zoo.family import Family
from zoo.registry.catalogue import catalogue
from zoo.targets import Target
from zoo.training import recipe as recipes
from zoo.training.plan import FitPlan, Plan
from zoo.training.recipe import Recipe
from zoo.weights import local
from zoo.weights.companions import MOST_TOKENIZER_BYTES, check_size
from zoo.weights.load import build_on_meta
from zoo.weights.tensors import zoo_metadata


@dataclass(frozen=True)
class Start:
    """plugin, family: what builds the network. config: the model's settings as plain data; none for a family.

    model: whose weights are trained on; None for a new network.
    """

    plugin: str
    family: Family
    config: Mapping[str, Any]
    model: Target | None = None


def find(name: str, *, offline: bool = False) -> Start:
    """The start that a person names: a family, a registered model, a folder or hf:user/repo.

    A model that is an architecture without weights is begun anew with its config.
    Raises UnknownModelError; PluginError for a family name of two plugins.
    """
    return (None if _is_model(name) else _family(name)) or _model(name, offline)


def of_checkpoint(weights: Path) -> Start:
    """What a run goes on from: a network like that of its checkpoint, which holds all that training changes.

    So what the run began from may be gone. Raises TrainingError for weights that the zoo did not write.
    """
    said = zoo_metadata(weights)
    if said is None:
        raise TrainingError(f"{weights} does not say of which family it is")
    return Start(said.plugin, plugins.family(said.plugin, said.family), said.config)


def _is_model(name: str) -> bool:
    """Whether the name can only be a model's, so that no plugin need be asked for a family of this name."""
    known = catalogue()
    if any(entry.family == name for entry in known.entries):
        return False
    with contextlib.suppress(UnknownModelError):
        known.find(name)
        return True
    return name.startswith((targets.HUB_PREFIX, ".", "/", "~"))


def _family(name: str) -> Start | None:
    owners = plugins.families_named(name)
    if len(owners) > 1:
        named = " and ".join(plugin for plugin, _ in owners)
        raise PluginError(f"{named} each bring a family {name!r}", hint="start from one of their models")
    return Start(*owners[0], config={}) if owners else None


def _model(name: str, offline: bool) -> Start:
    try:
        target = targets.find(name, offline=offline)
    except UnknownModelError as error:
        message = f"there is no family {name!r}, and {error}"
        raise UnknownModelError(message, near=error.near, hint=error.hint) from None
    has_weights = target.entry is None or target.entry.weights.status != "none"
    config = settings.plain(target.config)
    return Start(target.plugin, target.family, config, target if has_weights else None)


def companions(start: Start, *, offline: bool = False) -> dict[str, Path]:
    """The files that the model reads beside its weights, such as its tokenizer's; none for a new network, whose data
    makes them.

    Raises WeightsError for one that is too large, or a link that leaves the model's folder.
    """
    if start.model is None:
        return {}
    files = targets.companions(start.family, targets.files(start.model, offline=offline))
    for path in files.values():
        local.require_inside(path)
        check_size(path, MOST_TOKENIZER_BYTES)
    return files


def config(start: Start, wanted: Recipe) -> Any:
    """The settings of the network, checked."""
    said = {**start.config, **wanted.config}
    return settings.make(start.family.resolve("config"), said, what=f"config of {wanted.start}")


def rules(start: Start, wanted: Recipe) -> Any:
    """How the data is read, in the settings class of the family's modality."""
    kind = reading.rules_class(start.family.modality)
    return settings.make(kind, dict(wanted.data), what=f"data of {wanted.start}")


def split_seed(start: Start, wanted: Recipe, rules: Any, seed: int) -> int:
    """The seed that divides the data: the rules' own, else that of the run which made the model from the same data.

    So what the model was trained on is not held out now. Else the plan's.
    """
    folder = start.model.folder if start.model is not None else None
    if rules.split_seed is None and folder is not None:
        beside = (folder if folder.is_dir() else folder.parent) / "recipe.yaml"
        with contextlib.suppress(ZooError):  # any folder may have a file of that name, or none
            before = recipes.read(beside)
            drawn = before.data.get("split_seed", before.plan.get("seed"))
            if before.source == wanted.source and type(drawn) is int:
                return drawn
    return reading.dividing_seed(rules, seed)


def plan(start: Start, wanted: Recipe) -> Plan | FitPlan:
    """The plan in the settings class that the family is trained by."""
    kind = start.family.resolve("plan")
    made: Plan | FitPlan = settings.make(kind, wanted.plan, what=f"plan of {wanted.start}")
    return made


def classes(start: Start) -> tuple[type, type, type]:
    """The settings classes of config, data and plan."""
    family = start.family
    return family.resolve("config"), reading.rules_class(family.modality), family.resolve("plan")


def whole(start: Start, wanted: Recipe) -> Recipe:
    """The recipe with every setting written out."""
    return dataclasses.replace(
        wanted,
        config=settings.plain(config(start, wanted)),
        data=settings.plain(rules(start, wanted)),
        plan=settings.plain(plan(start, wanted)),
    )


def require_fitting(start: Start, decided: Mapping[str, Any], wanted: Recipe) -> None:
    """Raises UsageError when the data decides settings of the network otherwise than a person or the model does."""
    for name, value in decided.items():
        made_for = start.config.get(name, value) if start.model is not None else value
        if made_for != value:
            raise UsageError(
                f"{wanted.source} has {name} {value}, but {wanted.start} was made for {name} {made_for}",
                hint="change how the data is read with --set data..., or train a new network of the family",
            )
        if (asked := wanted.config.get(name, value)) != value:
            raise UsageError(
                f"config.{name} is {asked!r}, but {wanted.source} decides that it is {value!r}",
                hint=f"leave config.{name} out, or change how the data is read with --set data...",
            )


def is_fitted(family: Family) -> bool:
    """Whether the family's models are fitted by passes over the data, and not trained by gradients."""
    return issubclass(family.resolve("plan"), FitPlan)


def require_same_shape(start: Start, config: Any) -> None:
    """Raises UsageError when a config would build a network of another shape than the model's weights have."""
    if start.model is None or config == start.model.config:
        return
    build = start.family.resolve("build")
    ours, theirs = (
        {name: tensor.shape for name, tensor in build_on_meta(build, each).state_dict().items()}
        for each in (config, start.model.config)
    )
    if ours != theirs:
        before = settings.plain(start.model.config)
        changed = [name for name, value in settings.plain(config).items() if value != before[name]]
        raise UsageError(
            f"the weights of {start.model.name} are of another shape than "
            + ", ".join(f"config.{name}={settings.plain(config)[name]}" for name in changed)
            + f" makes; there it is {', '.join(str(before[name]) for name in changed)}",
            hint=f"train a new model of the family, {start.family.name}, or leave it as it is",
        )


def network(start: Start, config: Any, seed: int, *, offline: bool = False) -> nn.Module:
    """The network on the CPU: the model's weights, or new ones that depend on the seed alone.

    In float32 to be trained; to be fitted, in the dtype that its config builds it in.
    Raises CapabilityError for a family that cannot be trained the way that its plan says.
    """
    fitted = is_fitted(start.family)
    build = start.family.resolve("build")
    if start.model is not None:
        target = dataclasses.replace(start.model, config=config)
        kind = "auto" if fitted else "float32"
        built = api.load_network(target, device="cpu", dtype=kind, offline=offline)[0]
        if fitted:
            built.to(next(build_on_meta(build, config).parameters()).dtype)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = build(config)
    if not callable(getattr(built, "fit" if fitted else "loss", None)):
        raise CapabilityError(
            f"the family {start.family.name} has no "
            + ("fit, though its plan is that of one" if fitted else "loss, so it is not trained by gradients")
        )
    return built
