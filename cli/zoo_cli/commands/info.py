"""zoo info: the card of one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_cli import cards, human, options, streams, terminal

if TYPE_CHECKING:
    from zoo.modality.description import Description

_WIDEST = 20  # characters of a heading above numbers
_LEAST = 12  # characters of a column of words

Inside = Annotated[
    bool,
    typer.Option(
        "--inside", help="Load the weights and show what they have learned, such as components or states."
    ),
]


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    app.command("info")(_info)


def _info(
    model: options.Model,
    inside: Inside = False,
    as_json: options.Json = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    """Tell all that is known about a model.

    Its licences (code, weights and data apart), size, memory needed, paper, measured quality, files and config.
    """
    described = _inside(model, offline=offline) if inside else None
    if described and not as_json:
        _show(described)
        return
    card = _card(model, offline=offline)
    if as_json:
        terminal.out_json(card | _inside_card(described), indent=2)
        return
    rows = [row for row in _rows(card) if row[1]]
    width = max(len(label) for label, _ in rows)
    terminal.out(card["name"], style="bold")
    if card["summary"]:
        terminal.out(terminal.one_line(card["summary"]))
    terminal.out()
    for label, value in rows:
        terminal.out(label.ljust(width), style="dim", end="  ")
        terminal.out(terminal.one_line(value))
    terminal.out()
    for line in _usage(card):
        terminal.out(line)


def _inside(model: str, *, offline: bool) -> Description:
    """What the model's weights have learned. Raises CapabilityError where its family does not say."""
    from zoo import targets
    from zoo.errors import CapabilityError
    from zoo_cli import loading

    target = targets.find(model, offline=offline)
    if not target.family.describe:
        raise CapabilityError(
            f"{target.name}: the family {target.family.name} does not say what its weights have learned",
            hint=f"what is known of it without them: zoo info {target.name}",
        )
    loaded = loading.load(target, device="cpu", dtype="auto", offline=offline, quiet=False)
    form = getattr(loaded, "format", None)  # of sequences
    columns = form.columns if form else loaded.layout
    names = (form.symbols if form else None) or columns.names
    describe = target.family.resolve("describe")
    described: Description = describe(loaded.network, names, columns.mean, columns.scale)
    return described


def _inside_card(described: Description | None) -> dict[str, Any]:
    """What --inside adds to the card."""
    if described is None:
        return {}
    rows = [list(row) for row in described.rows]
    return {"inside": [{"title": described.title, "columns": list(described.columns), "rows": rows}]}


def _show(described: Description) -> None:
    """A table: with its title for a person, tab-separated for a program."""
    heads = [terminal.one_line(column) for column in described.columns]
    rows = [[terminal.one_line(cell) for cell in row] for row in described.rows]
    if not terminal.for_reading(streams.results()):
        for row in (heads, *rows):
            terminal.out("\t".join(row))
        return
    terminal.out(terminal.one_line(described.title), style="bold")
    console = terminal.console(streams.results())
    numbers = [terminal.one_line(column) for column in described.numbers]
    shown = _fitting(heads, rows, numbers, console.width)
    made = terminal.table()
    for at in shown:
        right = heads[at] in numbers
        head = terminal.cut(heads[at], _WIDEST) if right else heads[at]
        made.add_column(head, justify="right" if right else "left", no_wrap=right)
    for row in rows:
        made.add_row(*(row[at] for at in shown))
    console.print(made)
    if more := len(heads) - len(shown):
        terminal.note(f"... and {more} more column{'s' * (more != 1)}; a pipe or --json gets all")


def _fitting(
    heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str], width: int
) -> list[int]:
    """Which columns a terminal has room for: words run on in narrow columns, but numbers are never cut."""
    from rich.cells import cell_len

    widths = []
    for at, head in enumerate(heads):
        cells = max((cell_len(row[at]) for row in rows), default=0)
        heading = cell_len(terminal.cut(head, _WIDEST))
        widths.append(max(heading, cells if head in numbers else min(cells, _LEAST)) + 2)
    shown = list(range(len(heads)))
    while sum(widths[at] for at in shown) - 2 > width:
        values = [at for at in shown if heads[at] in numbers][2:]  # the first two say which row it is
        if not values:
            break
        shown.remove(values[-1])
    return shown


def _card(model: str, *, offline: bool) -> dict[str, Any]:
    """Registry names are read from the registry alone; folders and Hub repos from their own small files."""
    from zoo.errors import UnknownModelError
    from zoo.registry.catalogue import catalogue

    if not model.startswith(("hf:", ".", "/", "~")):
        try:
            return cards.of_entry(catalogue().find(model))
        except UnknownModelError:
            if not Path(model).exists():
                raise
    from zoo import targets

    return cards.of_target(targets.find(model, offline=offline))


def _rows(card: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and value of each line; an empty value leaves the line out."""
    weights, licences, paper = card["weights"], card["licences"], card["paper"]
    yield "aliases", ", ".join(card["aliases"])
    yield (
        "family",
        f"{card['family']}, from {card['plugin']}" + ("" if card["installed"] else " (not installed)"),
    )
    yield "task", card["task"] or ""
    yield "can", ", ".join(card["can"])
    yield "parameters", f"{card['parameters']:,}" if card["parameters"] else ""
    for place, needed in enumerate(_memory(card["memory"])):
        yield "" if place else "memory", needed
    yield (
        "config",
        ", ".join(f"{name} {value}" for name, value in card["config"].items() if value is not None),
    )
    yield "weights", _weights(weights)
    yield "repo", f"{weights['repo']} @ {weights['revision']}" if weights["repo"] else ""
    for place, file in enumerate(weights["files"]):
        yield "" if place else "files", _file(file)
    for place, (part, licence) in enumerate((licences or {}).items()):
        yield "" if place else "licences", f"{part}: {licence}"
    yield "paper", _paper(paper) if paper else ""
    for place, metric in enumerate(card["metrics"]):
        yield "" if place else "quality", _metric(metric)


def _memory(memory: dict[str, dict[str, int | None]] | None) -> Iterator[str]:
    for dtype, needed in (memory or {}).items():
        if dtype == "float16" or (dtype == "bfloat16" and needed["cache"] is None):  # the same, or no use
            continue
        cache = f", and {human.size(needed['cache'])} for a full context" if needed["cache"] else ""
        yield f"{dtype}: {human.size(needed['weights'])}{cache}"


def _weights(weights: dict[str, Any]) -> str:
    if weights["status"] == "none":
        return "none: an architecture without published weights"
    where = " in the plugin's package" if weights["package"] else ""
    return ", ".join(
        part for part in (weights["status"], weights["dtype"], human.size(weights["bytes"]) + where) if part
    )


def _file(file: dict[str, Any]) -> str:
    parts = [file["name"], human.size(file["bytes"]) if file["bytes"] is not None else "size unknown"]
    if file["cached"] is not None:
        parts.append("in the cache" if file["cached"] else "not downloaded")
        parts.append("sha256 pinned" if file["sha256"] else "sha256 recorded at the first download")
    return ", ".join(parts)


def _paper(paper: dict[str, Any]) -> str:
    year = f" ({paper['year']})" if paper["year"] else ""
    return f"{paper['title']}{year}, {paper['url']}"


def _metric(metric: dict[str, Any]) -> str:
    unit = f" {metric['unit']}" if metric["unit"] else ""
    samples = f", {metric['samples']:,} samples" if metric["samples"] else ""
    return f"{metric['name']} {metric['value']:g}{unit} on {metric['data']}{samples} ({metric['source']})"


def _modality(card: dict[str, Any]) -> str:
    """What a folder's or a repo's model makes."""
    from zoo import plugins

    return plugins.family(card["plugin"], card["family"]).modality


def _usage(card: dict[str, Any]) -> Iterator[str]:
    if card["install"]:
        yield card["install"]
    if card["weights"]["status"] == "none":
        yield f"python: zoo.build({card['name']!r})"
        return
    if card["weights"]["repo"]:
        yield f"zoo pull {card['name']}"
    prompt = ' --prompt "..."' if (card["task"] or _modality(card)).startswith("text") else ""
    yield f"zoo sample {card['name']}{prompt}"
    if "chat" in card["can"]:
        yield f"zoo chat {card['name']}"
