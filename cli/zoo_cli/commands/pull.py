"""zoo pull: download a model's files and check them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from zoo_cli import human, options, progress, streams, terminal

if TYPE_CHECKING:
    from zoo.targets import Target


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    app.command("pull")(_pull)


def _pull(
    model: options.Model,
    revision: options.Revision = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be downloaded, and the free disk space.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    """Download a model and check its files.

    The files go to the Hugging Face cache; each is checked against its sha256.

    Files that are there already are not downloaded again. To a pipe: name and path of each file, divided by a tab.
    """
    from zoo import api, targets

    target = targets.find(model, revision=revision, offline=offline)
    if dry_run:
        _plan(target, offline=offline, as_json=as_json)
        return
    with progress.downloads(quiet=quiet) as report:
        files = api.pull(target, offline=offline, report=report)
    if as_json:
        listed = [
            {"name": name, "path": str(path), "bytes": path.stat().st_size} for name, path in files.items()
        ]
        terminal.out_json(
            {"model": target.name, "revision": target.revision or None, "files": listed}, indent=2
        )
    elif terminal.for_reading(streams.results()):
        total = sum(path.stat().st_size for path in files.values())
        folder = next(iter(files.values())).parent
        terminal.out(f"{target.name}: {len(files)} files, {human.size(total)}, checked, in {folder}")
    else:
        for name, path in files.items():
            terminal.out(f"{terminal.one_line(name)}\t{path}")


def _plan(target: Target, *, offline: bool, as_json: bool) -> None:
    from zoo import targets
    from zoo.weights import hub

    planned: list[tuple[str, int | None, bool]]
    if target.weights is None:
        planned = [(name, path.stat().st_size, True) for name, path in targets.files(target).items()]
    else:
        wanted = hub.plan(target.weights, offline=offline)
        planned = [(item.file.name, item.file.bytes, item.cached) for item in wanted]
    missing = [size for _, size, cached in planned if not cached]
    needed = sum(size for size in missing if size is not None)
    unknown = missing.count(None)
    free = hub.free_bytes()
    if as_json:
        listed = [{"name": name, "bytes": size, "cached": cached} for name, size, cached in planned]
        said = {"model": target.name, "revision": target.revision or None, "files": listed}
        terminal.out_json(said | {"download": needed, "unknown": unknown, "free": free}, indent=2)
        return
    for name, size, cached in planned:
        state = "here already" if cached else "to download"
        terminal.out(f"{terminal.one_line(name)}\t{human.size(size)}\t{state}")
    more = f" and {unknown} files of unknown size" if unknown else ""
    terminal.out(f"{human.size(needed)}{more} to download, {human.size(free)} free")
    if needed > free:
        terminal.warn("the disk is too small for it")
