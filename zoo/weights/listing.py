"""What a Hub repo holds at a revision: the commit, and its files with sizes and hashes, as a `Weights` value."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from zoo.errors import HubError, OfflineError, UsageError
from zoo.registry.entry import File, Weights
from zoo.weights import layout, network, records

if TYPE_CHECKING:
    from zoo.weights.guard import Guard

_MOST_BYTES = 32 << 20  # of one answer
_MOST_FILES = 20_000
_TIMEOUT = 10.0  # seconds without a byte


def listing(repo: str, revision: str = "", *, offline: bool = False) -> Weights:
    """The files of a Hub repo at a branch, tag or commit (main when empty), with status "original".

    sha256 is known for large files; the others are locked at their first download. Offline, it is what the cache
    holds of that revision. Raises UsageError for a repo or revision that cannot be one, HubError (OfflineError).
    """
    layout.check_repo(repo)
    revision = revision or "main"
    if reason := layout.unsafe(revision):
        raise UsageError(f"{revision!r} is not a revision: {reason}")
    if offline or network.is_offline():
        return _cached(repo, revision)
    guard = network.load_guard()
    with guard.guarding(guard.Guard(repo, network.endpoint(), revision=revision)) as asked:
        commit = revision if layout.COMMIT.fullmatch(revision) else _resolve(asked)
        asked.commit = commit
        return Weights("original", repo=repo, revision=commit, files=tuple(_files(asked)))


def _resolve(guard: Guard) -> str:
    """The commit of a branch or tag, which the cache then remembers for offline use."""
    guard.start(f"revision {guard.revision} of {guard.repo}")
    address = f"{guard.endpoint}/api/models/{guard.repo}/revision/{quote(guard.revision, safe='')}"
    said, _ = ask(guard, address)
    commit = said.get("sha") if isinstance(said, dict) else None
    if not isinstance(commit, str) or not layout.COMMIT.fullmatch(commit):
        raise HubError(
            f"refused {guard.what}: the Hub calls its commit {guard.shown(str(commit))!r}, not 40 hex digits"
        )
    with suppress(OSError):  # a read-only cache is only not found again offline
        _remember(layout.reference_file(guard.repo, guard.revision), commit)
    return commit


def _files(guard: Guard) -> Iterator[File]:
    guard.start(f"revision {guard.revision} of {guard.repo}")
    address: str | None = (
        f"{guard.endpoint}/api/models/{guard.repo}/tree/{guard.commit}?recursive=true&expand=false"
    )
    seen: set[str] = set()
    while address is not None:
        page, address = ask(guard, address)
        if not isinstance(page, list):
            raise HubError(f"the Hub's listing of {guard.repo} is no list")
        for entry in page:
            if isinstance(entry, dict) and entry.get("type") == "file":
                file = _file(guard, entry)
                if file.name in seen:
                    raise HubError(f"refused the listing of {guard.repo}: it names {file.name} twice")
                seen.add(file.name)
                yield file
        if len(seen) > _MOST_FILES:
            raise HubError(f"{guard.repo} has more than {_MOST_FILES} files")


def _file(guard: Guard, entry: dict[str, Any]) -> File:
    name, size, large = entry.get("path"), entry.get("size"), entry.get("lfs")
    if not isinstance(name, str):
        raise HubError(f"refused the listing of {guard.repo}: a file has no name")
    layout.check_name(name, guard.repo)
    if not isinstance(size, int) or size < 0:
        raise HubError(f"refused the listing of {guard.repo}: {name} has no size")
    if large is None:
        return File(name, bytes=size)
    sha256 = large.get("oid") if isinstance(large, dict) else None
    if not isinstance(sha256, str) or not layout.SHA256.fullmatch(sha256):
        raise HubError(f"refused the listing of {guard.repo}: {name} has no sha256")
    return File(name, sha256=sha256, bytes=size)


def ask(guard: Guard, address: str) -> tuple[Any, str | None]:
    """The JSON at an address of the Hub, and the address of its next page."""
    import httpx2
    from huggingface_hub import get_session
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # exported lazily

    from zoo.weights.guard import patiently

    def read() -> tuple[bytes, str | None]:
        request = get_session().stream("GET", address, headers=build_hf_headers(), timeout=_TIMEOUT)
        with request as response:
            if response.status_code >= 400:
                raise HfHubHTTPError(str(response.status_code), response=response)
            body = bytearray()
            for chunk in response.iter_bytes(1 << 16):
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise HubError(f"the Hub's answer for {guard.what} is larger than {_MOST_BYTES} bytes")
            return bytes(body), response.links.get("next", {}).get("url")

    body, following = patiently(guard, read)
    if following is not None and not guard.is_hub(httpx2.URL(following)):
        raise HubError(f"refused the listing of {guard.repo}: its next page is on another host")
    try:
        return json.loads(body), following
    except (ValueError, RecursionError):
        raise HubError(f"the answer for {guard.what} is not JSON; is HF_ENDPOINT a Hub?") from None


def _cached(repo: str, revision: str) -> Weights:
    """What the cache holds of the revision. Raises OfflineError when that is nothing."""
    commit = layout.reference_commit(repo, revision)
    locked = records.locked_hashes()
    files = []
    for at, name, path in layout.snapshot_files(layout.repo_folder(repo)):
        if at == commit and path.is_file() and not layout.unsafe(name):
            etag = layout.etag_of(path)
            sha256 = locked.get(
                records.key(repo, commit, name), etag if layout.SHA256.fullmatch(etag) else ""
            )
            files.append(File(name, sha256=sha256, bytes=path.stat().st_size))
    if not files:
        raise OfflineError(
            f"{repo}@{revision} is not in the cache and the network may not be used",
            hint=f"with the network, run `zoo pull hf:{repo}@{revision}`",
        )
    return Weights("original", repo=repo, revision=commit, files=tuple(files))


def _remember(path: Path, commit: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(commit)
    Path(temporary).replace(path)
