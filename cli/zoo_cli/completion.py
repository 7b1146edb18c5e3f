"""Shell completion of MODEL and of what commands filter by, from the registry files alone."""

from __future__ import annotations


def models(incomplete: str) -> list[tuple[str, str]]:
    """Names and aliases that begin with what was typed, each with its summary."""
    from zoo.registry.catalogue import catalogue

    known = catalogue()
    summaries = {name: entry.summary for entry in known.entries for name in (entry.name, *entry.aliases)}
    return [(name, summaries.get(name, "")) for name in known.names() if name.startswith(incomplete)]


def families(incomplete: str) -> list[str]:
    return _distinct("family", incomplete)


def tasks(incomplete: str) -> list[str]:
    return _distinct("task", incomplete)


def plugins(incomplete: str) -> list[str]:
    return _distinct("plugin", incomplete)


def _distinct(field: str, incomplete: str) -> list[str]:
    from zoo.registry.catalogue import catalogue

    values = {str(getattr(entry, field)) for entry in catalogue().entries}
    return sorted(value for value in values if value.startswith(incomplete))
