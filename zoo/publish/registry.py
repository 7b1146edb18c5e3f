"""A model's entry as the text of a registry file, which `zoo.registry.reading` reads once its commit is in it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import yaml

from zoo.registry.entry import ModelEntry
from zoo.registry.reading import SCHEMA

UNPINNED = """\
# The registry entry of this model without weights.revision: the commit that holds this file, which the file itself
# cannot name. `zoo push` prints the entry with it.
"""


def text(entry: ModelEntry) -> str:
    """The registry file of one model; without `weights.revision` a comment in front says so."""
    weights: dict[str, Any] = {
        "status": entry.weights.status,
        "repo": entry.weights.repo,
        "revision": entry.weights.revision,
        "dtype": entry.weights.dtype,
        "files": [asdict(file) for file in entry.weights.files],
    }
    model: dict[str, Any] = {
        "name": entry.name,
        "family": entry.family,
        "task": entry.task,
        "can": list(entry.can),
        "summary": entry.summary,
        "parameters": entry.parameters,
        "config": dict(entry.config),
        "weights": {key: value for key, value in weights.items() if value},
        "licences": asdict(entry.licences),
    }
    if entry.metrics:
        metrics = [asdict(metric) for metric in entry.metrics]
        model["metrics"] = [{k: v for k, v in metric.items() if v not in ("", None)} for metric in metrics]
    document = {"schema": SCHEMA, "plugin": entry.plugin, "models": [json.loads(json.dumps(model))]}
    said = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return said if entry.weights.revision else UNPINNED + said
