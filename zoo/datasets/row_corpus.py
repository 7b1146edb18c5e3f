"""Documents that are a column of rows, such as a data set of the Hub: streamed, never all of them in memory.

How many there are is not known before all were seen, so each is held out by a draw of its own. What is held out for
measuring is kept beside the token cache: a second run asks for no row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.datasets import kept, token_cache
from zoo.datasets.documents import Document
from zoo.datasets.hub_rows import RowSource
from zoo.datasets.previews import write
from zoo.datasets.text import TextRules
from zoo.errors import DataError, UsageError
from zoo.noise import Noise
from zoo.text_safety import safe_text

_DRAWN_AT_ONCE = 4096


@dataclass(frozen=True)
class _Seen:
    """What going through all rows has shown. texts: those to measure on."""

    documents: int
    held_out: int
    texts: list[str]


class RowCorpus:
    """A `zoo.datasets.corpus.Corpus` of rows."""

    def __init__(self, source: RowSource, rules: TextRules, seed: int) -> None:
        """Raises UsageError for rules that rows cannot follow."""
        if rules.held_out:
            raise UsageError(
                "held_out names documents, but rows have no names", hint="use data.held_out_share"
            )
        self._source, self._rules, self._seed = source, rules, seed
        said = (source.identity, rules.column, rules.documents, rules.held_out_share, seed)
        self._digest = token_cache.key("rows 1", repr(said))
        self._seen: _Seen | None = None

    def train(self) -> Iterator[Document]:
        rows = self._source.rows()
        column = rows.text_column(self._rules.column)
        count, held_out, texts, room = 0, 0, [], self._rules.held_out_characters
        texts_of = (
            text for text in (row[column] for row in rows) if text is not None
        )  # a null is no document
        for count, (text, is_held_out) in enumerate(zip(texts_of, self._held_out(), strict=False), start=1):
            if not isinstance(text, str):
                raise DataError(
                    f"{rows.source.name}: column {safe_text(column)} has {type(text).__name__}, not text"
                )
            if is_held_out:
                held_out += 1
                if room:
                    texts.append(text[:room])
                    room -= len(texts[-1])
            else:
                yield Document(str(count - 1), text)
            if count == self._rules.documents:
                break
        if count == held_out:
            raise DataError(f"{self._source.source.name}: of {count} rows none is left to train on")
        self._seen = _Seen(count, held_out, texts)
        _write(self._place(), self._seen)

    def measured(self) -> list[str]:
        if self._known() is None:
            for _ in self.train():
                pass
        assert self._seen is not None
        return self._seen.texts

    def digest(self) -> str:
        """Of what decides the documents: the data set's commit, or the file's content, and the rules."""
        return self._digest

    def summary(self) -> str:
        if (seen := self._known()) is None:
            source = self._source.source
            return f"documents of {source.path.name if source.path else source.name}"
        commit = f", commit {self._source.content}" if self._source.source.hub else ""  # it can be pinned
        return f"{seen.documents:,} documents, {seen.held_out:,} held out{commit}"

    def _known(self) -> _Seen | None:
        """What is known of the rows, perhaps since another process went through them."""
        if self._seen is None:
            self._seen = _read(self._place())
        return self._seen

    def _held_out(self) -> Iterator[bool]:
        draws = Noise(self._seed).rows(1, "held out")
        while True:
            yield from (draws.uniform(_DRAWN_AT_ONCE)[0] < self._rules.held_out_share).tolist()

    def _place(self) -> Path:
        key = token_cache.key("held out 1", self._digest, str(self._rules.held_out_characters))
        return token_cache.folder() / f"{key}.json"


def _read(path: Path) -> _Seen | None:
    """What was written; None when it was not, or is not whole."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        kept.used(path)
        return _Seen(int(said["documents"]), int(said["held_out"]), [str(text) for text in said["texts"]])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, seen: _Seen) -> None:
    said = {"documents": seen.documents, "held_out": seen.held_out, "texts": seen.texts}
    with token_cache.writing():
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps(said).encode())
