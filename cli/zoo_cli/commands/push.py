"""zoo push: a run's model, with its card, to the Hub."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.errors import HubError, UsageError
from zoo_cli import human, interrupts, options, progress, streams, terminal

if TYPE_CHECKING:
    from zoo.publish.bundle import Bundle
    from zoo.publish.push import Asked, Changes, Pushed

HELP = """Send the model in RUN to the Hub repo USER/REPO, in one commit.

With the weights go the tokenizer, a config.json, the recipe, the registry entry and a model card. A failed push
leaves the repo as it was. HF_TOKEN or `hf auth login` says who pushes, HF_ENDPOINT to which Hub.
"""

_WANTED = {
    "weights": "licence of the weights",
    "data": "licence of the data they were trained on",
    "code": "licence of the code that builds the model",
}
_TRIES = 3  # of answering what a licence is


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    app.command("push", help=HELP)(_push)


def _push(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A run's folder, or another with a safetensors file of the zoo.",
            show_default=False,
        ),
    ],
    repo: Annotated[
        str,
        typer.Argument(metavar="USER/REPO", help="The Hub repo; made if there is none.", show_default=False),
    ],
    licence_weights: Annotated[
        str,
        typer.Option(
            metavar="SPDX", help="Licence of the weights, such as MIT, or unknown; asked for if missing."
        ),
    ] = "",
    licence_data: Annotated[
        str, typer.Option(metavar="SPDX", help="Licence of the data it was trained on.")
    ] = "",
    licence_code: Annotated[
        str, typer.Option(metavar="SPDX", help="Licence of the code that builds it.")
    ] = "",
    private: Annotated[bool, typer.Option("--private", help="If the repo is new, make it private.")] = False,
    revision: Annotated[str, typer.Option(metavar="BRANCH", help="Branch of the repo to push to.")] = "main",
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead of changing the branch.")
    ] = False,
    message: Annotated[
        str, typer.Option("--message", "-m", metavar="TEXT", help="Commit message.", show_default=False)
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write what would be sent into a folder; make no request.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where --dry-run writes.", show_default=False),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    yes: options.Yes = False,
) -> None:
    from zoo.publish import bundle, remote
    from zoo.publish.push import Asked

    bundle.check_repo(repo)
    if output is not None and not dry_run:
        raise UsageError("--output is the folder of a dry run", hint="add --dry-run, or leave it out")
    if not dry_run:
        remote.token()
    given = {"weights": licence_weights, "data": licence_data, "code": licence_code}
    licences = _licences(given)
    terminal.note(f"looking at {run}", quiet=quiet or not terminal.is_terminal(sys.stderr))
    made = bundle.prepare(run, repo, licences)
    if dry_run:
        _write(made, output, as_json=as_json, quiet=quiet)
        return
    asked = Asked(private, revision, create_pr, message, yes)
    _send(made, asked, _again(run, repo, licences, asked), as_json=as_json, quiet=quiet)


def _licences(given: Mapping[str, str]) -> dict[str, str]:
    """The licences, asked for on a terminal where they are missing. None has a default."""
    from zoo.publish import licences

    said = dict(given)
    for part in licences.PARTS:
        if said[part].strip():
            said[part] = licences.spdx(said[part], what=f"--licence-{part}")
    if terminal.is_terminal(sys.stdin):
        for part in licences.missing(said):
            said[part] = _asked_licence(part)
            if not said[part]:
                break
    licences.checked(said)
    return said


def _asked_licence(part: str) -> str:
    """What the person types, "" after an end of input or too many wrong answers."""
    from zoo.publish import licences

    for _ in range(_TRIES):
        terminal.ask(f"{_WANTED[part]} (SPDX, such as MIT or CC-BY-4.0, or unknown): ")
        line = sys.stdin.readline()
        if not line:
            break
        try:
            if line.strip():
                return licences.spdx(line, what=_WANTED[part])
        except UsageError as error:
            terminal.warn(str(error))
    return ""


def _write(made: Bundle, output: Path | None, *, as_json: bool, quiet: bool) -> None:
    if output is None:
        import tempfile

        output = Path(tempfile.mkdtemp(prefix="zoo-push-"))
    folder = made.write(output)
    if as_json:
        said = {"repo": made.repo, "folder": str(folder), "files": _files(made)}
        terminal.out_json(said | {"registry": made.registry("")}, indent=2)
        return
    _show(made, quiet=quiet)
    terminal.note(f"this is what hf:{made.repo} would hold; nothing was sent", quiet=quiet)
    terminal.out(str(folder))


def _show(made: Bundle, *, quiet: bool) -> None:
    """What is sent, and which names of the person's own are in it."""
    for name, content in made.files.items():
        terminal.note(f"{human.size(content.size):>8}  {name}", quiet=quiet)
    if made.data:
        said = (
            f"{made.data!r}, the name of the data, is in its card, its recipe and the header of its weights"
        )
        terminal.note(said, quiet=quiet)


def _send(made: Bundle, asked: Asked, again: str, *, as_json: bool, quiet: bool) -> None:
    from dataclasses import replace

    from zoo.publish import push

    try:
        found = push.changes(made, revision=asked.revision)
        push.check(made, found, asked)
        if question := _question(made, found, asked):
            _show(made, quiet=quiet and asked.replace)
            if not terminal.confirm(question, yes=asked.replace):
                terminal.note("nothing was sent")
                raise typer.Exit(1)
            asked = replace(asked, replace=True)
        with progress.downloads(quiet=quiet) as report:
            pushed = push.send(made, found, asked, report)
    except HubError as error:
        error.hint = "; ".join(filter(None, (error.hint, f"run again: {again}")))
        raise
    except KeyboardInterrupt:
        raise interrupts.StoppedError(f"{interrupts.SAID}; to push again: {again}") from None
    _tell(made, pushed, as_json=as_json, quiet=quiet)


def _question(made: Bundle, found: Changes, asked: Asked) -> str:
    """What needs a yes: files that were never sent, or a repo that loses some; "" for nothing."""
    if (found.replaced or found.removed) and not asked.pull_request:
        known = terminal.is_terminal(sys.stdin)  # else `send` refuses, and names them
        return f"{made.repo} has other files already: this push {found}. Go on?" if known else ""
    return f"Send {len(made.files)} files, {human.size(made.size)}, to {made.repo}?" if found.added else ""


def _tell(made: Bundle, pushed: Pushed, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        said: dict[str, Any] = {"repo": pushed.repo, "commit": pushed.commit, "url": pushed.url}
        said |= {"pull_request": pushed.pull_request or None, "files": _files(made)}
        terminal.out_json(said | {"registry": pushed.registry}, indent=2)
        return
    name = f"hf:{pushed.repo}@{pushed.commit}"
    if not terminal.for_reading(streams.results()):
        terminal.out(f"{name}\t{pushed.pull_request or pushed.url}")
        return
    terminal.out(f"{name}: {len(made.files)} files, {human.size(made.size)}, at {pushed.url}")
    if pushed.pull_request:
        terminal.out(f"pull request: {pushed.pull_request}")
    terminal.out("\nIts registry entry, for a plugin's registry.yaml:\n", style="dim")
    terminal.out(pushed.registry, end="")
    terminal.note(f"try it: zoo sample {name}", quiet=quiet)


def _files(made: Bundle) -> list[dict[str, Any]]:
    return [
        {"name": name, "bytes": content.size, "sha256": content.sha256}
        for name, content in made.files.items()
    ]


def _again(run: Path, repo: str, licences: Mapping[str, str], asked: Asked) -> str:
    """The command line that does the same, with the licences that were asked for."""
    words = ["zoo", "push", str(run), repo]
    for part, licence in licences.items():
        words += [f"--licence-{part}", licence]
    words += ["--private"] * asked.private + ["--create-pr"] * asked.pull_request + ["--yes"] * asked.replace
    words += ["--revision", asked.revision] if asked.revision != "main" else []
    words += ["--message", asked.message] if asked.message else []
    return shlex.join(words)
