"""Every known model: those of the installed plugins, then those the index knows of plugins that are not installed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from zoo import plugins
from zoo.errors import AmbiguousModelError, RegistryError, UnknownModelError
from zoo.registry.entry import ModelEntry
from zoo.registry.indexed import INDEX, IndexedPlugin, read_index


@dataclass(frozen=True)
class Catalogue:
    """entries: in the order of their files, which is from small to large. problems: one for each file left out."""

    entries: tuple[ModelEntry, ...]
    problems: tuple[RegistryError, ...] = ()

    def find(self, name: str) -> ModelEntry:
        """The model of this name, alias, or plugin/name; upper case does not matter.

        A model of an installed plugin goes before one that only the index knows. Raises AmbiguousModelError when two
        plugins have it, UnknownModelError otherwise, with the nearest names.
        """
        wanted = name.lower()
        found = [entry for entry in self.entries if wanted in _names(entry)]
        found = [entry for entry in found if entry.installed] or found
        if not found:
            raise self._unknown(name)
        if len(found) > 1:
            owners = " and ".join(entry.plugin for entry in found)
            ways = " or ".join(entry.qualified for entry in found)
            near = tuple(entry.qualified for entry in found)
            raise AmbiguousModelError(
                f"{name} is a model of {owners}; allowed: {ways}", near=near, hint=f"say {ways}"
            )
        return found[0]

    def match(
        self,
        pattern: str = "*",
        *,
        task: str = "",
        family: str = "",
        plugin: str = "",
        installed: bool = False,
    ) -> list[ModelEntry]:
        """The models one of whose names (see `find`) fits a pattern with *, ? and [...].

        task, family, plugin: only models with exactly this one. installed: only those of installed plugins.
        """
        wanted = pattern.lower()
        return [
            entry
            for entry in self.entries
            if (not task or entry.task == task)
            and (not family or entry.family == family)
            and (not plugin or entry.plugin == plugin)
            and (not installed or entry.installed)
            and any(fnmatchcase(name, wanted) for name in _names(entry))
        ]

    def names(self) -> list[str]:
        """What may be typed for a model: names, then aliases; plugin/name where two plugins have the name."""
        owners: dict[str, set[str]] = {}
        for entry in self.entries:
            for name in (entry.name, *entry.aliases):
                owners.setdefault(name, set()).add(entry.plugin)
        plain = [entry.name if len(owners[entry.name]) == 1 else entry.qualified for entry in self.entries]
        aliases = [alias for entry in self.entries for alias in entry.aliases if len(owners[alias]) == 1]
        return [*plain, *aliases]

    def _unknown(self, name: str) -> UnknownModelError:
        import difflib

        names = self.names()
        near = tuple(difflib.get_close_matches(name.lower(), names, n=3))
        if self.problems:
            hint = "a registry file cannot be read and its models are missing: run `zoo doctor`"
        elif "/" in name:
            hint = f"for a repo on the Hub write hf:{name}"
        else:
            hint = "`zoo list` shows every model"
        suggestion = f"; did you mean {' or '.join(near)}?" if near else ""
        return UnknownModelError(f"there is no model {name!r}{suggestion}", near=near, hint=hint)


def _names(entry: ModelEntry) -> tuple[str, ...]:
    own = (entry.name, *entry.aliases)
    return (*own, *(f"{entry.plugin}/{name}" for name in own))


@functools.cache
def catalogue() -> Catalogue:
    """The catalogue of this environment, read once a process. No plugin code runs."""
    return build(plugins.discover())


def build(installed: Sequence[plugins.Plugin], index: Path = INDEX) -> Catalogue:
    """The catalogue of these plugins and of what else `index` knows.

    The models of a plugin that is disabled or broken are taken from the index, as not installed.
    """
    entries: list[ModelEntry] = []
    problems: list[RegistryError] = []
    indexed: dict[str, IndexedPlugin] = {}
    try:
        indexed = read_index(index)
    except RegistryError as error:
        problems.append(error)
    for plugin in installed:
        if plugin.status == "ok":
            known = indexed.pop(plugin.distribution, None)
            try:
                entries += _of(plugin, known)
            except RegistryError as error:
                problems.append(error)
    entries += [entry for other in indexed.values() for entry in other.entries()]
    return Catalogue(tuple(entries), tuple(problems))


def _of(plugin: plugins.Plugin, known: IndexedPlugin | None) -> Sequence[ModelEntry]:
    """The models of an installed plugin. A registry file that the index has read already is not parsed again."""
    if plugin.registry is None:
        return ()
    if known is not None and known.is_of(plugin.registry):
        return known.entries(package=plugin.package, installed=True)
    from zoo.registry.reading import read_registry

    return read_registry(plugin.registry, plugin=plugin.distribution, package=plugin.package, installed=True)
