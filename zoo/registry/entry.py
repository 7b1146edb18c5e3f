"""What a registry file says about one model, as frozen values. Data only: nothing here loads or fetches anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["original", "converted", "trained here", "none"]
"""Where weights come from: the authors' own files, a conversion of them, a recipe of this plugin, or nowhere."""


@dataclass(frozen=True)
class File:
    """One file of a model. sha256: 64 hex digits, or "" when unknown (the first download records it).

    bytes: its size, or None when unknown.
    """

    name: str
    sha256: str = ""
    bytes: int | None = None


@dataclass(frozen=True)
class Weights:
    """Where a model's files are: a Hub repo at a full commit, or a folder inside the plugin's package.

    Exactly one of `repo` and `package` is set, unless status is "none". `package` is a folder relative to the
    plugin's import package. `revision` is a 40-digit commit.
    """

    status: Status
    repo: str = ""
    revision: str = ""
    package: str = ""
    files: tuple[File, ...] = ()
    dtype: str = ""  # of the stored tensors: float64, float32, float16 or bfloat16; "" when unknown

    @property
    def bytes(self) -> int | None:
        """The sum of the known sizes; None when the size of a safetensors file is unknown (other files are small)."""
        tensors = [file.bytes for file in self.files if file.name.endswith(".safetensors")]
        if not tensors or None in tensors:
            return None
        return sum(file.bytes or 0 for file in self.files)


@dataclass(frozen=True)
class Licences:
    """SPDX names; "unknown", never guessed; or "none" where there is nothing to license."""

    code: str
    weights: str
    data: str


@dataclass(frozen=True)
class Paper:
    title: str
    url: str
    year: int | None = None


@dataclass(frozen=True)
class Metric:
    """A measured quality. source: the paper, or the command that measured it."""

    name: str
    value: float
    unit: str
    data: str
    source: str
    samples: int | None = None


@dataclass(frozen=True, repr=False)
class ModelEntry:
    """One model of one registry file.

    plugin: the distribution that brings it, such as zoo-gpt. package: its import package, "" when it is known only
    from the index. installed: whether its plugin is (read from the installed file, not from the index).
    """

    name: str
    plugin: str
    family: str
    task: str
    can: tuple[str, ...]
    parameters: int
    weights: Weights
    licences: Licences
    summary: str = ""
    aliases: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    paper: Paper | None = None
    metrics: tuple[Metric, ...] = ()
    package: str = ""
    installed: bool = False

    def __repr__(self) -> str:
        return (
            f"<ModelEntry {self.qualified}: {self.family}, {self.parameters:,} parameters,"
            f" weights: {self.weights.status}>"
        )

    @property
    def qualified(self) -> str:
        """plugin/model, which stays unambiguous when two plugins use one model name."""
        return f"{self.plugin}/{self.name}"
