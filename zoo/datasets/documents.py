"""Text documents, read again whenever they are asked for, in pieces: a document may be larger than memory."""

from __future__ import annotations

import codecs
import itertools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace

from zoo.datasets.source import Member, Source, unreadable
from zoo.errors import DataError

_BLOCK_BYTES = 2**20
_PIECE = 2**20  # characters


@dataclass(frozen=True)
class Document:
    """One text. content: the text itself, or the UTF-8 file it is in. start, end: the part meant, in characters."""

    name: str
    content: str | Member
    start: int = 0
    end: int | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.blocks())

    @property
    def characters(self) -> int:
        return sum(map(len, self.blocks()))

    def blocks(self) -> Iterator[str]:
        """The text in parts that fit into memory. Raises DataError when the file cannot be read as text."""
        at = 0
        for block in [self.content] if isinstance(self.content, str) else _decoded(self.content):
            end = len(block) if self.end is None else min(self.end - at, len(block))
            if part := block[max(0, self.start - at) : max(0, end)]:
                yield part
            at += len(block)
            if self.end is not None and at >= self.end:
                return

    def pieces(self) -> Iterator[str]:
        """The text in parts of about a million characters, each but the last cut where `is_cut` holds.

        Only a text without such a place is one piece, however long it is.
        """
        held = ""
        for block in self.blocks():
            searched = max(1, len(held) - 1)
            held += block
            if len(held) >= _PIECE and (at := _last_cut(held, searched)):
                yield held[:at]
                held = held[at:]
        if held:
            yield held

    def divided(self, share: float) -> tuple[Document, Document]:
        """The text before and after a line's end, the second with about this share of it. Raises DataError."""
        characters = self.characters
        at = self._line_end(round(characters * (1 - share)))
        if not 0 < at < characters:
            raise DataError(f"{self.name} has too few lines to hold out {share:.0%} of it")
        return replace(self, end=self.start + at), replace(self, start=self.start + at)

    def _line_end(self, limit: int) -> int:
        """Characters up to the last line's end before the limit; 0 when there is none."""
        at, found = 0, 0
        for block in self.blocks():
            place = block.rfind("\n", 0, max(0, limit - at))
            found = at + place + 1 if place >= 0 else found
            at += len(block)
            if at >= limit:
                break
        return found


def is_cut(text: str, at: int) -> bool:
    """Whether `at` follows a single line's end between two characters that are no blanks.

    There the pre-tokenizers of byte-pair vocabularies end a word, whether or not text follows.
    """
    return text[at - 1] == "\n" and not text[at - 2].isspace() and not text[at].isspace()


def _last_cut(text: str, first: int) -> int:
    """The last place to cut, looking from the end back to `first`; 0 when there is none."""
    at = len(text) - 1
    while (at := text.rfind("\n", first, at)) > 0:
        if is_cut(text, at + 1):
            return at + 1
    return 0


def _decoded(member: Member) -> Iterator[str]:
    """A file's characters, block by block."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    read, pending = 0, b""
    try:
        with member.open() as file:
            for block in itertools.chain(iter(lambda: file.read(_BLOCK_BYTES), b""), (b"",)):
                pending = decoder.getstate()[0]
                if text := decoder.decode(block, final=not block):
                    yield text
                read += len(block)
    except UnicodeDecodeError as error:
        at, byte = read - len(pending) + error.start, error.object[error.start]
        raise DataError(f"{member} is not UTF-8 text: byte {at} is 0x{byte:02x}") from None
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise unreadable(member, error) from None


def of_files(source: Source) -> tuple[Document, ...]:
    """A text file is one document; a folder or archive is one for each .txt file in it, in order of name.

    A document's name is its file's, without suffix. Raises DataError, also for a file that is not UTF-8.
    """
    found = tuple(Document(member.stem, member) for member in source.files((".txt",)))
    for document in found:
        for _ in document.blocks():  # a fault is told before anything is done with the text
            pass
    return found
