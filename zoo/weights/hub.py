"""Pinned files from the Hub into the standard cache, each checked before anyone uses it.

huggingface_hub does the downloading, under `zoo.weights.guard`; it is imported only when something is missing. A
file that is in the cache and recorded as verified costs a look at its size and time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo import paths
from zoo.errors import (
    DiskSpaceError,
    HubError,
    IntegrityError,
    NoWeightsError,
    OfflineError,
    UsageError,
)
from zoo.registry.entry import File, Weights
from zoo.weights import layout, network, records
from zoo.weights.listing import listing

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

    from zoo.weights.guard import Guard

__all__ = ["Planned", "Progress", "Report", "fetch", "free_bytes", "listing", "plan"]


@dataclass(frozen=True)
class Progress:
    """How far one file is, in bytes. total: None when the Hub does not say. note: what is waited for, or ""."""

    file: str
    done: int
    total: int | None
    note: str = ""


Report = Callable[[Progress], None]


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
        raise records.storage_error(error, "HF_HUB_CACHE") from error
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
        _download(weights, missing, tell)


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
    guard = network.load_guard()
    with guard.guarding(guard.Guard(weights.repo, network.endpoint(), weights.revision)) as asked:
        sizes = {file.name: _metadata(asked, file).size for file in unknown}
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
        with _alone(weights, file, tell):
            if path.is_file():
                _verify(weights, file, tell)
    except IntegrityError as error:
        if offline:
            error.hint = f"with the network, run `zoo pull {name}`"
            raise
        tell(Progress(file.name, 0, file.bytes, "the cached bytes were wrong; downloading them again"))
    return path.is_file()


def _verify(weights: Weights, file: File, tell: Report) -> None:
    path = layout.snapshot_file(weights.repo, weights.revision, file.name)
    size = path.stat().st_size
    tell(Progress(file.name, size, size, "checking sha256"))
    records.verify(
        path,
        repo=weights.repo,
        commit=weights.revision,
        name=file.name,
        pin=file.sha256,
        size=file.bytes,
    )


def _alone(weights: Weights, file: File, tell: Report) -> Any:
    def waiting() -> None:
        tell(Progress(file.name, 0, file.bytes, "another process is fetching it"))

    return records.only_process(records.key(weights.repo, weights.revision, file.name), waiting)


def _download(weights: Weights, files: list[File], tell: Report) -> None:
    guard = network.load_guard()
    with guard.guarding(guard.Guard(weights.repo, network.endpoint(), weights.revision)) as asked:
        asked.notice = lambda line: tell(Progress(files[0].name, 0, files[0].bytes, line))
        answers = [_metadata(asked, file) for file in files]
        _check_room(weights, files, answers)
        for file, answer in zip(files, answers, strict=True):
            size = answer.size if answer.size is not None else file.bytes
            asked.notice = lambda line, file=file, size=size: tell(Progress(file.name, 0, size, line))
            with _alone(weights, file, tell):
                _download_verified(asked, weights, file, answer, tell)
            tell(Progress(file.name, size or 0, size))


def _metadata(guard: Guard, file: File) -> HfFileMetadata:
    """What the Hub says about a file before its bytes: the size and the etag, compared with the pins."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    from zoo.weights.guard import patiently

    guard.start(_label(guard, file))
    address = hf_hub_url(guard.repo, file.name, revision=guard.commit, endpoint=guard.endpoint)
    timeout = constants.HF_HUB_ETAG_TIMEOUT
    answer = patiently(guard, lambda: get_hf_file_metadata(address, timeout=timeout, endpoint=guard.endpoint))
    if answer.commit_hash is None or answer.etag is None:
        raise HubError(
            f"the answer for {guard.what} does not name its commit and ETag", hint="is HF_ENDPOINT a Hub?"
        )
    if file.bytes is not None and answer.size not in (None, file.bytes):
        raise IntegrityError(f"{guard.what}: expected {file.bytes} bytes, the Hub has {answer.size}")
    if file.sha256 and layout.SHA256.fullmatch(answer.etag) and answer.etag != file.sha256:
        raise IntegrityError(f"{guard.what}: expected {file.sha256}, the Hub has {answer.etag}")
    return answer


def _label(guard: Guard, file: File) -> str:
    return f"{file.name} of {guard.repo}@{guard.commit[:8]}"


def _check_room(weights: Weights, files: list[File], answers: list[HfFileMetadata]) -> None:
    """Raise DiskSpaceError, before the first byte, when the missing files do not fit on the disk."""
    folder = layout.repo_folder(weights.repo)
    missing = [
        (file, answer)
        for file, answer in zip(files, answers, strict=True)
        if not (folder / "blobs" / str(answer.etag)).is_file()
    ]
    needed = sum(answer.size or file.bytes or 0 for file, answer in missing)
    if needed > free_bytes():
        for path in layout.incomplete_files(folder):
            if not layout.being_downloaded(path):
                path.unlink(missing_ok=True)
    if needed > (free := free_bytes()):
        raise DiskSpaceError(
            f"{weights.repo} needs {_shown(needed)} and {_shown(free)} are free in {paths.hub_cache()}",
            hint="make room (`zoo cache gc`), or let HF_HUB_CACHE name a folder with room",
        )


def _download_verified(
    guard: Guard, weights: Weights, file: File, answer: HfFileMetadata, tell: Report
) -> None:
    """Download and verify; wrong bytes are quarantined and asked for once more, then it is an IntegrityError."""
    path = layout.snapshot_file(weights.repo, weights.revision, file.name)
    for last in (False, True):
        try:
            if not path.is_file():
                _ask_client(guard, file, answer, tell)
            return _verify(weights, file, tell)
        except IntegrityError as error:
            if last:
                error.hint = "nothing wrong was used; try again later, or another network"
                raise
            tell(Progress(file.name, 0, answer.size, "the bytes were wrong; asking for them once more"))
    return None


def _ask_client(guard: Guard, file: File, answer: HfFileMetadata, tell: Report) -> None:
    """Let huggingface_hub download one file of the pinned commit, resuming what an earlier run left."""
    from huggingface_hub import hf_hub_download

    from zoo.weights.guard import patiently
    from zoo.weights.partial import Partial

    meter = _Meter(file.name, answer.size, tell)
    unfinished = Partial(layout.repo_folder(guard.repo), str(answer.etag), answer.size, meter.arrived)
    guard.start(_label(guard, file), unfinished)

    def ask() -> None:
        unfinished.begin()
        try:
            hf_hub_download(
                guard.repo,
                file.name,
                revision=guard.commit,
                cache_dir=paths.hub_cache(),
                endpoint=guard.endpoint,
                tqdm_class=cast(Any, meter.begin),
            )
        except OSError as error:
            if type(error) is OSError and error.errno is None:  # the client's own check of the length
                said = f"{guard.what}: expected {answer.size} bytes, got {meter.done}"
                raise IntegrityError(said) from error
            raise

    try:
        patiently(guard, ask)
    except IntegrityError:
        unfinished.clear()
        raise
    unfinished.clear()


class _Meter:
    """Tells how many bytes are here, and is what the Hub's client takes for its progress bar.

    The client updates its bar in steps of 10 MB, just before it writes: there a body longer than announced ends.
    """

    def __init__(self, file: str, size: int | None, tell: Report) -> None:
        self._file, self._size, self._tell = file, size, tell
        self.done = 0

    def arrived(self, count: int) -> None:
        self._tell(Progress(self._file, count if self._size is None else min(count, self._size), self._size))

    def begin(self, *, initial: int = 0, **_: Any) -> _Meter:
        self.done = initial
        return self

    def update(self, count: int) -> None:
        self.done += count
        if self._size is not None and self.done > self._size:
            raise IntegrityError(f"{self._file}: expected {self._size} bytes, the Hub goes on sending")

    def __enter__(self) -> _Meter:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _shown(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
