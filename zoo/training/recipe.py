"""A recipe: what a run starts from, on which data and by which plan. Read from YAML, written out in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from zoo import settings
from zoo.errors import DataError, TrainingError, UsageError
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
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
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


def shareable(recipe: Recipe) -> Recipe:
    """The recipe without the folders of the machine it ran on."""

    def short(text: str) -> str:
        return Path(text).name if Path(text).is_absolute() else text

    return replace(recipe, start=short(recipe.start), source=short(recipe.source))


def changed(
    recipe: Recipe, assignments: Sequence[str], config_class: type, rules_class: type, plan_class: type
) -> Recipe:
    """The recipe after assignments such as "config.layers=2" or "plan.learning_rate=3e-4".

    config_class, plan_class: the family's. rules_class: of the data of its modality. Raises UsageError for an unknown
    section or setting, naming the nearest, or a value that does not fit.
    """
    classes = {"config": config_class, "data": rules_class, "plan": plan_class}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot):
            raise UsageError(f"--set {assignment}: must be written as section.setting=value")
        if section not in classes:
            raise settings.unknown_name(section, classes, what=f"--set {assignment}")
        known = {setting.name: setting for setting in settings.fields(classes[section])}
        if key not in known:
            raise settings.unknown_name(key, known, what=f"--set {assignment}")
        value = settings.parse(known[key], text.strip(), what=f"--set {assignment}")
        said: Mapping[str, Any] = getattr(recipe, section)
        changes: dict[str, Any] = {section: {**said, key: value}}
        recipe = replace(recipe, **changes)
    return recipe


def require_unedited(path: Path, went_by: Mapping[str, Any], whole: Recipe, changes: Sequence[str]) -> None:
    """Raises TrainingError when a run's recipe says otherwise than what the run went by, naming each setting.

    went_by: as `to_plain` of a shareable recipe; empty when it is not known. whole: the recipe of now, with every
    setting. changes: assignments, whose settings may differ. Where the data lies is left out: its fingerprint tells.
    """
    before, after = _flat(went_by), _flat(to_plain(shareable(whole)))
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
