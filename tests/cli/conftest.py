"""Running the command in this process, with caches, colours and answers of the test's own."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from byte_tokenizer import ByteTokenizer
from zoo.errors import RegistryError
from zoo.registry.catalogue import Catalogue
from zoo.registry.entry import File, Licences, Metric, ModelEntry, Paper, Weights

_UNSET = (
    "NO_COLOR",
    "FORCE_COLOR",
    "ZOO_DEBUG",
    "ZOO_PLUGINS",
    "HF_HUB_OFFLINE",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_TOKEN",
    "XDG_CACHE_HOME",
    "_ZOO_COMPLETE",
)


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the person's settings or caches is seen, and what --offline and --cache-dir set is undone."""
    for name in _UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "zoo-home"))
    monkeypatch.setenv("COLUMNS", "100")
    before, hook = dict(os.environ), sys.excepthook
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    sys.excepthook = hook


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `zoo WORDS` in this process. terminal: the streams claim to be one. stdin: what is piped in."""
    from zoo_cli.main import main

    def run(*words: str, terminal: bool = False, stdin: str | bytes = b"") -> Ran:
        capsys.readouterr()
        piped = io.TextIOWrapper(io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin), "utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", piped)
            if terminal:
                for stream in (sys.stdin, sys.stdout, sys.stderr):
                    patch.setattr(stream, "isatty", lambda: True)
            code = main(words)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


class Script:
    """A network that says what the test wrote: sample i of every batch says `said(i)` and ends.

    prompts: what it was asked to continue, as text. controls: those of the last batch.
    """

    vocabulary = 257

    def __init__(self, said: Callable[[int], str], context: int = 1000) -> None:
        self.said, self.context = said, context
        self.prompts: list[str] = []
        self.controls: Any = None

    def sample(
        self, prompts: Sequence[Sequence[int]], noise: Any, controls: Any, done: Set[int]
    ) -> Iterator[list[int | None]]:
        self.controls = controls
        self.prompts += [bytes(token for token in prompt if token < 256).decode() for prompt in prompts]
        scripts = [[*self.said(noise.start + row).encode(), 256] for row in range(len(prompts))]
        for at in range(max(map(len, scripts))):
            yield [None if row in done else script[at] for row, script in enumerate(scripts)]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Script]:
    """Let `zoo sample gpt2` load a network that says what the test wrote, instead of GPT-2."""

    def load(said: str | Callable[[int], str], *, context: int = 1000, chat_template: str = "") -> Script:
        from zoo import api, targets
        from zoo.modality.text_model import TextModel

        network = Script((lambda _: said) if isinstance(said, str) else said, context)
        tokenizer = ByteTokenizer()
        tokenizer.chat_template = chat_template
        family = targets.find("gpt2").family
        made = TextModel("gpt2-small", family, None, network, {}, tokenizer=tokenizer)
        monkeypatch.setattr(api, "load", lambda *_, **__: made)
        return network

    return load


def entry(name: str = "tiny", **changes: Any) -> ModelEntry:
    """A registry entry with all there is to say."""
    made = ModelEntry(
        name,
        plugin="zoo-test",
        family="gpt2",
        task="text-generation",
        can=("sample", "score"),
        parameters=1_234_567,
        weights=Weights(
            "original",
            repo="user/tiny",
            revision="0" * 40,
            files=(
                File("model.safetensors", sha256="a" * 64, bytes=2_000_000),
                File("tokenizer.json", bytes=500),
            ),
            dtype="float16",
        ),
        licences=Licences("Apache-2.0", "MIT", "unknown"),
        summary="A tiny model.",
        aliases=("little",),
        config={"layers": 2, "context": 64, "width": 16, "heads": 2},
        paper=Paper("On tiny models", "https://example.org/tiny", 2026),
        metrics=(Metric("perplexity", 12.5, "", "WikiText", "table 1", 1000),),
        package="zoo_test",
        installed=True,
    )
    return replace(made, **changes)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the catalogue hold these entries and problems alone."""

    def hold(*entries: ModelEntry, problems: Sequence[RegistryError] = ()) -> None:
        known = Catalogue(entries, tuple(problems))
        monkeypatch.setattr("zoo.registry.catalogue.catalogue", lambda: known)
        monkeypatch.setattr("zoo.targets.catalogue", lambda: known)

    return hold
