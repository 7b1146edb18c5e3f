"""What a run's folder says of how its weights came to be: recipe, data, versions and held-out measurements.

Everything here may be absent, and what is there is shown, never obeyed. Paths of the machine are reduced to names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import DataError
from zoo.machine_paths import without_paths
from zoo.os_words import reason
from zoo.registry.reading import read_yaml
from zoo.text_safety import safe_text
from zoo.training.recipe import shareable
from zoo.weights import companions, local

RECIPE, METRICS, ABOUT = "recipe.yaml", "metrics.jsonl", "run.json"

_MOST_LINE_BYTES = 1 << 20
_HELD_OUT = "held_out_"
_COUNTS = ("samples", "documents", "rows", "tokens", "frames", "bytes", "images")
"""How the name of a result ends that says on how much was measured, the most telling first."""
_COUNTED = re.compile(r"(\d[\d,]*) held out")
_SOURCES = ("source", "name", "path", "data")


@dataclass(frozen=True)
class Measured:
    """A held-out measurement: its step, results by name, and how much was measured by name."""

    step: int
    results: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def samples(self) -> int | None:
        """N: of samples, documents or rows if that is known, else of tokens or bytes."""
        return next(iter(self.counts.values()), None)


@dataclass(frozen=True)
class History:
    """recipe: plain data without paths, None when there is none. data: the name of what it was trained on, or "".

    seed, steps: None when nobody says. summary, fingerprint: of the data, as the run wrote them down, or "".
    versions: of the packages that trained it. measured: of these weights, or the run's best where they name no step.
    """

    recipe: Mapping[str, Any] | None = None
    data: str = ""
    seed: int | None = None
    steps: int | None = None
    measured: Measured | None = None
    summary: str = ""
    fingerprint: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def recipe_text(self) -> str:
        text = yaml.safe_dump(self.recipe, sort_keys=False, allow_unicode=True, default_flow_style=False)
        return safe_text(text, newlines=True)


def read(folder: Path, step: int | None = None) -> History:
    """What the folder's recipe.yaml, metrics.jsonl and run.json say. step: the one that the weights are of.

    Raises RegistryError, DataError or WeightsError for a file that is there and cannot be read, or is a link that
    leaves the folder.
    """
    for name in (RECIPE, METRICS, ABOUT):
        local.require_inside(folder / name)
    recipe = _recipe(folder / RECIPE)
    measured, last = _metrics(folder / METRICS, step)
    about = companions.read_json(folder / ABOUT) if (folder / ABOUT).is_file() else {}
    summary = _text(_mapping(about.get("data")).get("summary"))
    if measured and not measured.counts and (counted := _COUNTED.search(summary)):
        measured = replace(measured, counts={"held out": int(counted[1].replace(",", ""))})
    said: Mapping[str, Any] = recipe or {}
    plan = _mapping(said.get("plan"))
    return History(
        recipe,
        _data_name(said.get("data")),
        _whole(plan.get("seed", said.get("seed"))),
        last if last is not None else _whole(plan.get("steps")),
        measured,
        summary,
        _text(_mapping(about.get("data")).get("fingerprint")),
        {_text(name): _text(version) for name, version in _mapping(about.get("versions")).items()},
    )


def _recipe(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        said = read_yaml(path.read_text(encoding="utf-8"), name=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if not isinstance(said, dict):
        raise DataError(f"{path} is no recipe: it must hold a mapping")
    return shareable(said)


def _data_name(data: Any) -> str:
    said = next((data[key] for key in _SOURCES if data.get(key)), "") if isinstance(data, dict) else data
    return safe_text(said) if isinstance(said, str) else ""


def _metrics(path: Path, of_step: int | None) -> tuple[Measured | None, int | None]:
    """The measurement at a step, else the best by its first result, a loss; and the last step.

    A line cut short is passed over.
    """
    best: Measured | None = None
    exact: Measured | None = None
    last: int | None = None
    if not path.is_file():
        return None, None
    try:
        with path.open("rb") as file:
            while line := file.readline(_MOST_LINE_BYTES):
                said = _object(line)
                step = _whole(said.get("step"))
                if step is None:
                    continue
                last = step
                found = _measured(step, said)
                if found and step == of_step:
                    exact = found
                if found and (best is None or _first(found) <= _first(best)):
                    best = found
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from None
    return exact or best, last


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return without_paths(safe_text(value))[:300] if isinstance(value, str) else ""


def _object(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _measured(step: int, said: Mapping[str, Any]) -> Measured | None:
    """The held-out results of one line: a mapping `results`, or keys that begin with held_out_."""
    nested = said.get("results")
    found = nested if isinstance(nested, dict) else {k: v for k, v in said.items() if k.startswith(_HELD_OUT)}
    numbers = {
        safe_text(name): value
        for name, value in found.items()
        if type(value) in (int, float) and math.isfinite(value)
    }
    counts = {
        name: int(numbers.pop(name)) for kind in _COUNTS for name in list(numbers) if _words(name)[-1] == kind
    }
    return Measured(step, numbers, counts) if numbers else None


def _words(name: str) -> list[str]:
    return name.split("_")


def _first(measured: Measured) -> float:
    return next(iter(measured.results.values()))


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None
