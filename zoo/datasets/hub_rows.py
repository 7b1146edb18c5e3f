"""Rows of a data set of the Hub, or of a file of rows, streamed through the package `datasets`.

Rows come one at a time, in the order of the files; no code of the data set's authors is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo import bounds, paths
from zoo.datasets import kept
from zoo.datasets.previews import write
from zoo.datasets.source import HubData, Source
from zoo.errors import DataError, HubError, MissingDependencyError, OfflineError, ZooError
from zoo.os_words import reason
from zoo.text_safety import safe_text
from zoo.weights import network

ROW_FILES = {".jsonl": "json", ".parquet": "parquet"}
"""Suffixes of files of rows, and what `datasets` calls their format."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST_SHOWN = 300  # characters of what the package says


@dataclass(frozen=True)
class RowSource:
    """Where rows come from, settled: a commit of a data set, or a file as it is now.

    content: what decides the rows, as text: the commit, or the file's sha256.
    """

    source: Source
    content: str

    @property
    def identity(self) -> tuple[str, ...]:
        """What two sources with the same rows have in common."""
        hub = self.source.hub
        return ("file", self.content) if hub is None else (hub.repo, hub.config, hub.split, self.content)

    def rows(self) -> Rows:
        """The rows, from the first on. Raises OfflineError when the Hub may not be asked; see also `settle`."""
        datasets = _datasets()
        hub, path = self.source.hub, self.source.path
        with _faults_told(self.source):
            if hub is None:
                assert path is not None
                kind = ROW_FILES[path.suffix.lower()]
                found = datasets.load_dataset(kind, data_files=str(path), split="train", streaming=True)
            elif _is_offline(self.source):
                raise OfflineError(
                    f"{self.source.name} is streamed from the Hub, but the network may not be used",
                    hint="text that was trained on once is in the token cache; other rows are not kept",
                )
            else:  # the prefix says that no local folder of that name is meant
                name, config = f"hf://datasets/{hub.repo}", hub.config or None
                found = datasets.load_dataset(
                    name, config, revision=self.content, split=hub.split, streaming=True
                )
            if found.features is None:  # a format that does not say them, such as CSV
                found = found._resolve_features()
            found = found.decode(enable=False)
            kinds = _without_codecs(datasets, found.features)
            found = found.cast(datasets.Features(kinds))
        plain = {name: kind for name, kind in kinds.items() if isinstance(kind, datasets.Value)}
        classes = {name: tuple(kind.names) for name, kind in kinds.items() if hasattr(kind, "names")}
        columns = {name: plain[name].dtype if name in plain else "" for name in kinds}
        columns |= dict.fromkeys(classes, "int64")
        files = "" if hub is None else f"hf://datasets/{hub.repo}@{self.content}/"
        return Rows(self.source, columns, found, classes, files)


@dataclass(frozen=True)
class Rows:
    """Rows as mappings from column to value; pictures and sound are mappings with their file's "bytes".

    columns: names, and what `datasets` calls their type ("string", "int64", ...); "" for what is no plain value.
    classes: names of the classes that a column's numbers stand for. files: where files may be that rows only name.
    """

    source: Source
    columns: Mapping[str, str]
    stream: Any
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: str = ""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Raises HubError when the Hub fails, DataError for what cannot be read."""
        rows = iter(self.stream)
        while True:
            with _faults_told(self.source):
                row = next(rows, None)
            if row is None:
                return
            yield row

    def file_bytes(self, value: Mapping[str, Any]) -> bytes:
        """The picture or recording that a column has or names; empty when it has none.

        Only files of this data set's commit are opened: what a row names is a stranger's word. Raises HubError.
        """
        content, path = value.get("bytes"), value.get("path")
        if isinstance(content, bytes):
            return content
        if not self.files or not isinstance(path, str) or not path.startswith(self.files):
            return b""
        import huggingface_hub

        with _faults_told(self.source):
            system = huggingface_hub.HfFileSystem(endpoint=network.endpoint())
            opened: bytes = system.cat_file(path)
        return opened

    def named(self) -> str:
        """The columns' names, for people; they are a stranger's words."""
        return safe_text(", ".join(self.columns))[:_MOST_SHOWN]

    def text_column(self, wanted: str | None) -> str:
        """The column that is asked for, else `text`, else the only one of text. Raises DataError, listing them."""
        texts = [name for name, kind in self.columns.items() if kind in ("string", "large_string")]
        if wanted is not None:
            if wanted in self.columns:
                return wanted
            raise DataError(f"{self.source.name} has no column {wanted!r}; it has {self.named()}")
        if "text" in texts:
            return "text"
        if len(texts) == 1:
            return texts[0]
        raise DataError(
            f"{self.source.name} has {len(texts)} columns of text; its columns are {self.named()}",
            hint="name the one that is meant: --set data.column=NAME",
        )


def _without_codecs(datasets: Any, features: Mapping[str, Any]) -> dict[str, Any]:
    """The columns' types, with recordings as plain bytes.

    Even undecoded, `datasets` would ask for torchcodec before it hands out a recording.
    """
    recording = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    return {name: recording if isinstance(kind, datasets.Audio) else kind for name, kind in features.items()}


def has_rows(source: Source) -> bool:
    """Whether a source is a data set of the Hub or a file of rows, each of which is a document."""
    return source.hub is not None or (source.path is not None and source.path.suffix.lower() in ROW_FILES)


def settle(source: Source) -> RowSource:
    """The commit that a data set's branch is at now, or a file's content; the Hub is not asked for a full commit.

    Offline it is the commit that was found last. Raises OfflineError when there is none, HubError when the Hub does
    not have the data set or does not answer, DataError for a file that cannot be read.
    """
    if source.hub is None:
        assert source.path is not None
        try:
            with bounds.regular(source.path).open("rb") as file:
                return RowSource(source, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise DataError(f"{source.path} cannot be read: {reason(error)}") from None
    if _COMMIT.fullmatch(source.hub.revision):
        return RowSource(source, source.hub.revision)
    return RowSource(source, _last_commit(source) if _is_offline(source) else _newest_commit(source))


def _newest_commit(source: Source) -> str:
    network.load_guard()
    import huggingface_hub

    assert source.hub is not None
    with _faults_told(source):
        api = huggingface_hub.HfApi(endpoint=network.endpoint())
        commit = api.dataset_info(source.hub.repo, revision=source.hub.revision or None).sha or ""
    if not _COMMIT.fullmatch(commit):
        raise HubError(f"the Hub says {safe_text(commit)[:60]!r} is the commit of {source.name}")
    remembered = _remembered(source.hub)
    with contextlib.suppress(OSError):  # only a later offline run would miss it
        remembered.parent.mkdir(parents=True, exist_ok=True)
        write(remembered, commit.encode())
    return commit


def _last_commit(source: Source) -> str:
    assert source.hub is not None
    try:
        commit = _remembered(source.hub).read_text(encoding="ascii")
        kept.used(_remembered(source.hub))
    except (OSError, UnicodeDecodeError):
        commit = ""
    if not _COMMIT.fullmatch(commit):
        raise OfflineError(
            f"{source.name} was never read here, and the network may not be used",
            hint="read it once with the network",
        )
    return commit


def _remembered(hub: HubData) -> Path:
    name = hashlib.sha256(f"{network.endpoint()}\n{hub.repo}\n{hub.revision}".encode()).hexdigest()
    return paths.home() / "datasets" / f"{name}.commit"


def _is_offline(source: Source) -> bool:
    return source.offline or network.is_offline()


def _datasets() -> Any:
    network.load_guard()  # it makes the Hub's client quiet before that is imported
    try:
        import datasets
        from datasets import load_dataset  # noqa: F401 - a folder of this name can be imported too, but has none
    except ImportError as error:
        raise MissingDependencyError(
            "data sets of the Hub and files of rows need the package datasets",
            hint="pip install 'zoo-core[hub-data]'",
        ) from error
    datasets.disable_progress_bars()
    return datasets


@contextlib.contextmanager
def _faults_told(source: Source) -> Iterator[None]:
    """What `datasets` and the Hub's client raise becomes a ZooError; the package raises many kinds for a bad file."""
    try:
        yield
    except (ZooError, MemoryError):
        raise
    except Exception as error:
        said = safe_text(" ".join(str(error).split()))[:_MOST_SHOWN] or type(error).__name__
        kind = DataError if source.hub is None else HubError
        raise kind(f"{source.name} cannot be read: {said}") from error
