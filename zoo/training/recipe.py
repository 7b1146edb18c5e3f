"""A recipe: what a run starts from, on which data and by which plan. Read from YAML, written out in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from zoo import bounds, settings
from zoo.errors import DataError, TrainingError, UnknownModelError, UsageError
from zoo.machine_paths import base_name, without_paths
from zoo.os_words import reason
from zoo.registry.catalogue import catalogue
from zoo.registry.reading import read_yaml

SCHEMA = 1
SOURCE = "source"
_FIELDS = ("schema", "start", "config", "data", "plan")


@dataclass(frozen=True)
class Recipe:
    """start: a model, whose weights are trained on, or a family, of which a new network is made.

    config: the settings of the network that differ from the model's, or from the family's defaults.
    source: the data as `zoo.datasets.source.find` takes it, "" when the recipe leaves it to whoever runs it.
    data: how it is read and divided, by the rules of the family's modality; what differs from their defaults.
    plan: how it is trained, by the settings class that the family names; what differs from their defaults.
    """

    start: str
    config: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path) -> Recipe:
    """The recipe in a file. Raises DataError when it cannot be read, RegistryError or UsageError for its content."""
    try:
        text = bounds.regular(path).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"recipe {path} cannot be read: {reason(error)}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"recipe {path} cannot be read: {error}") from None
    return _from_plain(read_yaml(text, name=str(path)), what=f"recipe {path}")


def _from_plain(said: Any, *, what: str) -> Recipe:
    if not isinstance(said, dict):
        raise UsageError(f"{what}: must be a mapping with {', '.join(_FIELDS)}")
    for name in said:
        if name not in _FIELDS:
            raise settings.unknown_name(str(name), _FIELDS, what=what)
    if said.get("schema") != SCHEMA:
        raise UsageError(f"{what}: schema is {said.get('schema')!r}, but must be {SCHEMA}")
    start = said.get("start")
    if not isinstance(start, str) or not start:
        raise UsageError(f"{what}: start is {start!r}, but must name a model or a family")
    for name in ("config", "data", "plan"):
        if not isinstance(said.get(name, {}), dict):
            raise UsageError(f"{what}: {name} is {said[name]!r}, but must be a mapping")
    data = dict(said.get("data", {}))
    source = data.pop(SOURCE, "")
    if not isinstance(source, str):
        raise UsageError(f"{what}: data.{SOURCE} is {source!r}, but must be text")
    return Recipe(start, said.get("config", {}), source, data, said.get("plan", {}))


def to_plain(recipe: Recipe) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "start": recipe.start,
        "config": dict(recipe.config),
        "data": {SOURCE: recipe.source, **recipe.data},
        "plan": dict(recipe.plan),
    }


def to_yaml(recipe: Recipe) -> str:
    """The recipe with every setting written out, as a file that `read` takes."""
    return yaml.safe_dump(to_plain(recipe), sort_keys=False, allow_unicode=True, default_flow_style=False)


def shareable(said: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as plain data, such as `to_plain` gives, with base names in place of paths of the machine it ran on.

    It may be a stranger's: nothing is taken for granted of it.
    """
    said = dict(without_paths(said))
    if isinstance(start := said.get("start"), str):
        said["start"] = start if _is_registered(start) else _public(start)
    data = said.get("data")
    if isinstance(data, str):
        said["data"] = _public(data)
    elif isinstance(data, dict):
        said["data"] = {
            name: _public_data(value) if name in _NAMES else value for name, value in data.items()
        }
    return said


_NAMES = (SOURCE, "name", "path", "data", "held_out")
"""What in a recipe's data may be a path: where it is, and names of documents, which are paths within it."""


def _public_data(value: Any) -> Any:
    if isinstance(value, list):
        return [_public_data(item) for item in value]
    return _public(value) if isinstance(value, str) else value


def _public(text: str) -> str:
    """A model or data as everyone may read it: a name of the Hub, else the last name of a path."""
    return text if text.startswith("hf:") else base_name(text)


def _is_registered(name: str) -> bool:
    """Whether a name, which may have a slash as in plugin/model, is a model's and not a path."""
    try:
        return bool(catalogue().find(name))
    except UnknownModelError:
        return False


def changed(
    recipe: Recipe, assignments: Sequence[str], config_class: type, rules_class: type, plan_class: type
) -> Recipe:
    """The recipe after assignments such as "config.layers=2" or "plan.learning_rate=3e-4".

    config_class, plan_class: the family's. rules_class: of the data of its modality. Raises UsageError for an unknown
    section or setting, naming the nearest, or a value that does not fit.
    """
    classes = {"config": config_class, "data": rules_class, "plan": plan_class}
    for assignment in assignments:
        section, key, value = settings.assigned(assignment, classes)
        said: Mapping[str, Any] = getattr(recipe, section)
        changes: dict[str, Any] = {section: {**said, key: value}}
        recipe = replace(recipe, **changes)
    return recipe


def require_unedited(path: Path, went_by: Mapping[str, Any], whole: Recipe, changes: Sequence[str]) -> None:
    """Raises TrainingError when a run's recipe says otherwise than what the run went by, naming each setting.

    went_by: as `shareable` makes it; empty when it is not known. whole: the recipe of now, with every
    setting. changes: assignments, whose settings may differ. Where the data lies is left out: its fingerprint tells.
    """
    before, after = _flat(went_by), _flat(shareable(to_plain(whole)))
    meant = {change.partition("=")[0].strip() for change in changes}
    edited = [name for name in after if name in before and before[name] != after[name] and name not in meant]
    if not edited:
        return
    told = ", ".join(f"{name} was {before[name]!r} and is {after[name]!r}" for name in edited)
    allowed = " ".join(f"--set {name}={_typed(after[name])}" for name in edited if name != "start")
    raise TrainingError(
        f"{path} was changed since the run began: {told}",
        hint="put back what was there" + (f", or go on with the change: {allowed}" if allowed else ""),
    )


def _typed(value: Any) -> str:
    """A value as --set takes it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _flat(said: Mapping[str, Any]) -> dict[str, Any]:
    sections = {name: said.get(name) for name in ("config", "data", "plan")}
    found = {
        f"{section}.{name}": list(value) if isinstance(value, tuple) else value
        for section, content in sections.items()
        if isinstance(content, Mapping)
        for name, value in content.items()
    }
    found.pop(f"data.{SOURCE}", None)
    return {"start": said["start"], **found} if "start" in said else found
