"""What a person means by --data D: a built-in set, a file or folder, or a data set of the Hub.

shakespeare             a built-in set; ./shakespeare is the folder of that name
works/, drums.zip       the files of a folder or zip archive, or one file
hf:user/name[@revision][:split]
"""

from __future__ import annotations

import difflib
import functools
import re
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from zoo import bounds
from zoo.datasets.builtin import BUILT_IN, BuiltIn
from zoo.errors import DataError
from zoo.os_words import reason

HUB_PREFIX = "hf:"
_ON_HUB = re.compile(
    r"(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:/(?P<config>[\w.+-]+))?(?:@(?P<revision>[\w./-]+))?(?::(?P<split>[\w.-]+))?",
    re.ASCII,
)

_DAMAGED = (OSError, zipfile.BadZipFile, KeyError, RuntimeError, zlib.error)
"""What zipfile raises for a file or an archive that it cannot read; RuntimeError for one that is encrypted."""


@dataclass(frozen=True)
class HubData:
    """A data set of the Hub. revision: a commit, branch or tag; "" is the newest. split: such as "train".

    config: which of several sets in one repo; "" is the only one, or the one its authors call the default.
    """

    repo: str
    revision: str = ""
    split: str = "train"
    config: str = ""


@dataclass(frozen=True)
class Member:
    """One file of a source. name: its path in the folder or archive, with "/". path: the file, or the archive."""

    name: str
    path: Path
    archived: bool = False

    @property
    def stem(self) -> str:
        """The name without its suffix, and without the .gz of what is packed."""
        return str(PurePosixPath(self.name.removesuffix(".gz")).with_suffix(""))

    def open(self) -> IO[bytes]:
        """The file's bytes as a stream. Raises DataError when it cannot be opened, or unpacks to far too much."""
        try:
            if self.archived:
                entry = self._entry()
                bounds.require_moderate(str(self), entry.compress_size, entry.file_size)
                return self._archive().open(entry)
            return bounds.regular(self.path).open("rb")
        except _DAMAGED as error:
            raise unreadable(self, error) from None

    def read(self) -> bytes:
        """All of the file's bytes. Raises DataError when they cannot be read, or do not fit into memory."""
        try:
            with self.open() as file:
                size = self._entry().file_size if self.archived else self.path.stat().st_size
                bounds.require_memory(str(self), size)
                return file.read()
        except _DAMAGED as error:
            raise unreadable(self, error) from None

    def _archive(self) -> zipfile.ZipFile:
        return _archive(self.path, self.path.stat().st_mtime_ns)

    def _entry(self) -> zipfile.ZipInfo:
        """What the archive says of the file; no more than it says is ever unpacked."""
        return self._archive().getinfo(self.name)

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.archived else str(self.path)


@functools.lru_cache(maxsize=2)
def _archive(path: Path, changed: int) -> zipfile.ZipFile:  # noqa: ARG001 - another time of change, another archive
    """An archive kept open: to read its list of files anew for each of them takes the square of their number."""
    return zipfile.ZipFile(path)


def unreadable(member: Member, error: Exception) -> DataError:
    """The error for a file that cannot be read, with the system's reason."""
    return DataError(f"{member} cannot be read: {reason(error)}")


@dataclass(frozen=True)
class Source:
    """Where data is, before it is read as anything.

    name: what a recipe stores; reading it again means the same data. Built-in and Hub names are as typed, paths are
    absolute. Exactly one of path and hub is set; path is a built-in set's file too. offline: whether the Hub may not
    be asked.
    """

    name: str
    path: Path | None = None
    built_in: BuiltIn | None = None
    hub: HubData | None = None
    offline: bool = False

    def files(self, suffixes: Collection[str] = ()) -> tuple[Member, ...]:
        """The files of a folder or zip archive, at any depth, in order of name; a single file is its only one.

        suffixes: such as (".png", ".jpg"), in small letters; none means all. They choose among the files of a folder
        or an archive; a single file is taken as it is. Hidden files are left out.
        Raises DataError when there is none, or for a data set of the Hub, whose rows are no files.
        """
        if self.path is None:
            raise DataError(f"{self.name} has rows, not files")
        if self.path.is_dir():
            named = ((path.relative_to(self.path).as_posix(), path) for path in self.path.rglob("*"))
            found = [Member(name, path) for name, path in named if path.is_file()]
        elif self.path.suffix.lower() == ".zip":
            found = [Member(name, self.path, archived=True) for name in _archived(self.path)]
        else:
            return (Member(self.path.name, self.path),)
        chosen = [member for member in found if _is_chosen(member.name, suffixes)]
        if not chosen:
            raise DataError(f"{self.path} has no {' or '.join(suffixes) or 'visible'} file")
        return tuple(sorted(chosen, key=lambda member: member.name))


def _archived(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(bounds.regular(path)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            bounds.require_moderate(str(path), path.stat().st_size, sum(entry.file_size for entry in entries))
            return [entry.filename for entry in entries]
    except (OSError, zipfile.BadZipFile) as error:
        raise unreadable(Member(path.name, path), error) from None


def _is_chosen(name: str, suffixes: Collection[str]) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and (not suffixes or path.name.lower().endswith(tuple(suffixes)))


def find(text: str, *, offline: bool = False) -> Source:
    """The source that a person names.

    Built-in names come before files and folders of the same name; write ./name for those.
    Raises DataError when there is none, naming the nearest built-in set, or when a built-in set's file is damaged.
    """
    if text.startswith(HUB_PREFIX):
        return Source(text, hub=_on_hub(text), offline=offline)
    if text in BUILT_IN:
        return Source(text, path=BUILT_IN[text].path(), built_in=BUILT_IN[text], offline=offline)
    path = Path(text).expanduser()
    if not text or not path.exists():
        raise _unknown(text)
    if not path.is_dir():
        try:
            bounds.regular(path)
        except OSError as error:
            raise DataError(
                f"{text} cannot be read: {reason(error)}", hint="write what it gives into a file first"
            ) from None
    return Source(str(path.absolute()), path=path.absolute(), offline=offline)


def _on_hub(text: str) -> HubData:
    found = _ON_HUB.fullmatch(text.removeprefix(HUB_PREFIX))
    if found is None:
        raise DataError(f"{text!r} is not written as hf:user/name[/config][@revision][:split]")
    return HubData(found["repo"], found["revision"] or "", found["split"] or "train", found["config"] or "")


def _unknown(text: str) -> DataError:
    if text.startswith((".", "/", "~")):
        return DataError(f"there is no file or folder {text}")
    near = difflib.get_close_matches(text, BUILT_IN, n=1)
    return DataError(
        f"there is no built-in data, file or folder {text!r}; built in are {', '.join(BUILT_IN)}",
        hint=f"did you mean {near[0]}?" if near else "a data set of the Hub is written hf:user/name",
    )
