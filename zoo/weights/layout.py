"""The Hub cache's layout as paths, computed without huggingface_hub, and which names may become part of a path.

models--USER--NAME/refs/REVISION                 holds a commit
models--USER--NAME/snapshots/COMMIT/FILE         a link to
models--USER--NAME/blobs/ETAG                    the bytes; ETAG is a sha256, or git's sha1 of a small file
models--USER--NAME/blobs/ETAG.xxxxxxxx.incomplete  a download that is running, or was interrupted
.locks/models--USER--NAME/ETAG.lock              held while a process downloads ETAG
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from zoo import paths
from zoo.errors import HubError, UsageError
from zoo.text_safety import safe_text

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
INCOMPLETE = ".incomplete"

_REPO = re.compile(r"(?:[A-Za-z0-9_][\w.-]{0,94}/)?[A-Za-z0-9_][\w.-]{0,94}", re.ASCII)
_DRIVE = re.compile(r"[A-Za-z]:")
_MOST_NAME_BYTES = 200


def check_repo(repo: str) -> None:
    """Raises UsageError unless `repo` is a Hub repo id, such as user/name."""
    wrong = "--" in repo or ".." in repo or repo.endswith((".git", "-", ".")) or "./" in repo or "-/" in repo
    if wrong or not _REPO.fullmatch(repo):
        raise UsageError(
            f"{safe_text(repo)!r} is not a Hub repo; user/name is expected, of letters, digits, '-', '_' and '.'"
        )


def unsafe(name: str) -> str:
    """Why `name` may not become a path below a folder, or "" when it may."""
    if not name:
        return "it is empty"
    if len(name.encode(errors="replace")) > _MOST_NAME_BYTES:
        return f"it is longer than {_MOST_NAME_BYTES} bytes"
    if safe_text(name) != name:
        return "it holds control or bidirectional characters"
    if "\\" in name:
        return "it holds a backslash"
    for part in name.split("/"):
        if part in ("", ".", "..") or _DRIVE.match(part):
            return "it is not a plain relative path"
    return ""


def check_name(name: str, repo: str) -> None:
    """Raises HubError, "refused", for a file name that may not become a path."""
    if reason := unsafe(name):
        shown = safe_text(name)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
        raise HubError(f"refused the file name {shown!r} of {repo}: {reason}")


def repo_folder(repo: str) -> Path:
    return paths.hub_cache() / "--".join(["models", *repo.split("/")])


def snapshot_file(repo: str, commit: str, name: str) -> Path:
    """Where the file of that commit is, if it is cached. Checks nothing."""
    return repo_folder(repo) / "snapshots" / commit / name


def reference_file(repo: str, revision: str) -> Path:
    """The small file that holds the commit a branch or tag was last seen at."""
    return repo_folder(repo) / "refs" / revision


def reference_commit(repo: str, revision: str) -> str:
    """The commit a branch or tag was last seen at, as the cache remembers it; a commit is itself; "" when unknown."""
    if COMMIT.fullmatch(revision):
        return revision
    with suppress(OSError, ValueError):
        return reference_file(repo, revision).read_text(encoding="ascii").strip()
    return ""


def lock_file(folder: Path, etag: str) -> Path:
    """The file the Hub's client locks while it downloads the blob `etag` of a repo folder."""
    return folder.parent / ".locks" / folder.name / f"{etag}.lock"


def repo_folders() -> Iterator[tuple[str, Path]]:
    """The cached model repos: (repo, folder). Links and foreign names are passed over."""
    cache = paths.hub_cache()
    for folder in sorted(cache.iterdir()) if cache.is_dir() else ():
        name = folder.name.removeprefix("models--")
        if name != folder.name and folder.is_dir() and not folder.is_symlink():
            yield name.replace("--", "/", 1), folder


def snapshot_files(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """The files of a repo folder's snapshots: (commit, name, path), dangling links included."""
    for snapshot in sorted((folder / "snapshots").glob("*")):
        if COMMIT.fullmatch(snapshot.name) and not snapshot.is_symlink():
            for path in sorted(snapshot.rglob("*")):
                if path.is_symlink() or path.is_file():
                    yield snapshot.name, path.relative_to(snapshot).as_posix(), path


def etag_of(path: Path) -> str:
    """The etag a snapshot file's blob is named by; "" when the file is no link to a blob of that shape."""
    if not path.is_symlink():
        return ""
    name = path.readlink().name
    return name if SHA256.fullmatch(name) or COMMIT.fullmatch(name) else ""


def incomplete_files(folder: Path, etag: str = "*") -> list[Path]:
    return sorted((folder / "blobs").glob(f"{etag}.*{INCOMPLETE}"))


def being_downloaded(incomplete: Path) -> bool:
    """Whether a living process holds the client's lock of that blob."""
    from filelock import FileLock, Timeout

    lock = lock_file(incomplete.parent.parent, incomplete.name.partition(".")[0])
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def remove_interrupted(folder: Path, etag: str = "*") -> None:
    """Remove what is left of downloads that no living process goes on with, as far as the disk lets."""
    for path in incomplete_files(folder, etag):
        with suppress(OSError):
            if not being_downloaded(path):
                path.unlink()


def free_bytes(folder: Path) -> int:
    """Free bytes of the file system that `folder` is on, or will be made on."""
    for place in (folder, *folder.parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return 0
