"""Samples saved by `-o`: FILE.jsonl, or a folder with one text file a sample and samples.jsonl beside them.

Nothing stands under the final name before it is whole. An interrupted run keeps the samples that were whole; a run
that ends before its first sample leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.modality.text import TextPiece, TextSample

LINES = "samples.jsonl"

_TEXT_FILE = re.compile(r"sample-\d{6,}\.txt")


def record(sample: TextSample) -> dict[str, Any]:
    """A sample as JSON: `text` is the continuation alone, `tokens` its token ids."""
    return {
        "index": sample.index,
        "seed": sample.seed,
        "prompt": sample.prompt,
        "text": sample.text,
        "tokens": list(sample.tokens),
        "finish": sample.finish,
    }


def saved(path: Path, *, replace: bool) -> SavedFile | SavedFolder:
    """Where the samples of `-o path` go. Raises UsageError for an unfit path, or one that is taken and must stay."""
    path = path.expanduser()
    if path.suffix == ".jsonl":
        _check_file(path, replace=replace)
        return SavedFile(path)
    _check_folder(path, replace=replace)
    return SavedFolder(path)


def _check_file(path: Path, *, replace: bool) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name the folder without .jsonl, or another file")
    if path.exists() and not replace:
        raise UsageError(f"{path} exists already", hint="add --yes to replace it, or name another file")


def _check_folder(path: Path, *, replace: bool) -> None:
    if path.suffix or path.is_file():
        raise UsageError(
            f"cannot write samples to {path}", hint="-o takes a file that ends in .jsonl, or a folder"
        )
    present = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    if any(name != LINES and not _TEXT_FILE.fullmatch(name) for name in present):
        raise UsageError(f"{path} holds other files than samples", hint="name a new folder")
    if present and not replace:
        raise UsageError(
            f"{path} holds samples already", hint="add --yes to replace them, or name a new folder"
        )


def _part(path: Path) -> Path:
    """What is written until it is whole; beside the final name, so that moving it there is one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


class SavedFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: IO[str] | None = None

    def take(self, piece: TextPiece) -> None:
        if piece.sample is not None:
            self._lines = self._lines or _part(self.path).open("w", encoding="utf-8")
            _write_line(self._lines, piece.sample)

    def close(self) -> None:
        if self._lines is not None:
            _close(self._lines)
            _part(self.path).replace(self.path)


class SavedFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: IO[str] | None = None

    def take(self, piece: TextPiece) -> None:
        sample = piece.sample
        if sample is None:
            return
        part = _part(self.path)
        if self._lines is None:
            part.mkdir()
            self._lines = (part / LINES).open("w", encoding="utf-8")
        _write_line(self._lines, sample)
        text = sample.prompt + sample.text
        (part / f"sample-{sample.index:06d}.txt").write_text(text, encoding="utf-8", newline="")

    def close(self) -> None:
        if self._lines is None:
            return
        _close(self._lines)
        if self.path.is_dir():
            for old in self.path.iterdir():
                old.unlink()
            self.path.rmdir()
        _part(self.path).replace(self.path)


def _write_line(lines: IO[str], sample: TextSample) -> None:
    lines.write(json.dumps(record(sample), ensure_ascii=False) + "\n")
    lines.flush()


def _close(lines: IO[str]) -> None:
    lines.flush()
    os.fsync(lines.fileno())
    lines.close()
