"""What is told about a model, as plain data: the JSON of `zoo list` and `zoo info`, and what they print from.

The shapes are documented in docs/json.md and pinned by tests: adding a key is fine, changing one is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.registry.entry import ModelEntry, Weights
    from zoo.targets import Target

BYTES_OF = {"float32": 4, "float16": 2, "bfloat16": 2}


def summary(entry: ModelEntry) -> dict[str, Any]:
    """One element of `zoo list --json`."""
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "plugin": entry.plugin,
        "family": entry.family,
        "task": entry.task,
        "can": list(entry.can),
        "parameters": entry.parameters,
        "summary": entry.summary,
        "installed": entry.installed,
        "weights": {
            "status": entry.weights.status,
            "bytes": entry.weights.bytes,
            "repo": entry.weights.repo or None,
            "revision": entry.weights.revision or None,
            "package": entry.weights.package or None,
        },
    }


def of_entry(entry: ModelEntry) -> dict[str, Any]:
    """`zoo info --json` of a registered model."""
    card = summary(entry)
    card["weights"] |= {"dtype": entry.weights.dtype or None, "files": _files(entry.weights)}
    return card | {
        "install": None if entry.installed else f"pip install {entry.plugin}",
        "licences": asdict(entry.licences),
        "paper": asdict(entry.paper) if entry.paper else None,
        "metrics": [asdict(metric) for metric in entry.metrics],
        "config": dict(entry.config),
        "memory": memory(entry.parameters, entry.config),
    }


def of_target(target: Target) -> dict[str, Any]:
    """`zoo info --json` of a local folder or a Hub repo: what its own files say, and null for what nobody says."""
    from zoo import settings

    weights = target.weights
    config = settings.plain(target.config)
    parameters = _stored_parameters(target)
    return {
        "name": target.name,
        "aliases": [],
        "plugin": target.plugin,
        "family": target.family.name,
        "task": None,
        "can": [],
        "parameters": parameters,
        "summary": "",
        "installed": True,
        "weights": {
            "status": None,
            "bytes": weights.bytes if weights else _stored_bytes(target),
            "repo": weights.repo if weights else None,
            "revision": weights.revision if weights else None,
            "package": None,
            "dtype": None,
            "files": _files(weights) if weights else [],
        },
        "install": None,
        "licences": None,
        "paper": None,
        "metrics": [],
        "config": config,
        "memory": memory(parameters, config) if parameters else None,
    }


def memory(parameters: int, config: Mapping[str, Any]) -> dict[str, dict[str, int | None]]:
    """Bytes needed to run, by dtype: the weights, and the key-value cache of one text as long as the context.

    The cache is None where the config is not that of a transformer with attention: there is none.
    """
    values = cache_values(config)
    needed: dict[str, dict[str, int | None]] = {}
    for dtype, size in BYTES_OF.items():
        cache = None if values is None else values * size
        needed[dtype] = {
            "weights": parameters * size,
            "cache": cache,
            "total": parameters * size + (cache or 0),
        }
    return needed


def cache_values(config: Mapping[str, Any]) -> int | None:
    """Numbers in the key-value cache of one full context: 2 x layers x context x key-value heads x head width."""
    try:
        layers, context, heads = config["layers"], config["context"], config["heads"]
        width = config.get("head_width") or config["width"] // heads
        return int(2 * layers * context * (config.get("key_value_heads") or heads) * width)
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def _files(weights: Weights) -> list[dict[str, Any]]:
    """`cached`: the file is in the Hub cache; None for files of a package, which are always there."""
    from zoo.weights import layout

    return [
        {
            "name": file.name,
            "bytes": file.bytes,
            "sha256": file.sha256 or None,
            "cached": layout.snapshot_file(weights.repo, weights.revision, file.name).is_file()
            if weights.repo
            else None,
        }
        for file in weights.files
    ]


def _stored_parameters(target: Target) -> int | None:
    """The numbers in a local folder's safetensors files; None where nothing is here to be counted."""
    import math

    from zoo import targets
    from zoo.weights import local, tensors

    if target.folder is None:
        return None
    stored = targets.weight_files(local.folder(target.folder))
    headers = [tensors.read_header(path) for path in stored]
    return sum(math.prod(tensor.shape) for header in headers for tensor in header.tensors.values())


def _stored_bytes(target: Target) -> int | None:
    from zoo.weights import local

    if target.folder is None:
        return None
    return sum(path.stat().st_size for path in local.folder(target.folder).values())
