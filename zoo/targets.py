"""What a person means by MODEL: a registry name, plugin/name, a local folder or file, or hf:user/repo[@revision].

A found target says what to build and where its files are; nothing is downloaded but a Hub repo's small config.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import plugins, settings
from zoo.errors import NoWeightsError, PluginError, TensorsError, UnknownModelError, UsageError, WeightsError
from zoo.family import Family
from zoo.registry.catalogue import catalogue
from zoo.registry.entry import ModelEntry, Weights

if TYPE_CHECKING:
    from zoo.weights.hub import Progress
    from zoo.weights.tensors import ZooMetadata

HUB_PREFIX = "hf:"


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

    Registry names come before folders of the same name; write ./name for a folder. A safetensors file is taken
    with the small files beside it.
    revision: another commit, branch or tag of a Hub model than the pinned one; its files are then not checked
    against the registry's hashes but locked at their first download.
    Raises UnknownModelError, PluginError (the plugin is absent or broken), WeightsError (nothing can build it),
    UsageError for no text at all, and for a revision of what has none or has one already.
    """
    if isinstance(text, Target):
        if revision and revision != text.revision:
            raise UsageError(f"revision is {revision!r}, but {text.name} was found without it")
        return text
    if not text:
        raise UsageError("the model's name is empty", hint="`zoo list` shows every model")
    if text.startswith(HUB_PREFIX):
        repo, _, asked = text.removeprefix(HUB_PREFIX).partition("@")
        if revision and asked and revision != asked:
            raise UsageError(
                f"revision is {revision!r}, but {text} names another", hint="leave one of them out"
            )
        return _from_hub(repo, revision or asked, offline=offline)
    if text.startswith((".", "/", "~")):
        return _from_folder(text, revision)
    try:
        entry = catalogue().find(text)
    except UnknownModelError:
        if Path(text).exists():
            return _from_folder(text, revision)
        raise
    return from_entry(entry, revision=revision, offline=offline)


def from_entry(entry: ModelEntry, *, revision: str = "", offline: bool = False) -> Target:
    """The target of a registry entry. Raises PluginError when its plugin is not installed or broken.

    Raises UsageError for a revision of a model that is not on the Hub.
    """
    require_installed(entry)
    family = plugins.family(entry.plugin, entry.family)
    config = settings.make(family.resolve("config"), entry.config, what=f"config of {entry.name}")
    weights = entry.weights if entry.weights.repo else None
    if weights is None:
        _has_no_revisions(entry.name, revision)
    elif revision and revision != weights.revision:
        weights = _wanted(_listing(weights.repo, revision, offline), family)
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
    found = hub.fetch(target.weights, offline=offline, report=report, name=target.name)
    if target.entry is None:
        _check_agreement(target, found)
    return found


def companions(family: Family, files: Mapping[str, Path]) -> dict[str, Path]:
    """Of a model's files those that its family reads beside the weights, by name."""
    return {name: path for name, path in files.items() if name in family.companions}


def weight_files(files: Mapping[str, Path]) -> list[Path]:
    """The safetensors files among a model's files, in order of name."""
    return [path for name, path in sorted(files.items()) if name.endswith(".safetensors")]


def _from_folder(text: str, revision: str) -> Target:
    folder = Path(text).expanduser()
    if not folder.exists():
        raise UnknownModelError(
            f"{text}: there is no such folder or file", hint="`zoo list` shows the registered models"
        )
    _has_no_revisions(text, revision)
    from zoo.weights import companions, local, tensors

    present = local.folder(folder)
    stored = weight_files(present)
    said = tensors.zoo_metadata(stored[0]) if stored else None
    if said is not None:
        family, config = _of_metadata(said, text, stored[0].name)
        return Target(text, said.plugin, family, config, folder=folder)
    if "config.json" not in present:
        raise WeightsError(
            f"{text}: neither a safetensors file of the zoo nor a config.json says what model this is",
            hint="a run folder, an export or a snapshot of a Hub repo is expected",
        )
    plugin, family, config = _built_by(companions.read_json(present["config.json"], name=text), text)
    return Target(text, plugin, family, config, folder=folder)


def _from_hub(repo: str, revision: str, *, offline: bool) -> Target:
    """A Hub repo, by the zoo's own words in its config.json, else by what a family makes of that file."""
    from zoo.weights import companions, hub, tensors

    weights = _listing(repo, revision, offline)
    _require_weights(weights)
    name = f"{HUB_PREFIX}{repo}@{weights.revision}"
    if not any(file.name == "config.json" for file in weights.files):
        raise WeightsError(
            f"{name} has no config.json, so no plugin can say what it is",
            hint="`zoo push` writes one; the folder of a run without it can be loaded as a folder",
        )
    small = hub.fetch(weights, offline=offline, only={"config.json"})
    content = companions.read_json(small["config.json"], name=name)
    if "zoo" in content:
        said = tensors.checked_metadata(content["zoo"], name=f"{name}: config.json")
        family, config = _of_metadata(said, name, "config.json")
        return Target(name, said.plugin, family, config, weights=_wanted(weights, family))
    plugin, family, config = _built_by(content, name)
    return Target(name, plugin, family, config, weights=_wanted(weights, family))


def _of_metadata(said: ZooMetadata, name: str, file: str) -> tuple[Family, Any]:
    """The family and the checked config of what the zoo wrote into a file of the model `name`."""
    family = plugins.family(said.plugin, said.family)
    try:
        return family, settings.make(family.resolve("config"), said.config, what=f"config in {file}")
    except UsageError as error:  # the file's mistake, not the person's
        raise WeightsError(f"{name}: {error}") from error


def _check_agreement(target: Target, files: Mapping[str, Path]) -> None:
    """The weights of a Hub repo that the zoo wrote are those of the config that its config.json says."""
    from zoo.weights import tensors

    for path in weight_files(files)[:1]:
        try:
            said = tensors.zoo_metadata(path)
        except TensorsError:
            return  # who loads it is told what is wrong with it
        if said is None:
            return
        same = (said.plugin, said.family) == (target.plugin, target.family.name)
        if same and _of_metadata(said, target.name, path.name)[1] == target.config:
            return
        raise WeightsError(f"{target.name}: config.json says another model than the header of {path.name}")


def _listing(repo: str, revision: str, offline: bool) -> Weights:
    from zoo.weights import hub

    return hub.listing(repo, revision, offline=offline)


def _wanted(weights: Weights, family: Family) -> Weights:
    """Only the files that a model of the family is loaded from: one checkpoint and what it reads beside it."""
    from zoo.weights.local import INDEXES

    wanted = _require_weights(weights).union(family.companions, INDEXES)
    return replace(weights, files=tuple(file for file in weights.files if file.name in wanted))


def _require_weights(weights: Weights) -> set[str]:
    """The names of one checkpoint's files. Raises WeightsError when there is none."""
    from zoo.weights.local import missing_index

    chosen = _checkpoint({file.name for file in weights.files})
    if not chosen:
        name = f"{HUB_PREFIX}{weights.repo}@{weights.revision}"
        stored = [file.name for file in weights.files if file.name.endswith(".safetensors")]
        if index := missing_index(stored):
            raise WeightsError(
                f"{name} has its weights in shards, but no {index}, which says what each holds"
            )
        raise WeightsError(
            f"{name} has no model.safetensors",
            hint="download its .bin files yourself and turn them into safetensors with `zoo convert`",
        )
    return chosen


def _checkpoint(names: Collection[str]) -> set[str]:
    """The safetensors files of one checkpoint in a listing, by the rule of `zoo.weights.local.folder`."""
    from zoo.weights.local import WEIGHTS

    for name in WEIGHTS:
        if name in names:
            return {name}
        if f"{name}.index.json" in names:
            shard = re.compile(re.escape(name).replace(r"\.safetensors", r"-\d{5}-of-\d{5}\.safetensors"))
            return {other for other in names if shard.fullmatch(other)}
    present = {name for name in names if name.endswith(".safetensors") and "/" not in name}
    return present if len(present) == 1 else set()


def _built_by(hub_config: dict[str, Any], name: str) -> tuple[str, Family, Any]:
    """The plugin and family that can build a Hub repo's config.json, and the family's config of it.

    Every family is asked: the one that refuses need not be the only one. Raises WeightsError, with the first reason.
    """
    reasons = []
    for plugin, family in plugins.all_families():
        if family.from_hub:
            read = family.resolve("from_hub")
            try:
                found = read(hub_config)
                if found is not None:
                    return plugin, family, settings.make(family.resolve("config"), found, what="config.json")
            except UsageError as error:
                reasons.append(str(error))
            except PluginError:
                raise
            except (
                Exception,
                SystemExit,
            ) as error:  # a stranger's file in a plugin's code: any kind of error
                reasons.append(f"{family.name} of {plugin} cannot read its config.json: {_line(error)}")
    if reasons:
        raise WeightsError(f"{name}: {reasons[0][:300]}")
    kind = hub_config.get("model_type") or hub_config.get("_class_name") or "unknown"
    raise WeightsError(
        f"{name}: no installed plugin builds a model of type {_line(kind)!r}",
        hint="`zoo plugin list` shows the installed plugins",
    )


def _line(said: object) -> str:
    return " ".join(str(said).split())[:80] or type(said).__name__


def _has_no_revisions(what: str, revision: str) -> None:
    """Raises UsageError when one was asked for."""
    if revision:
        raise UsageError(
            f"revision is {revision!r}, but {what} has no revisions", hint="only models on the Hub have them"
        )
