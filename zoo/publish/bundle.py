"""Everything that a push would send, put together before any request: the model's files, what says what they are, the
registry entry and the card.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.errors import DiskSpaceError, UsageError, WeightsError
from zoo.os_words import reason
from zoo.publish import card, history, licences, registry, source
from zoo.publish.content import Content
from zoo.publish.history import History
from zoo.publish.source import Source
from zoo.registry.entry import File, Licences, Metric, ModelEntry, Status, Weights
from zoo.registry.validate import REPO, Check
from zoo.text_safety import safe_text
from zoo.weights import layout

REGISTRY, CARD = "registry.yaml", "README.md"

TASKS = {"text": "text-generation", "image": "unconditional-image-generation", "audio": "audio-generation"}
"""Modality to task, as registry files say it; others are MODALITY-generation."""


@dataclass(frozen=True)
class Bundle:
    """files: by their name in the repo. entry: of the registry; its weights have no revision before the commit.

    data: the name of what the model was trained on, which card, recipe and header say; "" when nothing does.
    """

    repo: str
    entry: ModelEntry
    files: Mapping[str, Content]
    data: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(content.size for content in self.files.values())

    def registry(self, commit: str) -> str:
        """The registry file of the pushed model, pinned to its commit, ready to be a plugin's or to go into one."""
        return registry.text(replace(self.entry, weights=replace(self.entry.weights, revision=commit)))

    def write(self, folder: Path) -> Path:
        """Write the files into a new or empty folder, all or none; returns its whole path.

        Raises UsageError for another folder, DiskSpaceError, WeightsError.
        """
        folder = folder.expanduser().absolute()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is not an empty folder", hint="name another")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            if (free := shutil.disk_usage(folder.parent).free) < self.size:
                raise DiskSpaceError(f"{folder} will have {self.size} bytes, but the disk has {free} free")
            aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                for name, content in self.files.items():
                    with content.open() as stream, (aside / name).open("xb") as file:
                        shutil.copyfileobj(stream, file, 1 << 20)
                aside.chmod(0o755)
                aside.replace(folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            raise WeightsError(f"{folder}: cannot be written: {reason(error)}") from None
        return folder


def check_repo(repo: str) -> None:
    """Raises UsageError unless the text is USER/NAME, as the Hub and registry files take it."""
    layout.check_repo(repo)
    allowed: tuple[Check, str] = REPO
    fits, words = allowed
    if not fits(repo):
        raise UsageError(f"{safe_text(repo)!r} names no repo to push to; expected {words}, as in ada/verse")


def prepare(run: str | Path, repo: str, given: Mapping[str, str] | Licences) -> Bundle:
    """Look at a run folder and put together what is pushed. Makes no request and writes nothing.

    given: the licences of weights, data and code. Raises UsageError, and what `source.read` and `history.read` raise.
    """
    check_repo(repo)
    said = licences.checked(given)
    found = source.read(Path(run))
    past = history.read(found.folder, found.step)
    entry = _entry(repo, found, past, said)
    facts = card.Facts(repo, entry, past, found.family.modality)
    written = {
        CARD: card.text(facts),
        REGISTRY: registry.text(entry),
    }
    if past.recipe is not None:
        written[history.RECIPE] = past.recipe_text
    files = {**found.files, **{name: Content.of_bytes(text.encode()) for name, text in written.items()}}
    return Bundle(repo, entry, dict(sorted(files.items())), past.data)


def _entry(repo: str, found: Source, past: History, said: Licences) -> ModelEntry:
    family, modality = found.family.name, found.family.modality
    files = tuple(File(name, content.sha256, content.size) for name, content in found.files.items())
    status: Status = "converted" if found.converted else "original" if past.recipe is None else "trained here"
    return ModelEntry(
        name=repo.partition("/")[2].lower()[:64],
        plugin=found.said.plugin,
        family=family,
        task=TASKS.get(modality, f"{modality}-generation"),
        can=found.can,
        parameters=found.parameters,
        weights=Weights(status, repo=repo, files=files, dtype=found.dtype),
        licences=said,
        summary=_summary(found, past),
        config=found.said.config,
        metrics=_metrics(past),
    )


def _summary(found: Source, past: History) -> str:
    trained = f", trained on {past.data}" if past.data else ""
    return f"A {found.family.name} with {found.parameters:,} parameters{trained}."[:300]


def _metrics(past: History) -> tuple[Metric, ...]:
    if past.measured is None:
        return ()
    data = f"held out of {past.data}" if past.data else "what its run held out"
    seed = f", seed {past.seed}" if past.seed is not None else ""
    source = f"zoo train, step {past.measured.step}{seed}"
    return tuple(
        Metric(card.words(name), value, "", data[:300], source, past.measured.samples)
        for name, value in past.measured.results.items()
    )
