"""What `zoo eval` shows of every modality: measures with interval, N and seed, as a table, lines, or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from zoo_cli import measures, terminal

if TYPE_CHECKING:
    from zoo.evaluation.interval import Estimate
    from zoo.evaluation.items import RowEvaluation, SequenceEvaluation

_CELLS = ("value", "low", "high", "samples", "of", "seed")  # of a line in a pipe, after the name


def said(estimate: Estimate, samples: int, of: str, seed: int | None) -> dict[str, Any]:
    """A measure as JSON has it, but for what is no finite number."""
    return asdict(estimate) | {"samples": samples, "of": of, "seed": seed}


def of_items(found: RowEvaluation | SequenceEvaluation) -> dict[str, dict[str, Any]]:
    """Each measure of rows or sequences with its interval, N and seed, by name."""
    return {
        name: said(each.estimate, each.samples, each.of, found.seed) for name, each in found.metrics.items()
    }


def record(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The measures for JSON, by name."""
    return {
        name: {**each, **{key: measures.number(each[key]) for key in ("value", "low", "high")}}
        for name, each in metrics.items()
    }


def lines(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """A line a measure, for a pipe."""
    for name, each in metrics.items():
        shown = ("" if each[key] is None else str(each[key]) for key in _CELLS)
        terminal.out("\t".join([_spoken(name), *shown]))


def notes(metrics: Mapping[str, Mapping[str, Any]], *, quiet: bool) -> None:
    """The measures beside another result."""
    for name, each in metrics.items():
        ends = "" if each["low"] is None else f" ({number(each['low'])} to {number(each['high'])})"
        reading = f"{number(each['value'])}{ends}, {each['samples']:,} {each['of']}"
        terminal.note(f"{_spoken(name)} {reading}", quiet=quiet)


def table(metrics: Mapping[str, Mapping[str, Any]], title: str, below: str) -> None:
    """The measures for reading. below: how the intervals came about."""
    terminal.out(title)
    rows = []
    for name, each in metrics.items():
        ends = "" if each["low"] is None else f"{number(each['low'])} to {number(each['high'])}"
        seed = "none" if each["seed"] is None else str(each["seed"])
        rows.append((_spoken(name), number(each["value"]), ends, f"{each['samples']:,} {each['of']}", seed))
    terminal.show_table(("", "value", "95% interval", "N", "seed"), rows, right=("value", "N", "seed"))
    terminal.out(below, style="dim")


def number(value: float) -> str:
    """With as many digits as are worth reading."""
    return f"{value:,.0f}" if 10_000 <= value < 1e15 else f"{value:.4f}" if value < 10_000 else f"{value:.3g}"


def _spoken(name: str) -> str:
    return name.replace("_", " ")
