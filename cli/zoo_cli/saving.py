"""Samples saved by `-o`: FILE.jsonl, or a folder with one text file a sample and samples.jsonl beside them.

Nothing stands under its final name before it is whole. An interrupted run keeps the samples that were whole; a run
that ends before its first sample leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from zoo.errors import UsageError
from zoo.os_words import naming, reason
from zoo_cli import interrupts
from zoo_cli.interrupts import StoppedError
from zoo_cli.measures import number

if TYPE_CHECKING:
    from zoo.modality.text import TextPiece, TextSample, TokenProbability
    from zoo.model import Model

LINES = "samples.jsonl"

_TEXT_FILE = re.compile(r"sample-\d{6,}\.txt")


def record(sample: TextSample) -> dict[str, Any]:
    """A sample as JSON: `text` is the continuation alone, `tokens` its token ids."""
    told: dict[str, Any] = {
        "index": sample.index,
        "seed": sample.seed,
        "prompt": sample.prompt,
        "text": sample.text,
        "tokens": list(sample.tokens),
        "finish": sample.finish,
    }
    if sample.per_token is None:
        return told
    places = [_probability(place) | {"top": list(map(_probability, place.top))} for place in sample.per_token]
    return told | {"per_token": places}


def _probability(said: TokenProbability) -> dict[str, Any]:
    return {"token": said.token, "text": said.text, "log_prob": number(said.log_prob)}


def saved(path: Path, *, replace: bool, with_prompt: bool = True) -> SavedFile | SavedFolder:
    """Where the samples of `-o path` go; nothing is written yet. with_prompt: whether text files begin with it.

    Raises UsageError for a path that is unfit, cannot be written, or is taken and must stay.
    """
    path = path.expanduser()
    lines = path.suffix == ".jsonl"
    try:
        (_check_file if lines else _check_folder)(path, replace=replace)
        _check_writable(path)
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {reason(error)}") from None
    path = path.resolve()  # "." has no name to put a part beside
    return SavedFile(path) if lines else SavedFolder(path, with_prompt=with_prompt)


def lines_file(path: Path, *, replace: bool) -> Path:
    """The file that `write_lines` will write; nothing is written yet.

    Raises UsageError for a path that is unfit, cannot be written, or is taken and must stay.
    """
    path = path.expanduser()
    if path.suffix != ".jsonl":
        raise UsageError(f"cannot write lines to {path}", hint="-o takes a file that ends in .jsonl")
    check_file(path, replace=replace)
    return path.resolve()


def check_file(path: Path, *, replace: bool) -> None:
    """Raises UsageError for a file that cannot be written, or is taken and must stay."""
    try:
        _check_file(path, replace=replace)
        _check_writable(path)
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {reason(error)}") from None


def interrupted(done: int, count: int, output: Path | None, what: str = "sample") -> StoppedError:
    """The end of a command that Ctrl-C came upon, which says what is saved. output: None where nothing is to be."""
    if output is None:
        return StoppedError()
    samples = f"{what}{'s' * (count != 1)}"
    kept = (
        f"{done:,} of {count:,} {samples} saved to {output}" if done else f"no {what} was saved to {output}"
    )
    return StoppedError(f"{interrupts.SAID}; {kept}")


def title(model: Model) -> str:
    """What a picture says that it is of: a registered model's name, of a folder not all its path."""
    return model.name if model.entry else Path(model.name).name


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, all of them or no file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        with part.open("w", encoding="utf-8") as lines:
            for said in records:
                lines.write(json.dumps(said, ensure_ascii=False) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _check_file(path: Path, *, replace: bool) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name the folder without .jsonl, or another file")
    if path.exists() and not replace:
        raise UsageError(f"{path} exists already", hint="add --yes to replace it, or name another file")


def _check_folder(path: Path, *, replace: bool) -> None:
    if not path.is_dir() and (path.suffix or path.exists()):
        raise UsageError(
            f"cannot write samples to {path}", hint="-o takes a file that ends in .jsonl, or a folder"
        )
    present = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    others = [name for name in present if name != LINES and not _TEXT_FILE.fullmatch(name)]
    if others:
        raise UsageError(f"{path} holds other files than samples: {min(others)}", hint="name a new folder")
    if present and not replace:
        raise UsageError(
            f"{path} holds samples already", hint="add --yes to replace them, or name a new folder"
        )


def _check_writable(path: Path) -> None:
    """Write a nameless file where the samples will be. Raises OSError."""
    import tempfile

    place = path if path.is_dir() else path.parent
    while not place.exists():
        place = place.parent
    with tempfile.TemporaryFile(dir=place):
        pass


def _part(path: Path) -> Path:
    """What is written until it is whole, on the same disk as the final name, so that moving it there is quick.

    In a folder that is there already, since it may be a disk of its own; beside any other name.
    """
    name = f".{path.name}.{os.getpid()}.part"
    return path / name if path.is_dir() else path.with_name(name)


class SavedFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = _part(path)
        self._lines: IO[str] | None = None

    def take(self, piece: TextPiece) -> None:
        if piece.sample is not None:
            with naming(self.path), _removed_on_failure(self._part):
                if self._lines is None:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    self._lines = self._part.open("w", encoding="utf-8")
                _write_line(self._lines, piece.sample)

    def close(self) -> None:
        if self._lines is None or _was_removed(self._part, self._lines):
            return
        with naming(self.path), _removed_on_failure(self._part):
            _close(self._lines)
            self._part.replace(self.path)


class SavedFolder:
    def __init__(self, path: Path, *, with_prompt: bool) -> None:
        self.path = path
        self._with_prompt = with_prompt
        self._part = _part(path)
        self._lines: IO[str] | None = None

    def take(self, piece: TextPiece) -> None:
        sample = piece.sample
        if sample is None:
            return
        with naming(self.path), _removed_on_failure(self._part):
            if self._lines is None:
                self._part.mkdir(parents=True)
                self._lines = (self._part / LINES).open("w", encoding="utf-8")
            _write_line(self._lines, sample)
            text = (sample.prompt if self._with_prompt else "") + sample.text
            (self._part / f"sample-{sample.index:06d}.txt").write_text(text, encoding="utf-8", newline="")

    def close(self) -> None:
        if self._lines is None or _was_removed(self._part, self._lines):
            return
        with naming(self.path), _removed_on_failure(self._part):
            _close(self._lines)
        if self._part.parent != self.path:
            self._part.replace(self.path)
            return
        for old in self.path.iterdir():  # the folder itself stays: somebody may be in it
            if old != self._part:
                old.unlink()
        for new in sorted(self._part.iterdir()):  # the lines last
            new.replace(self.path / new.name)
        self._part.rmdir()


def _write_line(lines: IO[str], sample: TextSample) -> None:
    lines.write(json.dumps(record(sample), ensure_ascii=False) + "\n")
    lines.flush()


@contextmanager
def _removed_on_failure(part: Path) -> Iterator[None]:
    """On a full disk, leave no part that takes more of it."""
    try:
        yield
    except OSError:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
        raise


def _was_removed(part: Path, lines: IO[str]) -> bool:
    """Whether a write failed before, so that there is nothing to keep; the lines are then closed."""
    if part.exists():
        return False
    with suppress(OSError):
        lines.close()
    return True


def _close(lines: IO[str]) -> None:
    with lines:
        lines.flush()
        os.fsync(lines.fileno())
