"""What a hidden Markov model has learned: how often, how long and with what each state shows itself.

Shapes: S states, V symbols, D columns.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import torch

from zoo.modality.description import Description
from zoo_classic import descriptions as say
from zoo_classic.emissions import Categorical, Poisson
from zoo_classic.gaussian_emissions import Gaussian
from zoo_classic.hmm import HMM

_SYMBOLS = 6  # shown of a state, and
_SEEN = 0.01  # only with at least this probability
_MOSTLY = 0.895  # of what a state emits: kinds are named until they make so much, which is shown as 90%
_FOLLOWING = 3  # next states shown
_DOUBLINGS = 60  # of the time that the chain is followed for its long run: 2^60 steps
_NAMES = {" ": "space", "\n": "newline", "\t": "tab"}
_VOWELS = "aeiou"


def describe(
    network: HMM, names: Sequence[str] = (), mean: Sequence[float] = (), scale: Sequence[float] = ()
) -> Description:
    """A row for each state, the most frequent first: its share of the time, mean stay, emissions, what follows.

    names: of the columns, or of the symbols. mean, scale: (D,), where frames were scaled for the network; see
    `zoo.family.Family`.
    """
    transition = network.transition.double().cpu()
    share = long_run(network.start.double().cpu(), transition)
    order = share.argsort(descending=True, stable=True).tolist()[: say.MOST_ROWS]
    stays = transition.diagonal().tolist()
    heads = ("state", "time", "mean stay")
    if isinstance(network.emissions, Categorical):
        columns, emitted = _symbols(network.emissions, names)
        of, shown = 0, 0
    else:
        columns, emitted, of = _values(network.emissions, share, names, mean, scale)
        columns, shown = say.unlike(columns, (*heads, "next")), len(columns)
    rows = tuple(
        (
            str(state),
            say.percent(float(share[state])),
            _stay(stays[state]),
            *emitted[state],
            _next(transition[state], state),
        )
        for state in order
    )
    numbers = heads if isinstance(network.emissions, Categorical) else (*heads, *columns)
    title = say.titled("states", len(order), len(transition), shown, of)
    return Description(title, (*heads, *columns, "next"), rows, numbers)


def long_run(start: torch.Tensor, transition: torch.Tensor) -> torch.Tensor:
    """The share of the time in each state, (S,), in the long run from `start` on.

    The stationary distribution, where there is one alone. Halfway between staying and going, the chain has the same
    ones and no periods, so that its powers, found by squaring, have a limit.
    """
    ahead = (transition + torch.eye(len(transition), dtype=transition.dtype)) / 2
    for _ in range(_DOUBLINGS):
        further = ahead @ ahead
        further /= further.sum(1, keepdim=True)
        settled = torch.equal(further, ahead)
        ahead = further
        if settled:
            break
    return start @ ahead


def _stay(probability: float) -> str:
    """Frames that a state lasts on average, when it is left with 1 - probability after each."""
    return f"{1 / (1 - probability):.3g}" if probability < 1 - 1e-12 else "for good"


def _next(probabilities: torch.Tensor, state: int) -> str:
    """The states that follow most often when this one is left, and how often they do."""
    others = probabilities.clone()
    others[state] = 0
    if not others.sum() > 0:
        return ""
    others /= others.sum()
    found = others.argsort(descending=True, stable=True)[:_FOLLOWING].tolist()
    return ", ".join(f"{other} {say.percent(float(others[other]))}" for other in found if others[other] > 0)


def _symbols(emissions: Categorical, names: Sequence[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Headings, and each state's cells: the likeliest symbols, and of what kind they are where they are letters."""
    table = emissions.probabilities.double().cpu()
    symbols = say.named(names, table.shape[1])
    shown = [_shown(symbol) for symbol in symbols]
    cells = []
    for row in table:
        likely = row.argsort(descending=True, stable=True)[:_SYMBOLS].tolist()
        kept = [number for number in likely if row[number] >= _SEEN] or likely[:1]
        cells.append(", ".join(f"{shown[number]} {say.percent(float(row[number]))}" for number in kept))
    kinds = [kind_of(symbol) for symbol in symbols]
    if not _are_letters(symbols) or not {"vowels", "consonants"} <= set(kinds) or "" in kinds:
        return ["emits"], [(cell,) for cell in cells]
    return ["emits", "kind"], [
        (cell, _kind(kinds, row.tolist())) for cell, row in zip(cells, table, strict=True)
    ]


def _are_letters(symbols: Sequence[str]) -> bool:
    """Whether symbols are those of a language, by its blanks or vowels; A, C, G and T are none of these."""
    return " " in symbols or set(_VOWELS) <= {symbol.lower() for symbol in symbols}


def kind_of(symbol: str) -> str:
    """Of what kind a character is; empty for what is not one character."""
    if len(symbol) != 1:
        return ""
    base = unicodedata.normalize("NFD", symbol)[0].lower()
    if base.isalpha():
        return "vowels" if base in _VOWELS else "consonants"
    if base.isspace():
        return "between words"
    return "digits" if base.isdigit() else "punctuation"


def _kind(kinds: Sequence[str], probabilities: Sequence[float]) -> str:
    """The kinds that a state emits, the likeliest first, with their shares, until they are nearly all."""
    shares: dict[str, float] = {}
    for kind, probability in zip(kinds, probabilities, strict=True):
        shares[kind] = shares.get(kind, 0.0) + probability
    said, told = [], 0.0
    for kind, share in sorted(shares.items(), key=lambda item: -item[1]):
        if told < _MOSTLY:
            said.append(f"{kind} {say.percent(share)}")
            told += share
    return ", ".join(said)


def _shown(symbol: str) -> str:
    """A symbol that can be told from the words around it."""
    if symbol in _NAMES:
        return _NAMES[symbol]
    return symbol if symbol.isalnum() else f'"{symbol}"'


def _values(
    emissions: Gaussian | Poisson,
    share: torch.Tensor,
    names: Sequence[str],
    mean: Sequence[float],
    scale: Sequence[float],
) -> tuple[list[str], list[tuple[str, ...]], int]:
    """Headings, each state's means and standard deviations of these columns, and how many columns there are."""
    means, deviations = _spreads(emissions)
    chosen = say.telling(share, means, deviations)
    means, deviations = say.in_units(means, deviations, mean, scale)
    every = say.named(names, means.shape[1])
    cells = [
        tuple(say.spread(float(row[column]), float(about[column])) for column in chosen)
        for row, about in zip(means, deviations, strict=True)
    ]
    return [every[column] for column in chosen], cells, len(every)


def _spreads(emissions: Gaussian | Poisson) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of what each state emits, both (S, D); of mixed Gaussians as a whole."""
    if isinstance(emissions, Poisson):
        rates = emissions.rates.double().cpu()
        return rates, rates.sqrt()
    means, weights = emissions.means.double().cpu(), emissions.weights.double().cpu()[:, :, None]
    covariances = emissions.covariances.double().cpu()
    if emissions.covariance == "spherical":
        variances = covariances[:, :, None]
    elif emissions.covariance == "diagonal":
        variances = covariances
    else:
        variances = covariances.diagonal(dim1=-2, dim2=-1)
    middle = (weights * means).sum(1)
    squares = (weights * (variances + (means - middle[:, None]).square())).sum(1)
    return middle, squares.clamp_min(0).sqrt()
