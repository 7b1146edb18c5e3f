"""Pinned files from the Hub into the standard cache, each checked before anyone uses it.

huggingface_hub does the downloading, under `zoo.weights.guard`; it is imported only when something is missing. A
file that is in the cache and recorded as verified costs a look at its size and time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from zoo import paths
from zoo.errors import IntegrityError, NoWeightsError, OfflineError, UsageError
from zoo.registry.entry import File, Weights
from zoo.weights import download, layout, network, records
from zoo.weights.listing import listing
from zoo.weights.progress import Progress, Report

__all__ = ["Planned", "Progress", "Report", "fetch", "free_bytes", "listing", "plan"]


@dataclass(frozen=True)
class Planned:
    """A file that `fetch` would bring; cached: it is here already."""

    file: File
    cached: bool


def fetch(
    weights: Weights,
    *,
    offline: bool = False,
    report: Report | None = None,
    only: Collection[str] | None = None,
    name: str = "",
) -> dict[str, Path]:
    """The files of pinned Hub weights by name, downloaded where they are missing, all of them verified.

    offline: no request is made, as with HF_HUB_OFFLINE=1. only: just these of the files. name: the model as the
    person wrote it, for the hints of errors.
    Raises IntegrityError when bytes are not the pinned ones twice, HubError (OfflineError) when the Hub refuses,
    fails or may not be asked, DiskSpaceError before the first byte when there is no room.
    """
    wanted = _wanted(weights, only)
    try:
        _bring(
            weights, wanted, report or (lambda _: None), offline=offline or network.is_offline(), name=name
        )
    except OSError as error:
        raise records.storage_error(error) from error
    return {file.name: layout.snapshot_file(weights.repo, weights.revision, file.name) for file in wanted}


def _bring(weights: Weights, wanted: list[File], tell: Report, *, offline: bool, name: str) -> None:
    name = name or f"hf:{weights.repo}@{weights.revision}"
    missing = [file for file in wanted if not _is_here(weights, file, tell, offline=offline, name=name)]
    if missing and offline:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise OfflineError(
            f"{missing[0].name}{more} of {weights.repo} is not in the cache and the network may not be used",
            hint=f"with the network, run `zoo pull {name}`",
        )
    if missing:
        download.download(weights, missing, tell)


def plan(weights: Weights, *, offline: bool = False) -> tuple[Planned, ...]:
    """Which files `fetch` would bring. A size that nobody knows yet is asked of the Hub, unless offline."""
    planned = []
    for file in _wanted(weights, None):
        path = layout.snapshot_file(weights.repo, weights.revision, file.name)
        cached = path.is_file()
        planned.append(Planned(replace(file, bytes=path.stat().st_size) if cached else file, cached))
    unknown = [item.file for item in planned if item.file.bytes is None]
    if not unknown or offline or network.is_offline():
        return tuple(planned)
    sizes = download.sizes(weights, unknown)
    return tuple(
        replace(item, file=replace(item.file, bytes=sizes.get(item.file.name, item.file.bytes)))
        for item in planned
    )


def free_bytes() -> int:
    """Free bytes where the cache is."""
    return layout.free_bytes(paths.hub_cache())


def _wanted(weights: Weights, only: Collection[str] | None) -> list[File]:
    """The files asked for, with everything that becomes a path checked: registry files are strangers' words too."""
    if not weights.repo:
        raise NoWeightsError("there is no Hub repo to fetch from")
    layout.check_repo(weights.repo)
    if not layout.COMMIT.fullmatch(weights.revision):
        raise UsageError(f"{weights.repo}: {weights.revision!r} is not a full commit of 40 hex digits")
    for file in weights.files:
        layout.check_name(file.name, weights.repo)
    known = {file.name for file in weights.files}
    if unknown := sorted(set(only or ()) - known):
        raise UsageError(f"{weights.repo} has no file {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return [file for file in weights.files if only is None or file.name in only]


def _is_here(weights: Weights, file: File, tell: Report, *, offline: bool, name: str) -> bool:
    """Whether the file is in the cache and right. A wrong one is quarantined, and then missing."""
    path = layout.snapshot_file(weights.repo, weights.revision, file.name)
    if not path.is_file():
        return False
    locked = records.locked_hashes().get(records.key(weights.repo, weights.revision, file.name), "")
    if (file.sha256 or locked) and records.is_verified(path, file.sha256, locked):
        return True
    try:
        with download.alone(weights, file, tell):
            if path.is_file():
                download.verify(weights, file, tell)
    except IntegrityError as error:
        if path.is_file():  # it could not be taken out of a cache that may only be read
            error.hint = f"delete {path}, or let HF_HUB_CACHE name a folder you may write"
            raise
        if offline:
            error.hint = f"with the network, run `zoo pull {name}`"
            raise
        tell(Progress(file.name, 0, file.bytes, "the cached bytes were wrong; downloading them again"))
    return path.is_file()
