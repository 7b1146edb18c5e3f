"""What a person means by MODEL: a registry name, plugin/name, a local folder, or hf:user/repo[@revision].

A found target says what to build and where its files are; nothing is downloaded but a Hub repo's small config.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import plugins, settings
from zoo.errors import NoWeightsError, PluginError, UnknownModelError, WeightsError
from zoo.family import Family
from zoo.registry.catalogue import catalogue
from zoo.registry.entry import ModelEntry, Weights

if TYPE_CHECKING:
    from zoo.weights.hub import Progress

HUB_PREFIX = "hf:"
COMPANION = re.compile(r"[\w.-]+\.(json|txt|jinja|model)")
"""The text files beside the weights: config, tokenizer, chat template."""

_MOST_CONFIG_BYTES = 1 << 20
_SHARD = re.compile(r"(model|diffusion_pytorch_model)(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")


@dataclass(frozen=True)
class Target:
    """A model that is about to be built or loaded.

    name: as a person would write it again. config: the family's config, checked. weights: the Hub files, for a
    registry entry or a Hub repo. folder: where the files already are. revision: the commit, "" when there is none.
    """

    name: str
    plugin: str
    family: Family
    config: Any
    entry: ModelEntry | None = None
    weights: Weights | None = None
    folder: Path | None = None

    @property
    def revision(self) -> str:
        return self.weights.revision if self.weights else ""


def find(text: str | Target, *, revision: str = "", offline: bool = False) -> Target:
    """The target that `text` names; a target found already is returned as it is.

    Registry names come before folders of the same name; write ./name for a folder.
    revision: another commit, branch or tag of a Hub model than the pinned one; its files are then not checked
    against the registry's hashes but locked at their first download.
    Raises UnknownModelError, PluginError (the plugin is absent or broken), WeightsError (nothing can build it).
    """
    if isinstance(text, Target):
        return text
    if text.startswith(HUB_PREFIX):
        repo, _, asked = text.removeprefix(HUB_PREFIX).partition("@")
        return _from_hub(repo, revision or asked, offline=offline)
    if text.startswith((".", "/", "~")):
        return _from_folder(text)
    try:
        entry = catalogue().find(text)
    except UnknownModelError:
        if Path(text).is_dir():
            return _from_folder(text)
        raise
    return from_entry(entry, revision=revision, offline=offline)


def from_entry(entry: ModelEntry, *, revision: str = "", offline: bool = False) -> Target:
    """The target of a registry entry. Raises PluginError when its plugin is not installed or broken."""
    require_installed(entry)
    family = plugins.family(entry.plugin, entry.family)
    config = settings.make(family.resolve("config"), entry.config, what=f"config of {entry.name}")
    weights = entry.weights if entry.weights.repo else None
    if weights is not None and revision and revision != weights.revision:
        weights = _wanted(_listing(weights.repo, revision, offline))
    return Target(entry.name, entry.plugin, family, config, entry=entry, weights=weights)


def require_installed(entry: ModelEntry) -> None:
    """Raises PluginError, with the line that helps, when the entry's plugin is not there to build it."""
    if entry.installed:
        return
    present = [plugin for plugin in plugins.discover() if plugin.distribution == entry.plugin]
    if present and present[0].status == "disabled":
        raise PluginError(
            f"{entry.name} belongs to {entry.plugin}, which ZOO_PLUGINS leaves out",
            hint=f"add {entry.plugin} to ZOO_PLUGINS, or unset it",
        )
    if present:
        raise PluginError(f"{entry.plugin} is broken: {present[0].reason}", hint="run `zoo doctor`")
    raise PluginError(
        f"{entry.name} belongs to the plugin {entry.plugin}, which is not installed",
        hint=f"pip install {entry.plugin}",
    )


def files(
    target: Target, *, offline: bool = False, report: Callable[[Progress], None] | None = None
) -> dict[str, Path]:
    """The target's files by name, downloaded and checked where needed.

    Raises NoWeightsError for an architecture without weights, and what `zoo.weights.hub.fetch` raises.
    """
    from zoo.weights import hub, local

    if target.folder is not None:
        return local.folder(target.folder)
    if target.entry is not None and target.entry.weights.package:
        return local.packaged(target.entry)
    if target.weights is None:
        raise NoWeightsError(
            f"{target.name} is an architecture without published weights",
            hint=f"build it with random weights: zoo.build({target.name!r})",
        )
    return hub.fetch(target.weights, offline=offline, report=report, name=target.name)


def weight_files(files: Mapping[str, Path]) -> list[Path]:
    """The safetensors files among a model's files, in order of name."""
    return [path for name, path in sorted(files.items()) if name.endswith(".safetensors")]


def _from_folder(text: str) -> Target:
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise UnknownModelError(
            f"{text}: there is no such folder", hint="`zoo list` shows the registered models"
        )
    from zoo.weights import local, tensors

    present = local.folder(folder)
    stored = weight_files(present)
    said = tensors.zoo_metadata(stored[0]) if stored else None
    if said is not None:
        family = plugins.family(said.plugin, said.family)
        config = settings.make(family.resolve("config"), said.config, what=f"config in {stored[0].name}")
        return Target(text, said.plugin, family, config, folder=folder)
    if "config.json" not in present:
        raise WeightsError(
            f"{text}: neither a safetensors file of the zoo nor a config.json says what model this is",
            hint="a run folder, an export or a snapshot of a Hub repo is expected",
        )
    plugin, family, config = _built_by(_hub_config(present["config.json"], text), text)
    return Target(text, plugin, family, config, folder=folder)


def _from_hub(repo: str, revision: str, *, offline: bool) -> Target:
    from zoo.weights import hub

    weights = _wanted(_listing(repo, revision, offline))
    name = f"{HUB_PREFIX}{repo}@{weights.revision}"
    if not any(file.name == "config.json" for file in weights.files):
        raise WeightsError(f"{name} has no config.json, so no plugin can say what it is")
    small = hub.fetch(weights, offline=offline, only={"config.json"})
    plugin, family, config = _built_by(_hub_config(small["config.json"], name), name)
    return Target(name, plugin, family, config, weights=weights)


def _listing(repo: str, revision: str, offline: bool) -> Weights:
    from zoo.weights import hub

    return hub.listing(repo, revision, offline=offline)


def _wanted(weights: Weights) -> Weights:
    """Only the files a model is loaded from: safetensors and the small text files at the repo's root."""
    kept = [file for file in weights.files if _SHARD.fullmatch(file.name) or COMPANION.fullmatch(file.name)]
    if not any(file.name.endswith(".safetensors") for file in kept):
        raise WeightsError(
            f"{HUB_PREFIX}{weights.repo}@{weights.revision} has no model.safetensors",
            hint="download its .bin files yourself and turn them into safetensors with `zoo convert`",
        )
    return replace(weights, files=tuple(kept))


def _hub_config(path: Path, name: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_CONFIG_BYTES:
            raise WeightsError(f"{name}: config.json is larger than {_MOST_CONFIG_BYTES} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{name}: config.json is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise WeightsError(f"{name}: config.json does not hold an object")
    return config


def _built_by(hub_config: dict[str, Any], name: str) -> tuple[str, Family, Any]:
    """The plugin and family that can build a Hub repo's config.json, and the family's config of it."""
    for plugin, family in plugins.all_families():
        if family.from_hub:
            found = family.resolve("from_hub")(hub_config)
            if found is not None:
                config = settings.make(family.resolve("config"), found, what=f"config.json of {name}")
                return plugin, family, config
    kind = hub_config.get("model_type") or hub_config.get("_class_name") or "unknown"
    raise WeightsError(
        f"{name}: no installed plugin builds a model of type {str(kind)[:80]!r}",
        hint="`zoo plugin list` shows the installed plugins",
    )
