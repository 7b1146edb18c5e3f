"""Missing files brought by the Hub's own client, under the guard, and verified before they count as here.

Every file is asked about before the first byte of any: so a wrong pin, a refusal or a small disk costs no download.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast

from zoo import paths
from zoo.errors import DiskSpaceError, HubError, IntegrityError
from zoo.registry.entry import File, Weights
from zoo.weights import layout, network, records
from zoo.weights.progress import Progress, Report

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

    from zoo.weights.guard import Guard


def download(weights: Weights, files: list[File], tell: Report) -> None:
    """Download and verify files that are not here. Raises HubError, IntegrityError, DiskSpaceError."""
    guard = network.load_guard()
    with guard.guarding(guard.Guard(weights.repo, network.endpoint(), weights.revision)) as asked:
        asked.notice = lambda line: tell(Progress(files[0].name, 0, files[0].bytes, line))
        answers = [_metadata(asked, file) for file in files]
        _check_room(weights, files, answers)
        for file, answer in zip(files, answers, strict=True):
            size = answer.size if answer.size is not None else file.bytes
            asked.notice = lambda line, file=file, size=size: tell(Progress(file.name, 0, size, line))
            with alone(weights, file, tell):
                _download_verified(asked, weights, file, answer, tell)
            tell(Progress(file.name, size or 0, size))


def sizes(weights: Weights, files: list[File]) -> dict[str, int | None]:
    """The files' sizes by name, as the Hub says them. Raises HubError."""
    guard = network.load_guard()
    with guard.guarding(guard.Guard(weights.repo, network.endpoint(), weights.revision)) as asked:
        return {file.name: _metadata(asked, file).size for file in files}


def verify(weights: Weights, file: File, tell: Report) -> None:
    """Check a file that is here. Raises IntegrityError; then it is here no longer."""
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


def alone(weights: Weights, file: File, tell: Report) -> AbstractContextManager[None]:
    """While it is entered, no other process of the zoo fetches or checks this file."""

    def waiting() -> None:
        tell(Progress(file.name, 0, file.bytes, "another process is fetching it"))

    return records.only_process(records.key(weights.repo, weights.revision, file.name), waiting)


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
    if needed > layout.free_bytes(paths.hub_cache()):
        layout.remove_interrupted(folder)
    if needed > (free := layout.free_bytes(paths.hub_cache())):
        raise DiskSpaceError(
            f"{weights.repo} needs {needed:,} bytes and {free:,} are free in {paths.hub_cache()}",
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
            return verify(weights, file, tell)
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

    folder, etag = layout.repo_folder(guard.repo), str(answer.etag)
    meter = _Meter(file.name, answer.size, tell)
    unfinished = Partial(folder, etag, answer.size, meter.arrived)
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
        layout.remove_interrupted(folder, etag)  # it began with the wrong bytes
        raise
    layout.remove_interrupted(folder, etag)


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
