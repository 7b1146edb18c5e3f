"""What is in the Hub cache, whether it is right, and making room; all of it offline, without huggingface_hub.

Nothing is ever deleted outside the cache and the zoo's own folder: links are removed, never followed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo import paths
from zoo.errors import IntegrityError, UsageError, WeightsError
from zoo.registry.entry import Weights
from zoo.text_safety import safe_text
from zoo.weights import layout, records

_LEAST_DIGITS = 7  # of a commit, as git abbreviates it


@dataclass(frozen=True)
class CachedRepo:
    """A repo in the cache. bytes and files: what its snapshots hold. last_used: seconds since 1970.

    interrupted: bytes of downloads that did not finish. quarantined: bytes that were not the expected ones.
    """

    repo: str
    revisions: tuple[str, ...]
    files: int
    bytes: int
    last_used: float
    interrupted: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class Checked:
    """One file after it was read again. problem: "" when it is right; otherwise it is no longer in the cache.

    known: whether there is a hash to compare it with; a file without one was not read.
    """

    repo: str
    revision: str
    file: str
    problem: str = ""
    known: bool = True


@dataclass(frozen=True)
class Garbage:
    """A file nobody needs. reason: why not."""

    path: Path
    bytes: int
    reason: str


def scan() -> tuple[CachedRepo, ...]:
    """The cached model repos by name, with those of which only quarantined bytes are left."""
    quarantined: dict[str, int] = {}
    for path in records.quarantined():
        quarantined[path.parent.name] = quarantined.get(path.parent.name, 0) + path.stat().st_size
    found = []
    for repo, folder in layout.repo_folders():
        revisions, blobs, files, used = [], dict[Path, int](), 0, 0.0
        for commit, _, path in layout.snapshot_files(folder):
            if path.is_file():
                state = path.stat()
                revisions.append(commit)
                blobs[path.resolve()] = state.st_size
                files, used = files + 1, max(used, state.st_atime, state.st_mtime)
        interrupted = sum(path.stat().st_size for path in _distinct(layout.incomplete_files(folder)))
        aside = quarantined.pop(folder.name, 0)
        commits = tuple(dict.fromkeys(revisions))
        found.append(CachedRepo(repo, commits, files, sum(blobs.values()), used, interrupted, aside))
    for name, size in quarantined.items():
        repo = name.removeprefix("models--").replace("--", "/", 1)
        found.append(CachedRepo(repo, (), 0, 0, 0.0, quarantined=size))
    return tuple(sorted(found, key=lambda item: item.repo))


def verify(pinned: Iterable[Weights] = ()) -> Iterator[Checked]:
    """Read every file again whose hash is known, and say of each whether it is right, as they are read.

    Known are the hashes of `pinned` (the registry's weights), of first downloads, of earlier checks, and those that
    blobs are named by. A wrong file is quarantined.
    """
    pins = {(w.repo, w.revision, file.name): file for w in pinned for file in w.files}
    locked = records.locked_hashes()
    for repo, folder in layout.repo_folders():
        for commit, name, path in layout.snapshot_files(folder):
            pin = pins.get((repo, commit, name))
            key = records.key(repo, commit, name)
            expected = (pin and pin.sha256) or locked.get(key) or records.recorded(path)
            if not expected and path.is_file() and not layout.etag_of(path):
                yield Checked(repo, commit, name, known=False)
                continue
            with records.only_process(key, waiting=str):
                problem = _problem(path, repo, commit, name, expected)
            yield Checked(repo, commit, name, problem)


def _problem(path: Path, repo: str, commit: str, name: str, expected: str) -> str:
    if not path.is_file():
        return "its bytes are gone from the cache"
    try:
        records.verify(path, repo=repo, commit=commit, name=name, pin=expected, again=True)
    except IntegrityError as error:
        return str(error)
    return ""


def find(repo: str, revision: str) -> Weights:
    """The revision of a cached repo, without its files.

    revision: a commit or its first digits (7 at least), a branch or a tag.
    Raises UsageError when it is not in the cache, or when several begin with those digits.
    """
    layout.check_repo(repo)
    if reason := layout.unsafe(revision):
        raise UsageError(f"{safe_text(revision)!r} is not a revision: {reason}")
    cached = dict.fromkeys(commit for commit, _, _ in layout.snapshot_files(layout.repo_folder(repo)))
    named = layout.reference_commit(repo, revision)
    begun = [commit for commit in cached if len(revision) >= _LEAST_DIGITS and commit.startswith(revision)]
    found = [named] if named in cached else begun
    if len(found) > 1:
        raise UsageError(f"{repo} has {len(found)} revisions in the cache that begin with {revision}")
    if not found:
        raise UsageError(f"{repo}@{revision} is not in the cache", hint="`zoo cache list` shows what is")
    return Weights("original", repo=repo, revision=found[0])


def remove(what: str | Weights) -> int:
    """Remove a repo (user/name) from the cache, or only the revision of some weights; returns the bytes freed.

    The hashes of first downloads stay known. Raises UsageError when it is not in the cache, WeightsError when it is
    being downloaded or its folder is not a plain one inside the cache.
    """
    repo = what if isinstance(what, str) else what.repo
    layout.check_repo(repo)
    folder = layout.repo_folder(repo)
    commits = {commit for commit, _, _ in layout.snapshot_files(folder)}
    doomed = commits if isinstance(what, str) else {what.revision} & commits
    if not folder.is_dir() or (not doomed and not isinstance(what, str)):
        raise UsageError(f"{repo} is not in the cache", hint="`zoo cache list` shows what is")
    if not _is_plain(folder):
        raise WeightsError(f"{folder} leads out of the cache; remove it by hand")
    if any(layout.being_downloaded(path) for path in layout.incomplete_files(folder)):
        raise WeightsError(f"{repo} is being downloaded by another process", hint="try again when it is done")
    before = _bytes_in(folder)
    try:
        if doomed == commits:
            shutil.rmtree(folder)
            shutil.rmtree(folder.parent / ".locks" / folder.name, ignore_errors=True)
        else:
            _remove_revisions(folder, doomed)
    except OSError as error:
        raise records.storage_error(error) from error
    records.forget_absent()
    return before - _bytes_in(folder)


def _remove_revisions(folder: Path, doomed: set[str]) -> None:
    for commit in doomed:
        shutil.rmtree(folder / "snapshots" / commit)
    for reference in (folder / "refs").rglob("*"):
        if reference.is_file() and reference.read_text(encoding="utf-8", errors="replace").strip() in doomed:
            reference.unlink()
    for item in _unneeded_blobs(folder):
        item.path.unlink()


def collect(*, dry_run: bool = False) -> tuple[Garbage, ...]:
    """Remove interrupted downloads, blobs and links that lead nowhere, and the quarantine; returns what that was.

    What a living process is downloading stays. dry_run: only say what would go.
    """
    found = [
        Garbage(path, path.stat().st_size, "its bytes were not the expected ones")
        for path in records.quarantined()
    ]
    for _, folder in layout.repo_folders():
        if _is_plain(folder):
            found += _interrupted(folder)
            found += _unneeded_blobs(folder)
            found += [
                Garbage(path, 0, "it leads nowhere")
                for _, _, path in layout.snapshot_files(folder)
                if not path.is_file()
            ]
    if not dry_run:
        try:
            for item in found:
                item.path.unlink(missing_ok=True)
        except OSError as error:
            raise records.storage_error(error) from error
        records.forget_absent()
    return tuple(found)


def _interrupted(folder: Path) -> Iterator[Garbage]:
    counted: set[int] = set()
    for path in layout.incomplete_files(folder):
        if not layout.being_downloaded(path):
            state = path.lstat()
            yield Garbage(
                path, 0 if state.st_ino in counted else state.st_size, "its download was interrupted"
            )
            counted.add(state.st_ino)


def _unneeded_blobs(folder: Path) -> Iterator[Garbage]:
    needed = {path.resolve() for _, _, path in layout.snapshot_files(folder)}
    for path in sorted((folder / "blobs").glob("*")):
        plain = path.is_file() and not path.is_symlink() and not path.name.endswith(layout.INCOMPLETE)
        if plain and path.resolve() not in needed and not layout.being_downloaded(path):
            yield Garbage(path, path.stat().st_size, "no snapshot points at it")


def _is_plain(folder: Path) -> bool:
    """Whether a repo folder and what is deleted from lie inside the cache, with no link on the way."""
    cache = paths.hub_cache().resolve()
    parts = [folder, *(folder / part for part in ("blobs", "snapshots", "refs"))]
    return all(part.resolve() == cache / part.relative_to(folder.parent) for part in parts)


def _bytes_in(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in _distinct(files))


def _distinct(found: Iterable[Path]) -> Iterator[Path]:
    """Without second names of the same file."""
    seen: set[int] = set()
    for path in found:
        if (inode := path.stat().st_ino) not in seen:
            seen.add(inode)
            yield path
