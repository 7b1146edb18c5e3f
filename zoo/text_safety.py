"""Untrusted text made safe to show: prompts, model output, names, metadata and server messages.

A terminal obeys control characters (colours, cursor, clipboard, window title) and reorders text around bidirectional
ones, so a name or a sample could rewrite what a person reads. Nothing of either kind passes.
"""

from __future__ import annotations

import re

_LINES_AND_TABS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
_UNSAFE = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline: C0, DEL, C1
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, embeddings, overrides, isolates
    r"\u2028\u2029\ufff9-\ufffb"  # line and paragraph separators, interlinear annotation
)
_DROPPED = re.compile(f"[{_UNSAFE}]")
_ESCAPED = re.compile(f"[{_UNSAFE}\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")  # bytes of a command line that are no text; printing them raises


def safe_text(text: str, *, newlines: bool = False) -> str:
    """The text without control and bidirectional characters; it never raises and never grows.

    newlines: keep line feeds and tabs. Otherwise each run of line breaks and tabs becomes one space, so the result
    is one line. Dropping goes character by character, so text may be passed in pieces cut anywhere.
    """
    if not newlines:
        text = _LINES_AND_TABS.sub(" ", text)
    return _SURROGATES.sub("\ufffd", _DROPPED.sub("", text))


def safe_json(text: str) -> str:
    """JSON text with every unsafe character written as a \\u escape: the same value, and harmless to show."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
