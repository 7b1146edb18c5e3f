"""zoo cache: what is in the Hugging Face cache, whether it is right, and making room. The network is not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from zoo_cli import human, options, streams, terminal

if TYPE_CHECKING:
    from zoo.registry.entry import Weights
    from zoo.weights.cache import CachedRepo


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    cache = typer.Typer(help="List, check and clean the cache of downloaded files.")
    cache.command("list")(_list)
    cache.command("verify")(_verify)
    cache.command("rm")(_rm)
    cache.command("gc")(_gc)
    app.add_typer(cache, name="cache")


def _list(as_json: options.Json = False, _cache_dir: options.CacheDir = None) -> None:
    """List the cached repos, and what is kept of data to train on.

    The latter is `tokens` of texts and `datasets` of the Hub.

    To a pipe: one repo a line, columns divided by tabs (repo, bytes, files, bytes of interrupted downloads, bytes
    in quarantine, revisions).
    """
    from zoo import paths
    from zoo.datasets import kept
    from zoo.weights import cache

    repos, of_data = cache.scan(), kept.scan()
    found = (*repos, *of_data)
    if as_json:
        terminal.out_json([asdict(repo) for repo in found], indent=2)
    elif terminal.for_reading(streams.results()):
        _show_table(found)
        terminal.out(f"{human.size(sum(repo.bytes for repo in repos))} in {paths.hub_cache()}")
        if of_data:
            terminal.out(f"{human.size(sum(part.bytes for part in of_data))} in {paths.home()}")
    else:
        for repo in found:
            numbers = (repo.bytes, repo.files, repo.interrupted, repo.quarantined)
            cells = (repo.repo, *map(str, numbers), " ".join(repo.revisions))
            terminal.out("\t".join(terminal.one_line(cell) for cell in cells))


def _show_table(found: Sequence[CachedRepo]) -> None:
    rows = []
    for repo in found:
        notes = [
            f"{human.size(size)} {what}; `zoo cache gc` removes it"
            for size, what in ((repo.interrupted, "interrupted"), (repo.quarantined, "in quarantine"))
            if size
        ]
        revisions = " ".join(revision[:8] for revision in repo.revisions)
        rows.append((repo.repo, human.size(repo.bytes), str(repo.files), revisions, ", ".join(notes)))
    terminal.show_table(
        ("repo", "size", "files", "revisions", "note"),
        rows,
        right=("size", "files"),
        wrapped=("note",),
        optional=("revisions", "files"),
    )


def _verify(as_json: options.Json = False, _cache_dir: options.CacheDir = None) -> None:
    """Read every cached file again and check its sha256.

    Wrong files are moved to quarantine and fetched anew when they are next needed. Exits with 1 when one was wrong.
    A file of which no hash is known cannot be checked, and is listed as unknown.
    """
    from zoo.registry.catalogue import catalogue
    from zoo.weights import cache

    checked = []
    for file in cache.verify(entry.weights for entry in catalogue().entries if entry.weights.repo):
        checked.append(file)
        if not as_json:
            state = "wrong" if file.problem else "right" if file.known else "unknown"
            line = f"{state}\t{file.repo}\t{file.revision[:8]}\t{file.file}"
            terminal.out(f"{line}\t{file.problem}" if file.problem else line)
    wrong = sum(bool(file.problem) for file in checked)
    if as_json:
        terminal.out_json([asdict(file) for file in checked], indent=2)
    unknown = sum(not file.known for file in checked)
    more = f", {unknown} without a known hash not checked" if unknown else ""
    terminal.note(f"{len(checked) - unknown} files checked, {wrong} wrong{more}")
    if wrong:
        raise typer.Exit(1)


def _rm(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A registry name; a Hub repo as hf:user/repo, of which hf:user/repo@REVISION is one revision; "
            "tokens or datasets, which are kept of data to train on.",
            show_default=False,
        ),
    ],
    yes: options.Yes = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    """Remove a model's files from the cache, or what is kept of data."""
    from zoo.datasets import kept
    from zoo.weights import cache

    doomed = what if what in kept.FOLDERS else _weights(what)
    name = doomed if isinstance(doomed, str) else f"{doomed.repo}@{doomed.revision[:8]}"
    if not terminal.confirm(f"remove {name} from the cache?", yes=yes):
        terminal.note("nothing was removed")
        return
    freed = kept.remove(what) if doomed in kept.FOLDERS else cache.remove(doomed)
    terminal.out(f"removed {name}: {human.size(freed)} freed")


def _weights(what: str) -> str | Weights:
    """What the words name: a repo with all its revisions, one of them, or the one of a registered model."""
    from zoo.errors import UsageError
    from zoo.registry.catalogue import catalogue
    from zoo.weights import cache

    if what.startswith("hf:"):
        repo, at, revision = what.removeprefix("hf:").partition("@")
        return cache.find(repo, revision) if at else repo
    weights = catalogue().find(what).weights
    if not weights.repo:
        raise UsageError(f"{what} has no files in the cache: its weights do not come from the Hub")
    return weights


def _gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: options.Json = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    """Remove what nobody needs.

    That is what interrupted downloads left, bytes without a name, and the quarantine; of tokens and data sets what
    was never finished or not used for 30 days.
    """
    from zoo.datasets import kept
    from zoo.weights import cache

    found = (*cache.collect(dry_run=dry_run), *kept.collect(dry_run=dry_run))
    if as_json:
        listed = [{"path": str(item.path), "bytes": item.bytes, "reason": item.reason} for item in found]
        terminal.out_json(listed, indent=2)
        return
    for item in found:
        terminal.out(f"{terminal.one_line(str(item.path))}\t{human.size(item.bytes)}\t{item.reason}")
    done = "would be freed" if dry_run else "freed"
    terminal.out(f"{human.size(sum(item.bytes for item in found))} {done}")
    for part in kept.scan():
        terminal.note(
            f"{part.repo} have {human.size(part.bytes)}; `zoo cache rm {part.repo}` removes all of them"
        )
