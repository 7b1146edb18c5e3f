"""What `zoo score` and `zoo eval` share: numbers as cells and as JSON, a token's line, what is said beside them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo.text_safety import safe_json
from zoo_cli import terminal

if TYPE_CHECKING:
    from zoo.evaluation.text import TextScore
    from zoo.protocols import Tokenizer


def number(value: float | None) -> float | None:
    """For JSON, which has no word for what is infinite or not a number."""
    return value if value is not None and math.isfinite(value) else None


def criteria(network: Any, log_likelihood: float, count: int) -> dict[str, float]:
    """The information criteria that the network has a method for, lower is better; of `count` rows or frames."""
    methods = {name: getattr(network, name, None) for name in ("bic", "aic")}
    return {name: float(of(log_likelihood / count, count)) for name, of in methods.items() if callable(of)}


def criteria_told(found: Mapping[str, float]) -> str:
    """As words that a line goes on with."""
    return "".join(f", {name.upper()} {value:.3f}" for name, value in found.items())


def per_token(score: TextScore, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Each token of a text as JSON: its id, what it adds to the text, and its log-probability in nats."""
    from zoo.evaluation.text import token_texts

    ids = score.ids.tolist()
    rows = zip(ids, token_texts(tokenizer, ids), score.log_probs.tolist(), strict=True)
    return [{"token": token, "text": text, "log_prob": number(value)} for token, text, value in rows]


def token_lines(
    scores: Sequence[TextScore], labels: Sequence[str], tokenizer: Tokenizer
) -> Iterator[tuple[str, ...]]:
    """Columns of each token: its text's label, its id, its log-probability, and what it adds, quoted as in JSON."""
    for score, label in zip(scores, labels, strict=True):
        for row in per_token(score, tokenizer):
            value = "nan" if row["log_prob"] is None else f"{row['log_prob']:.6f}"
            yield label, str(row["token"]), value, safe_json(json.dumps(row["text"], ensure_ascii=False))


@contextmanager
def counting(*, quiet: bool) -> Iterator[Callable[[int], object] | None]:
    """The `report` that shows on a terminal how many tokens are done; None where nobody watches."""
    if quiet or not terminal.is_terminal(sys.stderr):
        yield None
        return
    try:
        yield lambda tokens: terminal.status(f"{tokens:,} tokens")
    finally:
        terminal.status("")


def warn_of_changes(scores: Sequence[TextScore], labels: Sequence[str]) -> None:
    """Say when the tokenizer changed texts: what it drops costs nothing, so bits per byte are too low."""
    changed = [label for score, label in zip(scores, labels, strict=True) if not score.exact]
    if changed:
        terminal.warn(
            f"the tokenizer changes {_some(changed, len(scores))}: scored is what it makes of the text, which"
            " bits per byte of other models cannot be held against"
        )


def warn_of_nan(scores: Sequence[TextScore], labels: Sequence[str]) -> bool:
    """Say which texts have no log-likelihood that is a number; returns whether there are any."""
    broken = [
        label for score, label in zip(scores, labels, strict=True) if not math.isfinite(score.log_likelihood)
    ]
    if broken:
        terminal.warn(
            f"the log-likelihood of {_some(broken, len(scores))} is no finite number: the weights are broken, or"
            " their dtype is too small for them (try --dtype float32)"
        )
    return bool(broken)


def _some(labels: Sequence[str], of: int) -> str:
    return labels[0] if of == 1 else f"{len(labels)} of {of} texts, the first {labels[0]},"
