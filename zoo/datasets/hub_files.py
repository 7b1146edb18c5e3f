"""Rows of a data set of the Hub as the files that readers of pictures, sound, tables, sequences and molecules take.

ZOO_HOME/datasets/KEY.zip has a file for each row's picture or recording, and captions.jsonl with the other columns;
KEY.csv has the columns of a table. Rows are written as they come, and only once for each commit of a data set.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from zoo import paths
from zoo.datasets import kept, token_cache
from zoo.datasets.hub_rows import Rows, RowSource, settle
from zoo.datasets.source import Source
from zoo.errors import DataError, DiskSpaceError
from zoo.os_words import reason

CAPTIONS = "captions.jsonl"


def as_files(source: Source, modality: str) -> Source:
    """The source with a path instead of a data set of the Hub.

    Raises HubError, OfflineError and MissingDependencyError as `zoo.datasets.hub_rows` does, DataError when the rows
    have nothing of the modality, DiskSpaceError when they cannot be stored.
    """
    settled = settle(source)
    is_table = modality in ("table", "molecule", "sequence")
    key = token_cache.key("files 1", *settled.identity, "table" if is_table else modality)
    path = paths.home() / "datasets" / f"{key}.{'csv' if is_table else 'zip'}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                _stored(path, settled, _table if is_table else _archive)
            kept.used(path)
    except OSError as error:
        raise DiskSpaceError(
            f"{path.parent} cannot be written: {reason(error)}",
            hint="ZOO_HOME names another folder for the zoo's own files",
        ) from None
    return replace(source, path=path, hub=None)


def _stored(path: Path, settled: RowSource, write: Callable[[Path, Rows], None]) -> None:
    aside = path.with_suffix(
        ".partial"
    )  # one left by a process that was killed is written over: the lock is ours
    try:
        write(aside, settled.rows())
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _archive(path: Path, rows: Rows) -> None:
    """A file a row, and what else the rows say of them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive, tempfile.TemporaryFile() as captions:
        for number, row in enumerate(rows):
            column = next((name for name, value in row.items() if isinstance(value, Mapping)), None)
            content = rows.file_bytes(row[column]) if column is not None else b""
            if not content:
                raise DataError(
                    f"{rows.source.name}: row {number + 1} has no file; its columns are {rows.named()}"
                )
            name = f"{number:08d}{_suffix(content)}"
            archive.writestr(name, content)
            captions.write(json.dumps({"file": name, **_said(rows, row)}).encode() + b"\n")
        captions.seek(0)
        with archive.open(CAPTIONS, "w") as member:
            shutil.copyfileobj(captions, member)


def _said(rows: Rows, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's plain values, those of classes by name. The first class is the category, which readers look for."""
    plain = {name: value for name, value in row.items() if isinstance(value, str | int | float)}
    named = {}
    for name, classes in rows.classes.items():
        number = plain.get(name)
        if isinstance(number, int) and 0 <= number < len(classes):  # -1 stands for a class that is not told
            named[name] = classes[number]
    first = next(iter(named.values()), plain.get("category", plain.get("label")))
    category = {} if first is None else {"category": str(first)}
    return {**plain, **named, **category}


def _suffix(content: bytes) -> str:
    """The usual ending of such a file's name; empty for a kind that no reader takes."""
    if content[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"WAVE": ".wav"}.get(content[8:12], "")
    begins = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"fLaC": ".flac", b"OggS": ".ogg"}
    return next((suffix for start, suffix in begins.items() if content.startswith(start)), "")


def _table(path: Path, rows: Rows) -> None:
    """A CSV of the columns that are no lists and no files."""
    plain = [name for name, kind in rows.columns.items() if kind]
    if not plain:
        raise DataError(f"{rows.source.name} has no column of plain values; it has {rows.named()}")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(plain)
        for row in rows:
            writer.writerow([row[name] for name in plain])
