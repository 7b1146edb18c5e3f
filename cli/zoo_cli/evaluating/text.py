"""zoo eval for text models: perplexity, nats a token and bits a byte, or each token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.settings import MOST_AT_ONCE
from zoo.targets import Target
from zoo_cli import flags, measures, model_options, options, saving, streams, terminal
from zoo_cli.evaluating import metrics

if TYPE_CHECKING:
    from zoo.evaluation.evaluating import TextEvaluation
    from zoo.protocols import Tokenizer

HELP = """Measure how well a model predicts held-out text.

It is told as perplexity, nats per token and bits per byte, each with N and a 95% interval.

Without --data, a run of `zoo train` is measured on the text that it held out. To a pipe: name, value, lower and upper
end of the interval, N, what N counts, and seed, divided by tabs.
"""


def command(target: Target | None) -> Callable[..., None]:
    """The function of `zoo eval` for a text model; see `zoo_cli.evaluating`."""
    return flags.bound(_eval, target)


def _eval(
    found: Target | None,
    model: options.Model,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="D",
            help="A text file, a folder of .txt files, a built-in name, or rows: hf:user/name:test or FILE.parquet;"
            " may be given again.",
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column of rows that is text.", show_default=False)
    ] = None,
    window: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Tokens seen at most; the context when left out.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Tokens from window to window; half when left out.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=MOST_AT_ONCE, help="Windows computed together; changes speed alone."
        ),
    ] = None,
    per_token: Annotated[
        bool, typer.Option("--per-token", help="Write each token with its log-probability.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.jsonl", help="Save the tokens there instead."),
    ] = None,
    revision: options.Revision = "",  # noqa: ARG001 - already used, to find `found`
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    yes: options.Yes = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    target = model_options.text_model(found, "eval", model)
    from zoo.evaluation import evaluating, held_out
    from zoo.evaluation.text import tokenizer_of
    from zoo_cli.loading import load

    if data:
        measured = held_out.named(*data, column=column, offline=offline)
    else:
        measured = held_out.of_run(target.folder, model, offline=offline)
    saved = None if output is None else saving.lines_file(output, replace=yes)
    loaded = load(target, device=device, dtype=dtype, offline=offline, quiet=quiet)
    tokenizer = tokenizer_of(loaded)
    with measures.counting(quiet=quiet) as report:
        told = evaluating.of_text(
            loaded, measured, window=window, stride=stride, batch_size=batch_size, report=report
        )
    if saved is not None:
        saving.write_lines(saved, _token_records(told, tokenizer))
        terminal.note(f"saved {told.tokens:,} tokens to {output}", quiet=quiet)
    _show(told, tokenizer if per_token and saved is None else None, as_json=as_json, quiet=quiet)
    measures.warn_of_changes(told.scores, told.names)
    if measures.warn_of_nan(told.scores, told.names):
        raise typer.Exit(1)


def _show(found: TextEvaluation, tokenizer: Tokenizer | None, *, as_json: bool, quiet: bool) -> None:
    """tokenizer: for the tokens, where they are wanted here; they are then the result, and the measures a note."""
    if as_json:
        tokens = {} if tokenizer is None else {"per_token": list(_token_records(found, tokenizer))}
        terminal.out_json(_record(found) | tokens, indent=2)
    elif tokenizer is not None:
        for line in measures.token_lines(found.scores, found.names, tokenizer):
            terminal.out("\t".join(terminal.one_line(cell) for cell in line))
        metrics.notes(_metrics(found), quiet=quiet)
    elif terminal.for_reading(streams.results()):
        _table(found)
    else:
        metrics.lines(_metrics(found))


def _metrics(found: TextEvaluation) -> dict[str, dict[str, Any]]:
    """Each measure with its interval, N and seed."""
    return {
        "bits_per_byte": metrics.said(found.bits_per_byte, found.bytes, "bytes", found.seed),
        "nats_per_token": metrics.said(found.nats_per_token, found.tokens, "tokens", found.seed),
        "perplexity": metrics.said(found.perplexity, found.tokens, "tokens", found.seed),
    }


def _record(found: TextEvaluation) -> dict[str, Any]:
    return {
        "model": found.model,
        "data": found.data,
        "documents": list(found.names),
        "tokens": found.tokens,
        "bytes": found.bytes,
        "window": found.window,
        "stride": found.stride,
        "blocks": found.blocks,
        "metrics": metrics.record(_metrics(found)),
    }


def _token_records(found: TextEvaluation, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    for name, score in zip(found.names, found.scores, strict=True):
        for row in measures.per_token(score, tokenizer):
            yield {"document": name, **row}


def _table(found: TextEvaluation) -> None:
    several = f"{len(found.names)} documents" if len(found.names) > 1 else "1 document"
    over = f"over {found.blocks} blocks" if found.bits_per_byte.low is not None else "none: too little text"
    metrics.table(
        _metrics(found),
        f"{found.model} on {found.data}: {several}, {found.bytes:,} bytes, {found.tokens:,} tokens",
        f"windows of {found.window:,} tokens, {found.stride:,} apart; intervals {over}",
    )
