"""The generated index as the command reads it at every start: JSON behind a comment, so no YAML parser is imported.

JSON is also YAML, so the file stays a registry file for other readers. It is written by `zoo.registry.index` from
checked registry files and travels with zoo-core, so it is not checked again.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zoo.errors import RegistryError
from zoo.registry.entry import File, Licences, Metric, ModelEntry, Paper, Weights

INDEX = Path(__file__).with_name("index.yaml")


class IndexedPlugin(NamedTuple):
    """What the index says of one plugin.

    plugin: its distribution. bytes, crc32: of the registry file that its models were taken from. They notice a
    change, not an attack: both files lie in one installation, and hashlib would cost the start 5 ms.
    models: as `to_plain` gives them.
    """

    plugin: str
    summary: str
    bytes: int
    crc32: int
    models: tuple[Mapping[str, Any], ...]

    def entries(self, *, package: str = "", installed: bool = False) -> list[ModelEntry]:
        """The models. package, installed: see `ModelEntry`."""
        return [from_plain(model, self.plugin, package=package, installed=installed) for model in self.models]

    def is_of(self, registry: Path) -> bool:
        """Whether these models are those of this registry file, byte for byte."""
        try:
            return registry.stat().st_size == self.bytes and zlib.crc32(registry.read_bytes()) == self.crc32
        except OSError:
            return False


def read_index(path: Path = INDEX) -> dict[str, IndexedPlugin]:
    """The plugins of the index by distribution. Raises RegistryError when the file is absent or damaged."""
    try:
        text = path.read_text(encoding="utf-8")
        start = text.index("{")
        found = [
            IndexedPlugin(
                said["plugin"], said["summary"], said["bytes"], said["crc32"], tuple(said["models"])
            )
            for said in json.loads(text[start:])["plugins"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = (
            f"{path}: the index of known models is damaged ({type(error).__name__}); allowed: as generated"
        )
        raise RegistryError(problem, hint="install zoo-core again, or run `make index` in its tree") from None
    return {plugin.plugin: plugin for plugin in found}


def to_plain(entry: ModelEntry) -> dict[str, Any]:
    """A model as plain data in the shape of a registry file, without what is empty or unknown."""
    said = _filled(dataclasses.asdict(entry))
    for key in ("plugin", "package", "installed"):
        said.pop(key, None)
    return {**said, "parameters": entry.parameters}


def _filled(value: Any) -> Any:
    """The value without entries that are None or empty, below as well; a setting that is null stays."""
    if isinstance(value, dict):
        return {
            key: item if key == "config" else _filled(item)
            for key, item in value.items()
            if item is not None and item not in ("", (), {})
        }
    if isinstance(value, tuple | list):
        return [_filled(item) for item in value]
    return value


def from_plain(
    said: Mapping[str, Any], plugin: str, *, package: str = "", installed: bool = False
) -> ModelEntry:
    """The entry that `to_plain` was given, for the plugin of this distribution."""
    weights = said["weights"]
    paper = said.get("paper")
    return ModelEntry(
        name=said["name"],
        plugin=plugin,
        family=said["family"],
        task=said["task"],
        can=tuple(said["can"]),
        parameters=said["parameters"],
        weights=Weights(**{**weights, "files": tuple(File(**file) for file in weights.get("files", ()))}),
        licences=Licences(**said["licences"]),
        summary=said.get("summary", ""),
        aliases=tuple(said.get("aliases", ())),
        config=said.get("config", {}),
        paper=Paper(**paper) if paper else None,
        metrics=tuple(Metric(**{"unit": "", **metric}) for metric in said.get("metrics", ())),
        package=package,
        installed=installed,
    )
