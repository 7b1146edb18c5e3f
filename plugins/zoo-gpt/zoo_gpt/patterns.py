"""Which regular expressions of a stranger are looked for in time linear in the text, by their form alone.

The package `tokenizers` searches by backtracking (Oniguruma), where an unlucky pattern takes the square of the text,
or forever. An alternative is accepted when it has a few characters or classes, each perhaps optional or counted, then
at most one that repeats without end, then only what may be absent: nothing after the repetition can fail, so nothing
is tried twice. How many ways there are to match what comes before it, for all alternatives together, is limited: so
often may one place of the text be tried. Other forms are accepted where they are known to be linear.
"""

from __future__ import annotations

import math
import re

_CHARACTER = r"[^\\|()\[\]{}*+?.^$]|\\(?:[rntfv]|[^\w\s]|u[0-9A-Fa-f]{4}|x\{[0-9A-Fa-f]{1,6}\})"
_CLASS = r"\.|\\[sSdDwW]|\\[pP]\{\^?\w+\}|\[\^?(?:[^\[\]\\]|\\.(?:\{\^?\w+\})?)+\]"
_WORD = r"[^|()\\{}*+?.^$]+"
_GROUP = rf"\(\?i?:{_WORD}(?:\|{_WORD})*\)"  # of words without repetition, such as (?i:'s|'t|'re)
_TIMES = r"[*+?]|\{[1-9](?:,[1-9])?\}"

_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_KNOWN = (
    r"\s*[\r\n]+|\s+(?!\S)|\s+",  # what the first gives up is taken by the others at once
    r"\s+(?!\S)",
    *(
        f"{_BEFORE}{_UPPER}*{_LOWER}+{after}|{_BEFORE}{_UPPER}+{_LOWER}*{after}"  # the same, of capitals
        for after in (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "")
    ),
    r" ?[^(\s|[.,!?…。，、।۔،])]+",  # a class in a class
)
_PIECE = re.compile(
    rf"(?P<known>{'|'.join(map(re.escape, _KNOWN))})"
    rf"|(?P<item>{_GROUP}|{_CLASS}|{_CHARACTER})(?P<times>{_TIMES})?"
    r"|(?P<next>\|)"
)
_MOST_CHARACTERS = 10_000  # of a pattern
_MOST_ITEMS = 32  # of an alternative, before what repeats
_MOST_CHOICES = 3  # of these, which are optional or counted
_MOST_TRIES = (
    256  # of all alternatives at one place of the text: ways to match what comes before the repetition
)


def is_linear(pattern: str) -> bool:
    """Whether a pattern never matches nothing and is found in linear time, as its form shows."""
    if len(pattern) > _MOST_CHARACTERS:
        return False
    at = 0
    alternatives: list[list[tuple[str, int]]] = [[]]
    while at < len(pattern):
        piece = _PIECE.match(pattern, at)
        if piece is None:
            return False
        if piece["next"]:
            alternatives.append([])
        else:
            times = "known" if piece["known"] else piece["times"] or ""
            alternatives[-1].append((times, _ways(piece["item"] or "", times)))
        at = piece.end()
    return all(map(_is_sound, alternatives)) and sum(map(_tries, alternatives)) <= _MOST_TRIES


def _ways(item: str, times: str) -> int:
    """How many ways there are to match an item: the words of a group, and how often it may be there."""
    words = 1 + item.count("|") if item.startswith("(") else 1
    low, _, high = times.strip("{}").partition(",")
    if times == "?":
        return 1 + words
    if not low.isdigit():
        return words
    return sum(words**count for count in range(int(low), int(high or low) + 1))


def _tries(alternative: list[tuple[str, int]]) -> int:
    return math.prod(ways for _, ways in _until_endless(alternative))


def _until_endless(alternative: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """The items up to the first that repeats without end; what comes after it cannot fail, so it is tried once."""
    ends = (at for at, (times, _) in enumerate(alternative) if times in ("*", "+"))
    return alternative[: next(ends, len(alternative)) + 1]


def _is_sound(alternative: list[tuple[str, int]]) -> bool:
    """Whether an alternative cannot match nothing, and nothing after its endless repetition can fail."""
    times = [said for said, _ in alternative]
    if "known" in times:
        return len(times) == 1
    first = times[: len(_until_endless(alternative))]
    return (
        any(said not in ("*", "?") for said in first)
        and len(first) <= _MOST_ITEMS
        and sum(said not in ("", "*", "+") for said in first) <= _MOST_CHOICES
        and all(said in ("*", "?") for said in times[len(first) :])
    )
