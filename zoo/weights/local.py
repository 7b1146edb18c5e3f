"""Model files that are already here: shipped inside a plugin's package, or in a folder. Imports no torch."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from zoo.errors import IntegrityError, NoWeightsError, PluginError, WeightsError
from zoo.os_words import reason
from zoo.registry.entry import File, ModelEntry
from zoo.weights.layout import COMMIT
from zoo.weights.tensors import MOST_HEADER_BYTES, shown, strict_json

WEIGHTS = ("model.safetensors", "diffusion_pytorch_model.safetensors")
"""The names that a checkpoint's one file has, the first that is there is taken; NAME.index.json lists shards."""
INDEXES = tuple(f"{name}.index.json" for name in WEIGHTS)

_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})\.safetensors")
_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def packaged(entry: ModelEntry) -> dict[str, Path]:
    """The files of a model that ships inside its plugin's package, by name, each checked against its sha256.

    The package is found without running its code.
    Raises PluginError when it is not there, IntegrityError when a file is absent or not the one that was pinned.
    """
    spec = importlib.util.find_spec(entry.package) if entry.package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise PluginError(
            f"{entry.name}: the package {entry.package!r} of {entry.plugin} is not installed",
            hint=f"pip install {entry.plugin}",
        )
    root = Path(spec.submodule_search_locations[0])
    files = {}
    for file in entry.weights.files:
        inside = PurePosixPath(entry.weights.package) / file.name
        if inside.is_absolute() or ".." in inside.parts:
            raise WeightsError(f"{entry.name}: {inside} is not a file inside the package {entry.package}")
        files[file.name] = root / inside
        _check(files[file.name], file, entry)
    return files


def _check(path: Path, file: File, entry: ModelEntry) -> None:
    """The bytes are the pinned ones. Packaged files are small (megabytes), so this is done at every load."""
    hint = f"install it again: pip install --force-reinstall --no-deps {entry.plugin}"
    if not path.is_file():
        raise IntegrityError(f"{entry.name}: {path} is not in the package", hint=hint)
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        raise IntegrityError(f"{path}: expected {file.bytes} bytes, but it has {size}", hint=hint)
    if file.sha256:
        with path.open("rb") as opened:
            actual = hashlib.file_digest(opened, "sha256").hexdigest()
        if actual != file.sha256:
            raise IntegrityError(f"{path}: expected sha256 {file.sha256}, but it is {actual}", hint=hint)


def folder(path: Path) -> dict[str, Path]:
    """The files at the root of a run, an export or a snapshot of a Hub repo, by name. Links are followed.

    Of its safetensors files only those of one checkpoint are given: the file named by `path` itself, or one of
    `WEIGHTS`, or the shards its index lists, or the only one there.
    Raises NoWeightsError when there is none, WeightsError when it cannot be told which, or an index is unsafe.
    """
    path = path.expanduser()
    root = path if path.is_dir() else path.parent
    try:
        files = {file.name: file for file in sorted(root.iterdir()) if file.is_file()}
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {reason(error)}") from None
    chosen = _checkpoint(
        path, files if path == root else {name: files[name] for name in files if name == path.name}
    )
    others = {name for name in files if name.endswith(".safetensors")} - chosen
    absent = sorted(chosen - files.keys())
    if absent:
        raise WeightsError(f"{root}: {', '.join(absent[:3])} {'is' if len(absent) == 1 else 'are'} not there")
    return {name: file for name, file in files.items() if name not in others}


def require_inside(path: Path) -> Path:
    """The file at `path` itself, for who copies or sends it. Raises WeightsError for a link that leaves its folder.

    A snapshot in the Hub's cache is made of links to the blobs beside it: these are its own.
    """
    folder = path.parent.resolve()
    found = path.resolve()
    inside = found.is_relative_to(folder)
    blobs = folder.parent.parent / "blobs"
    cached = folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name) and found.parent == blobs
    if not (inside or cached):
        raise WeightsError(
            f"{path} is a link that leaves its folder, to {found}; what lies elsewhere is neither copied nor sent",
            hint="put the file itself there, if it belongs to the model",
        )
    return found


def _checkpoint(path: Path, files: Mapping[str, Path]) -> set[str]:
    """The names of the safetensors files that make up the checkpoint at `path`, a folder or a file."""
    for name in WEIGHTS:
        if name in files:
            return {name}
        if f"{name}.index.json" in files:
            return shards(files[f"{name}.index.json"], suffix=".safetensors")
    present = sorted(name for name in files if name.endswith(".safetensors"))
    if index := missing_index(present):
        raise WeightsError(
            f"{path} has {present[0]}{' and other shards' if present[1:] else ''}, but not {index}, which says what"
            " each holds",
            hint=f"put {index} there, from where the shards are from",
        )
    if len(present) == 1:
        return set(present)
    if present:
        raise WeightsError(
            f"{path} has {len(present)} safetensors files and none named {WEIGHTS[0]}: {', '.join(present[:3])}",
            hint=f"rename the one to load to {WEIGHTS[0]}",
        )
    pickled = sorted(name for name in files if name.endswith(_PICKLED))
    if pickled:
        raise WeightsError(
            f"{path} has its weights only as {pickled[0]}; pickles can run code and are never loaded",
            hint=f"turn them into safetensors: zoo convert {path} -o FOLDER",
        )
    ggufs = sorted(name for name in files if name.endswith(".gguf"))
    if ggufs:
        raise WeightsError(
            f"{path} has its weights only as {ggufs[0]}, which is not loaded as it is",
            hint=f"turn it into safetensors: zoo convert {files[ggufs[0]]} -o FOLDER",
        )
    raise NoWeightsError(f"{path} has no safetensors file", hint=f"expected {WEIGHTS[0]} there")


def missing_index(names: Collection[str]) -> str:
    """The index that would list these files, if they are shards of a model; else ""."""
    found = [match for name in names if (match := _SHARD.fullmatch(name)) and int(match[2]) > 1]
    return f"{found[0][1]}.safetensors.index.json" if found and len(found) == len(names) else ""


def shards(index: Path, *, suffix: str) -> set[str]:
    """The file names in an index's weight_map. Raises WeightsError unless each is a plain name that ends so."""
    try:
        size = index.stat().st_size
        if size > MOST_HEADER_BYTES:
            raise WeightsError(f"{index} has {size} bytes, but at most {MOST_HEADER_BYTES} are allowed")
        names = strict_json(index.read_bytes()).get("weight_map")
    except ValueError as error:
        raise WeightsError(f"{index} is not sound JSON: {error}") from None
    if not isinstance(names, dict) or not names:
        raise WeightsError(f"{index} has no weight_map")
    found = set()
    for name in names.values():
        plain = isinstance(name, str) and name.isprintable() and name.endswith(suffix)
        if not plain or "/" in name or "\\" in name or name.startswith("."):
            raise WeightsError(
                f"{index} names {shown(name)}, but only names like model-1{suffix} are allowed"
            )
        found.add(name)
    return found
