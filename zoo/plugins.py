"""Plugins: found by their metadata, loaded one by one, so that a broken one costs its own row and nothing else.

A plugin is a distribution with one entry point in the group `zoo.plugins`, whose value is a module. That module has

    zoo_api = (1, 1)                     # the first and the last plugin interface it fits

    @hookimpl
    def zoo_families() -> list[Family]: ...

and beside it, at the top of the import package, a `registry.yaml` says as data which models there are.
The environment variable ZOO_PLUGINS, if set, names the only plugins to use, by distribution or entry point, with
commas between; empty, it allows none.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo.distributions import Claim, claims, normalised
from zoo.errors import PluginError, RegistryError
from zoo.text_safety import safe_text

if TYPE_CHECKING:
    from zoo.family import Family
    from zoo.plugin_loading import hookimpl as hookimpl

REGISTRY_FILE = "registry.yaml"

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class Plugin:
    """What the metadata says of a plugin, and whether it can be used. Texts are one line, safe to show.

    name: of the entry point. distribution: normalised, such as zoo-gpt. module: the entry point's value.
    package: the top-level import package. registry: its registry file; None when it has none or is not found.
    reason: why the status is not ok.
    """

    name: str
    distribution: str
    version: str
    module: str
    package: str
    summary: str = ""
    registry: Path | None = None
    status: Literal["ok", "broken", "disabled"] = "ok"
    reason: str = ""


@functools.cache
def discover() -> tuple[Plugin, ...]:
    """The installed plugins, by distribution name. Reads metadata only: no code of a plugin runs.

    "broken" is here what metadata can show; `check` finds the rest.
    """
    allowed = _allowed()
    claimed: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims():
        claimed[claim.distribution].append(claim)
    rows = [_row(found, allowed) for _, found in sorted(claimed.items())]
    return tuple(_without_clashes(rows))


def _allowed() -> set[str] | None:
    """The names in ZOO_PLUGINS, or None when it is not set."""
    said = os.environ.get("ZOO_PLUGINS")
    return None if said is None else {normalised(name.strip()) for name in said.split(",") if name.strip()}


def _row(found: list[Claim], allowed: set[str] | None) -> Plugin:
    first = found[0]
    package = first.value.partition(".")[0]
    plugin = Plugin(
        _line(first.name),
        _line(first.distribution),
        _line(first.version),
        _line(first.value),
        _line(package),
        _line(first.summary),
    )
    names = {first.distribution, *(normalised(claim.name) for claim in found)}
    if allowed is not None and not names & allowed:
        return replace(plugin, status="disabled", reason="ZOO_PLUGINS leaves it out")
    folders = list(dict.fromkeys(claim.folder for claim in found))
    if len(folders) > 1:
        where = " and ".join(str(folder.parent) for folder in folders)
        return _broken(
            plugin, f"the distribution {first.distribution} is installed twice, in {where}; uninstall one"
        )
    if len(found) > 1:
        points = ", ".join(claim.name for claim in found)
        return _broken(plugin, f"has {len(found)} entry points in zoo.plugins ({points}); allowed: one")
    if not _MODULE.fullmatch(first.value):
        return _broken(
            plugin, f"its entry point is {first.value!r}, but must be a module, such as zoo_gpt.plugin"
        )
    return _located(plugin)


def _located(plugin: Plugin) -> Plugin:
    """The plugin with its registry file, found without importing its package."""
    try:
        spec = importlib.util.find_spec(plugin.package)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return _broken(plugin, f"its package {plugin.package} cannot be found; install it again")
    for folder in spec.submodule_search_locations or ():
        registry = Path(folder) / REGISTRY_FILE
        if registry.is_file():
            return replace(plugin, registry=registry)
    return plugin


def _without_clashes(rows: list[Plugin]) -> list[Plugin]:
    """Of several plugins with one entry point name, only the one it stands for (gpt for zoo-gpt) is kept."""
    same: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.status == "ok":
            same[row.name].append(row.distribution)

    def kept(row: Plugin) -> Plugin:
        others = [name for name in same[row.name] if name != row.distribution]
        if row.status != "ok" or not others or row.distribution == normalised(f"zoo-{row.name}"):
            return row
        return _broken(
            row, f"its entry point name {row.name} is also that of {', '.join(others)}; uninstall one"
        )

    return [kept(row) for row in rows]


def check() -> tuple[Plugin, ...]:
    """The installed plugins, each loaded in a process of its own, its registry file read: "broken" has the reason."""
    return tuple(_checked(plugin) for plugin in discover())


def _checked(plugin: Plugin) -> Plugin:
    if plugin.status != "ok":
        return plugin
    reason = _probed(discover())[plugin.distribution][1]
    if not reason and plugin.registry is not None:
        from zoo.registry.reading import read_registry

        try:
            read_registry(plugin.registry, plugin=plugin.distribution)
        except RegistryError as error:
            reason = str(error)
    return _broken(plugin, reason) if reason else plugin


def families(distribution: str) -> tuple[Family, ...]:
    """The families of one plugin, which is loaded for it. Raises PluginError when it is absent or unusable."""
    found = [plugin for plugin in discover() if plugin.distribution == normalised(distribution)]
    if not found:
        raise PluginError(
            f"the plugin {distribution} is not installed", hint="`zoo plugin list` shows the installed ones"
        )
    [plugin] = found
    if plugin.status == "disabled":
        raise PluginError(
            f"the plugin {plugin.distribution} is left out by ZOO_PLUGINS",
            hint=f"add {plugin.distribution} to ZOO_PLUGINS, or unset it",
        )
    brought, reason = ((), plugin.reason) if plugin.status == "broken" else _loaded(plugin)
    if reason:
        raise PluginError(f"the plugin {plugin.distribution} is broken: {reason}", hint="run `zoo doctor`")
    return brought


def family(distribution: str, name: str) -> Family:
    """One family of one plugin. Raises PluginError as `families` does, and when the plugin has no such family."""
    brought = families(distribution)
    for one in brought:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in brought)
    raise PluginError(f"the plugin {distribution} has no family {name!r}; it brings: {names}")


def all_families() -> tuple[tuple[str, Family], ...]:
    """(distribution, family) for every family of every plugin that loads.

    Each plugin is asked in a process of its own: none of their code has run here before a family is resolved.
    """
    return tuple(
        (distribution, one) for distribution, (brought, _) in _probed(discover()).items() for one in brought
    )


def families_named(name: str) -> tuple[tuple[str, Family], ...]:
    """(distribution, family) for the plugins that bring a family of this name, from the one that registry files say.

    No other plugin is loaded; where no registry file or several say the name, all are asked as by `all_families`.
    """
    from zoo.registry.catalogue import catalogue

    owners = {entry.plugin for entry in catalogue().entries if entry.installed and entry.family == name}
    if len(owners) == 1:
        [owner] = owners
        return ((owner, family(owner, name)),)
    return tuple((plugin, one) for plugin, one in all_families() if one.name == name)


@functools.cache
def _probed(found: tuple[Plugin, ...]) -> dict[str, tuple[tuple[Family, ...], str]]:
    """By distribution, what each usable plugin of `found` brings and "", or nothing and the reason."""
    from zoo.plugin_probe import probe

    usable = [plugin for plugin in found if plugin.status == "ok"]
    answers = probe([(plugin.module, plugin.distribution) for plugin in usable])
    return {
        plugin.distribution: (brought, _line(reason))
        for plugin, (brought, reason) in zip(usable, answers, strict=True)
    }


@functools.cache
def _loaded(plugin: Plugin) -> tuple[tuple[Family, ...], str]:
    """The plugin's families and "", or none and the reason. Cached, so that code that fails does not run again."""
    from zoo.plugin_loading import BrokenError, load

    try:
        return load(plugin.module, plugin.distribution), ""
    except BrokenError as error:
        return (), _line(str(error))


def __getattr__(name: str) -> Any:
    """`hookimpl`, the marker of a plugin's hook, comes with pluggy only when a plugin asks for it."""
    if name == "hookimpl":
        from zoo.plugin_loading import hookimpl

        return hookimpl
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _broken(plugin: Plugin, reason: str) -> Plugin:
    return replace(plugin, status="broken", reason=_line(reason))


def _line(text: str) -> str:
    """A stranger's text as one safe line of at most 400 characters."""
    line = " ".join(safe_text(text).split())
    return line if len(line) <= 400 else line[:397] + "..."
