"""The options that several commands share, each declared once with its help and what it sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.settings import MOST_AT_ONCE, require_whole
from zoo_cli import completion

if TYPE_CHECKING:
    from zoo.datasets.file_rules import FileRules

COMMON = "Common options"
"""The panel of `--help` that these options are shown in."""


def set_offline(value: bool) -> bool:
    """huggingface_hub reads its variables when it is imported, so they are set before any command runs."""
    if value:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return value


def set_cache_dir(value: Path | None) -> Path | None:
    if value is not None:
        os.environ["HF_HUB_CACHE"] = str(value.expanduser().absolute())
    return value


def _whole(parameter: typer.CallbackParam, value: int | None) -> int | None:
    """The upper bound, which would crowd the help as the option's own."""
    if value is not None:
        require_whole(f"--{parameter.name}", value, minimum=0)
    return value


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A registry name or alias, plugin/name, a local folder or file, or hf:user/repo@revision.",
        autocompletion=completion.models,
        show_default=False,
    ),
]
Revision = Annotated[
    str,
    typer.Option(
        "--revision",
        metavar="COMMIT",
        help="Another commit, branch or tag of the Hub repo than the pinned one.",
        show_default=False,
    ),
]
_MOST_SAMPLES = 1_000_000_000
Count = Annotated[
    int, typer.Option("--count", "-n", metavar="N", min=1, max=_MOST_SAMPLES, help="Number of samples.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        "-s",
        metavar="N",
        min=0,
        callback=_whole,
        help="Random seed; without it, each run draws another.",
    ),
]
Start = Annotated[int, typer.Option(metavar="N", min=0, callback=_whole, help="Index of the first sample.")]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=MOST_AT_ONCE, help="Samples drawn together; changes speed, not samples."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps, ...", rich_help_panel=COMMON
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="NAME",
        help="auto (as stored), float32, float16 or bfloat16.",
        rich_help_panel=COMMON,
        autocompletion=lambda: ["auto", "float32", "float16", "bfloat16"],
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        callback=set_offline,
        is_eager=True,
        help="Use only files that are here; make no network request.",
        rich_help_panel=COMMON,
    ),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        callback=set_cache_dir,
        is_eager=True,
        metavar="FOLDER",
        help="The Hugging Face cache to use instead of HF_HUB_CACHE.",
        rich_help_panel=COMMON,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only results, warnings and errors.", rich_help_panel=COMMON)
]
Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON.", rich_help_panel=COMMON)]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Answer yes to every question.", rich_help_panel=COMMON)
]
FileSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="How FILE is written, where that is not to be found: data.delimiter, decimal, encoding, header, "
        "skip_missing, exclude.",
        show_default=False,
    ),
]


def file_rules(said: list[str] | None) -> FileRules:
    """What `FileSettings` say. Raises UsageError for what is no setting of files."""
    from zoo import settings
    from zoo.datasets.file_rules import FileRules

    assigned = (settings.assigned(each, {"data": FileRules}) for each in said or ())
    return settings.make(FileRules, {name: value for _, name, value in assigned}, what="--set")
