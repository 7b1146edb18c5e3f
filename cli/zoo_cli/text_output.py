"""How text samples are shown: as they arrive for a person or a pipe, or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from zoo_cli import interrupts, terminal
from zoo_cli.saving import record

if TYPE_CHECKING:
    from zoo.modality.text import TextPiece


class Output(Protocol):
    """Takes the pieces of one sample after the other. `close` is called however sampling ends, perhaps early."""

    def take(self, piece: TextPiece) -> None: ...

    def close(self) -> None: ...


def send(pieces: Iterable[TextPiece], start: int, outputs: Iterable[Output]) -> None:
    """Send the pieces to every output, sample by sample, and close the outputs in any case."""
    with interrupts.keeping():
        try:
            for piece in in_order(pieces, start):
                for output in outputs:
                    output.take(piece)
        finally:
            for output in outputs:
                output.close()


def in_order(pieces: Iterable[TextPiece], start: int) -> Iterator[TextPiece]:
    """The pieces of sample `start`, then of the next, ...: those that arrive before their turn wait."""
    waiting: dict[int, list[TextPiece]] = {}
    following = start
    for arrived in pieces:
        waiting.setdefault(arrived.index, []).append(arrived)
        while following in waiting:
            turn = waiting.pop(following)
            yield from turn
            if turn[-1].sample is None:
                break
            following += 1


class Reading:
    """Prompt and continuation as a person reads them, on standard output as they arrive."""

    def __init__(self, prompt: str, *, headers: bool) -> None:
        self._prompt = prompt
        self._headers = headers
        self._index: int | None = None
        self._at_line_start = True

    def take(self, piece: TextPiece) -> None:
        if piece.index != self._index:
            self._index = piece.index
            if self._headers:
                terminal.out(f"--- sample {piece.index} ---", style="dim")
            self._write(self._prompt, style="bold")
        self._write(piece.text)
        if piece.sample is not None:
            self.close()

    def _write(self, text: str, style: str = "") -> None:
        if text:
            terminal.out(text, end="", style=style)
            self._at_line_start = text.endswith("\n")

    def close(self) -> None:
        """End the line, so that what comes next starts at the left."""
        if not self._at_line_start:
            terminal.out()
            self._at_line_start = True


class Counter:
    """How many samples are whole, on standard error."""

    def __init__(self, count: int) -> None:
        self._done, self._count = 0, count

    def take(self, piece: TextPiece) -> None:
        if piece.sample is not None:
            self._done += 1
            terminal.status(f"{self._done} of {self._count} samples")

    def close(self) -> None:
        terminal.status("")


class Tally:
    """Counts the samples that are whole and that every output before it has taken."""

    def __init__(self) -> None:
        self.samples = 0

    def take(self, piece: TextPiece) -> None:
        self.samples += piece.sample is not None

    def close(self) -> None:
        """Nothing is open."""


class JsonLines:
    """One JSON object a sample on standard output, each as soon as its sample is whole."""

    def take(self, piece: TextPiece) -> None:
        if piece.sample is not None:
            terminal.out_json(record(piece.sample))

    def close(self) -> None:
        """Nothing is open."""
