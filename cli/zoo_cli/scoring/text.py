"""zoo score for text models: one line a text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo import bounds
from zoo.errors import DataError
from zoo.os_words import reason
from zoo.settings import MOST_AT_ONCE
from zoo.targets import Target
from zoo_cli import flags, measures, model_options, options, streams, terminal

if TYPE_CHECKING:
    from zoo.evaluation.text import TextScore
    from zoo.modality.text_model import TextModel
    from zoo.protocols import Tokenizer

HELP = """Score texts by their log-likelihood under a model.

It is told in nats, with bits per byte, nats per token, and the number of tokens.

Every line of FILE that is not blank is a text of its own; - reads standard input. A text's first token is predicted
from the tokenizer's start, every other one from all before it. To a pipe: the four numbers of each text, divided by
tabs.
"""

_COLUMNS = ("log-likelihood", "bits/byte", "nats/token", "tokens", "text")
_NUMBERS = 50  # characters of a line on a terminal that the four numbers take
_TOKEN_COLUMNS = ("text", "token", "log-probability", "adds")


def command(target: Target | None) -> Callable[..., None]:
    """The function of `zoo score` for a text model; see `zoo_cli.scoring`."""
    return flags.bound(_score, target)


@dataclass(frozen=True)
class Item:
    """A text to score. line: its number in the file, from 1 on; None for a whole file."""

    file: str
    line: int | None
    text: str

    @property
    def label(self) -> str:
        name = "standard input" if self.file == "-" else self.file
        return name if self.line is None else f"{name}:{self.line}"


def _score(
    found: Target | None,
    model: options.Model,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Text files; - for standard input.", show_default=False),
    ],
    whole: Annotated[bool, typer.Option("--whole", help="Score each file as one text.")] = False,
    per_token: Annotated[
        bool, typer.Option("--per-token", help="Write each token with its log-probability.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=MOST_AT_ONCE, help="Texts computed together; changes speed alone."
        ),
    ] = None,
    revision: options.Revision = "",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    from zoo import targets
    from zoo_cli.loading import load

    target = found or targets.find(model, revision=revision, offline=offline)
    target = model_options.text_model(target, "score", model)
    items = [item for file in files for item in _items(file, whole=whole)]
    loaded = load(target, device=device, dtype=dtype, offline=offline, quiet=quiet)
    from zoo.evaluation.text import tokenizer_of

    tokenizer = tokenizer_of(loaded)
    scores: list[TextScore] = []
    coming = _scores(loaded, items, batch_size, scores, quiet=quiet)
    if as_json:
        terminal.out_json(
            _record(target.name, items, list(coming), tokenizer if per_token else None), indent=2
        )
    else:
        _show(items, coming, tokenizer if per_token else None)
        terminal.note(_total(scores), quiet=quiet)
    labels = [item.label for item in items]
    measures.warn_of_changes(scores, labels)
    if measures.warn_of_nan(scores, labels):
        raise typer.Exit(1)


def _items(file: str, *, whole: bool) -> list[Item]:
    """The texts of a file, or of standard input for "-". Raises DataError for one that has none or is not UTF-8."""
    try:
        path = Path(file).expanduser()
        data = sys.stdin.buffer.read() if file == "-" else bounds.regular(path).read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {reason(error)}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{error.object[error.start]:02x} in line {line}"
        raise DataError(f"{Item(file, None, '').label} is not UTF-8 text: {found}") from None
    lines = [Item(file, None, text)] if whole else _lines(file, text)
    items = [item for item in lines if item.text.strip()]
    if not items:
        raise DataError(f"{Item(file, None, '').label} has no text to score: it is empty or blank")
    return items


def _lines(file: str, text: str) -> list[Item]:
    """Lines end with a line feed alone, or after a carriage return; other separators belong to the text."""
    return [Item(file, at, line.removesuffix("\r")) for at, line in enumerate(text.split("\n"), 1)]


def _scores(
    model: TextModel, items: Sequence[Item], batch_size: int | None, into: list[TextScore], *, quiet: bool
) -> Iterator[TextScore]:
    """The scores in order, as they come; they also go into the list. Says once when a text is cut into windows."""
    from zoo.evaluation.text import text_scores
    from zoo.evaluation.tokens import windows

    texts, labels = [item.text for item in items], [item.label for item in items]
    said = False
    with measures.counting(quiet=quiet) as report:
        over = windows(model.context)
        for score in text_scores(model, texts, over, names=labels, batch_size=batch_size, report=report):
            if score.windows > 1 and not said:
                if report:
                    terminal.status("")
                terminal.note(
                    f"{labels[len(into)]} is longer than the context of {model.context:,} tokens; such texts are read"
                    f" through windows that overlap by half",
                    quiet=quiet,
                )
                said = True
            into.append(score)
            yield score


def _show(items: Sequence[Item], scores: Iterable[TextScore], tokenizer: Tokenizer | None) -> None:
    """Lines in a pipe, each as soon as it is there; on a terminal a table."""
    reading = terminal.for_reading(streams.results())
    console = terminal.console(streams.results()) if reading else None
    room = max(20, console.width - _NUMBERS) if console else 0
    rows = (
        row
        for item, score in zip(items, scores, strict=True)
        for row in (
            [_cells(score, room)]
            if tokenizer is None
            else measures.token_lines([score], [item.label], tokenizer)
        )
    )
    if console is None:
        for row in rows:
            terminal.out("\t".join(terminal.one_line(cell) for cell in row))
        return
    columns = _COLUMNS if tokenizer is None else _TOKEN_COLUMNS
    table = terminal.table(*columns, right=(*_COLUMNS[:4], *_TOKEN_COLUMNS[1:3]))
    for row in rows:
        table.add_row(*(terminal.one_line(cell) for cell in row))
    console.print(table)


def _cells(score: TextScore, room: int) -> tuple[str, ...]:
    """room: characters for the beginning of the text, 0 to leave it out."""
    values = (score.log_likelihood, score.bits_per_byte, score.nats_per_token)
    cells = (*(f"{value:.{3 if room else 6}f}" for value in values), str(score.tokens))
    if not room:
        return cells
    text = terminal.one_line(score.text[: 2 * room])
    return (*cells, text if len(text) <= room else text[: room - 1] + "…")


def _total(scores: Sequence[TextScore]) -> str:
    from zoo.evaluation.scoring import TextScores

    found = TextScores(tuple(scores))
    texts = f"{len(scores)} text{'s' * (len(scores) != 1)}"
    return (
        f"{texts}, {found.bytes:,} bytes, {found.tokens:,} tokens: {found.log_likelihood:.3f} nats in all,"
        f" {found.mean:.3f} a text, {found.nats_per_token:.4f} a token; {found.bits_per_byte:.4f} bits per byte"
    )


def _record(
    model: str, items: Sequence[Item], scores: Sequence[TextScore], tokenizer: Tokenizer | None
) -> dict[str, Any]:
    """tokenizer: for the tokens of each text; None to leave them out."""
    from zoo.evaluation.scoring import TextScores

    found = TextScores(tuple(scores))
    listed = []
    for item, score in zip(items, scores, strict=True):
        said = {
            "file": item.file,
            "line": item.line,
            "text": item.text,
            "log_likelihood": measures.number(score.log_likelihood),
            "bits_per_byte": measures.number(score.bits_per_byte),
            "nats_per_token": measures.number(score.nats_per_token),
            "tokens": score.tokens,
            "bytes": score.bytes,
        }
        listed.append(
            said if tokenizer is None else said | {"per_token": measures.per_token(score, tokenizer)}
        )
    return {
        "model": model,
        "items": listed,
        "texts": len(scores),
        "tokens": found.tokens,
        "bytes": found.bytes,
        "log_likelihood": measures.number(found.log_likelihood),
        "mean_log_likelihood": measures.number(found.mean),
        "nats_per_token": measures.number(found.nats_per_token),
        "bits_per_byte": measures.number(found.bits_per_byte),
    }
