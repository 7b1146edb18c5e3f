"""zoo eval: how well a model predicts held-out text, with N and a confidence interval beside every number."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_cli import measures, model_options, options, saving, terminal

if TYPE_CHECKING:
    from zoo.evaluation.evaluating import TextEvaluation
    from zoo.evaluation.interval import Estimate
    from zoo.protocols import Tokenizer

HELP = """Measure perplexity, nats per token and bits per byte on held-out text, each with N and a 95% interval.

Without --data, a run of `zoo train` is measured on the text that it held out. To a pipe: name, value, lower and upper
end of the interval, N, what N counts, and seed, divided by tabs.
"""

_CELLS = ("value", "low", "high", "samples", "of", "seed")  # of a line in a pipe, after the name


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    app.command("eval", help=HELP)(_eval)


def _eval(
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
        int | None, typer.Option(metavar="N", min=1, help="Windows computed together; changes speed alone.")
    ] = None,
    per_token: Annotated[
        bool, typer.Option("--per-token", help="Write each token with its log-probability.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.jsonl", help="Save the tokens there instead."),
    ] = None,
    revision: options.Revision = "",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    yes: options.Yes = False,
    offline: options.Offline = False,
    _cache_dir: options.CacheDir = None,
) -> None:
    from zoo import targets
    from zoo_cli.loading import load

    target = targets.find(model, revision=revision, offline=offline)
    target = model_options.text_model(target, "eval", model)
    from zoo.evaluation import evaluating, held_out
    from zoo.evaluation.text import tokenizer_of

    if data:
        measured = held_out.named(*data, column=column, offline=offline)
    else:
        measured = held_out.of_run(target.folder, model, offline=offline)
    saved = None if output is None else saving.lines_file(output, replace=yes)
    loaded = load(target, device=device, dtype=dtype, offline=offline, quiet=quiet)
    tokenizer = tokenizer_of(loaded)
    with measures.counting(quiet=quiet) as report:
        found = evaluating.evaluate(
            loaded, measured, window=window, stride=stride, batch_size=batch_size, report=report
        )
    if saved is not None:
        saving.write_lines(saved, _token_records(found, tokenizer))
        terminal.note(f"saved {found.tokens:,} tokens to {output}", quiet=quiet)
    _show(found, tokenizer if per_token and saved is None else None, as_json=as_json, quiet=quiet)
    measures.warn_of_changes(found.scores, found.names)
    if measures.warn_of_nan(found.scores, found.names):
        raise typer.Exit(1)


def _show(found: TextEvaluation, tokenizer: Tokenizer | None, *, as_json: bool, quiet: bool) -> None:
    """tokenizer: for the tokens, where they are wanted here; they are then the result, and the measures a note."""
    if as_json:
        tokens = {} if tokenizer is None else {"per_token": list(_token_records(found, tokenizer))}
        terminal.out_json(_record(found) | tokens, indent=2)
    elif tokenizer is not None:
        for line in measures.token_lines(found.scores, found.names, tokenizer):
            terminal.out("\t".join(terminal.one_line(cell) for cell in line))
        for name, said in _metrics(found).items():
            terminal.note(f"{name.replace('_', ' ')} {_reading(said)}", quiet=quiet)
    elif terminal.for_reading(sys.stdout):
        _table(found)
    else:
        for name, said in _metrics(found).items():
            shown = ("" if said[key] is None else str(said[key]) for key in _CELLS)
            terminal.out("\t".join([name.replace("_", " "), *shown]))


def _metrics(found: TextEvaluation) -> dict[str, dict[str, Any]]:
    """Each measure with its interval, N and seed."""

    def said(estimate: Estimate, samples: int, of: str) -> dict[str, Any]:
        return asdict(estimate) | {"samples": samples, "of": of, "seed": found.seed}

    return {
        "bits_per_byte": said(found.bits_per_byte, found.bytes, "bytes"),
        "nats_per_token": said(found.nats_per_token, found.tokens, "tokens"),
        "perplexity": said(found.perplexity, found.tokens, "tokens"),
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
        "metrics": {
            name: said | {key: measures.number(said[key]) for key in ("value", "low", "high")}
            for name, said in _metrics(found).items()
        },
    }


def _token_records(found: TextEvaluation, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    for name, score in zip(found.names, found.scores, strict=True):
        for row in measures.per_token(score, tokenizer):
            yield {"document": name, **row}


def _table(found: TextEvaluation) -> None:
    several = f"{len(found.names)} documents" if len(found.names) > 1 else "1 document"
    terminal.out(f"{found.model} on {found.data}: {several}, {found.bytes:,} bytes, {found.tokens:,} tokens")
    table = terminal.table("", "value", "95% interval", "N", "seed", right=("value", "N", "seed"))
    for name, said in _metrics(found).items():
        ends = "" if said["low"] is None else f"{_number(said['low'])} to {_number(said['high'])}"
        seed = "none" if said["seed"] is None else str(said["seed"])
        table.add_row(
            name.replace("_", " "), _number(said["value"]), ends, f"{said['samples']:,} {said['of']}", seed
        )
    terminal.console(sys.stdout).print(table)
    over = f"over {found.blocks} blocks" if found.bits_per_byte.low is not None else "none: too little text"
    terminal.out(f"windows of {found.window:,} tokens, {found.stride:,} apart; intervals {over}", style="dim")


def _reading(said: dict[str, Any]) -> str:
    ends = "" if said["low"] is None else f" ({_number(said['low'])} to {_number(said['high'])})"
    return f"{_number(said['value'])}{ends}, {said['samples']:,} {said['of']}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if 10_000 <= value < 1e15 else f"{value:.4f}" if value < 10_000 else f"{value:.3g}"
