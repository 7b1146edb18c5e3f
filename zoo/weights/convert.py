"""Turn pickled checkpoints and GGUF files into a folder of safetensors that loads like a snapshot of a Hub repo."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from zoo import plugins
from zoo.errors import PluginError, UsageError, WeightsError
from zoo.weights import gguf_tokenizer, gguf_values
from zoo.weights.gguf_header import GgufHeader, read_gguf
from zoo.weights.local import require_inside, shards
from zoo.weights.pickled import read_pickled
from zoo.weights.placement import GgufLayout
from zoo.weights.save import Pending, pending, write

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_NAMES = ("pytorch_model", "diffusion_pytorch_model", "model")
"""What a folder's checkpoint is called; others in it are optimisers and the like."""

_COMPANION = re.compile(r"[\w.-]+\.(json|txt|jinja|model|md)|(LICENSE|NOTICE)[\w.-]*")
_MOST_COMPANION_BYTES = 200_000_000


def convert(
    source: Path,
    destination: Path,
    *,
    dtype: torch.dtype | None = None,
    report: Callable[[str], None] | None = None,
) -> Path:
    """Write `source` as safetensors into the new folder `destination`, and return that folder.

    source: a .bin, .pt, .pth or .ckpt file; a folder with one, or its shards, whose config and tokenizer files come
        along; or a .gguf file, of which config.json and the tokenizer are made as well.
    dtype: of the stored floating tensors; None keeps each as it is, and makes float16 of quantised ones.
    report: called with a line for whatever a person should know of the result.
    The folder appears when all of it is written. Nothing is unpickled that is not a plain tensor.
    Raises UsageError for a destination that is not empty or a source that is none of these; WeightsError for a
    malformed, hostile or unknown one; MissingDependencyError when quantised GGUF needs the package gguf.
    """
    source, destination = source.expanduser(), destination.expanduser()
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageError(
            f"{destination} is there and not empty", hint="name a folder that does not exist yet"
        )
    with _new_folder(destination) as folder:
        found = _checkpoint(source)
        notes: list[str] = []
        if found.suffix == ".gguf":
            notes = _from_gguf(found, folder, dtype)
        else:
            _from_pickles(found, folder, dtype)
        if source.is_dir():
            _copy_companions(source, folder)
    if report:
        for note in notes:
            report(note)
    return destination


@contextmanager
def _new_folder(destination: Path) -> Iterator[Path]:
    """A folder beside `destination` that takes its name when all went well, and is removed otherwise."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    aside = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}.partial")
    aside.mkdir()
    try:
        yield aside
        if destination.exists():
            destination.rmdir()
        aside.replace(destination)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _checkpoint(source: Path) -> Path:
    """The file to convert: `source` itself, or the one in the folder, or the index of its shards."""
    if source.is_file():
        if source.name.endswith((".safetensors", ".safetensors.index.json")):
            raise _converted(source)
        if not source.name.endswith((*PICKLED, ".gguf", ".bin.index.json")):
            raise UsageError(f"{source} is none of what is converted: {', '.join(PICKLED)}, .gguf")
        return source
    if not source.is_dir():
        raise UsageError(f"{source}: there is no such file or folder")
    names = sorted(file.name for file in source.iterdir() if file.is_file())
    for stem in _NAMES:
        for name in (f"{stem}.bin.index.json", *(f"{stem}{suffix}" for suffix in PICKLED)):
            if name in names:
                return source / name
    present = [name for name in names if name.endswith((*PICKLED, ".gguf"))]
    if not present and any(name.endswith(".safetensors") for name in names):
        raise _converted(source)
    if len(present) != 1:
        listed = f": {', '.join(present[:3])}" if present else ""
        raise UsageError(
            f"{source} has {len(present)} files that could be converted{listed}", hint="name the file itself"
        )
    return source / present[0]


def _converted(source: Path) -> UsageError:
    return UsageError(
        f"{source} is safetensors already: there is nothing to convert",
        hint=f"it is loaded as it is: zoo sample {source if source.is_absolute() else f'./{source}'}",
    )


def _from_pickles(found: Path, folder: Path, dtype: torch.dtype | None) -> None:
    files = [found]
    if found.name.endswith(".index.json"):
        files = [found.parent / name for name in sorted(shards(found, suffix=".bin"))]
    tensors: dict[str, Pending] = {}
    for file in files:
        read = read_pickled(file)
        if twice := sorted(read.keys() & tensors.keys()):
            raise WeightsError(f"{file}: {twice[0]} is in another shard too")
        tensors |= {name: pending(tensor, dtype) for name, tensor in read.items()}
    diffusion = found.name.startswith("diffusion_pytorch_model")
    write(folder / ("diffusion_pytorch_model.safetensors" if diffusion else "model.safetensors"), tensors, {})


def _copy_companions(source: Path, folder: Path) -> None:
    """The small files beside the weights: config, tokenizer, licence, card. None is a link out of the folder."""
    for file in sorted(source.iterdir()):
        wanted = _COMPANION.fullmatch(file.name) and not file.name.endswith(".index.json")
        if wanted and file.is_file() and file.stat().st_size <= _MOST_COMPANION_BYTES:
            shutil.copyfile(require_inside(file), folder / file.name)


def _from_gguf(path: Path, folder: Path, dtype: torch.dtype | None) -> list[str]:
    """Write a GGUF file's tensors, config and tokenizer; returns what a person should know of them."""
    header = read_gguf(path)
    quantised = gguf_values.check_values(path, header)
    layout = _layout(path, header)
    try:
        files, note = gguf_tokenizer.tokenizer_files(header.metadata)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    tensors = {
        placement.name: gguf_values.pending_value(path, name, header.tensors[name], placement, dtype)
        for name, placement in layout.tensors.items()
        if placement is not None
    }
    write(folder / "model.safetensors", tensors, {})
    ends = {f"{name}_token_id": gguf_tokenizer.special_id(header.metadata, name) for name in ("bos", "eos")}
    known_ends = {name: number for name, number in ends.items() if number is not None}
    for name, content in {"config.json": {**layout.config, **known_ends}, **files}.items():
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    stored = str(dtype or gguf_values.DEQUANTISED).removeprefix("torch.")
    inflated = f"its quantised tensors are written as {stored}: larger, and no better than they were"
    return [*([inflated] if quantised else []), *([note] if note else [])]


def _layout(path: Path, header: GgufHeader) -> GgufLayout:
    """What the plugin that knows this architecture says of the file; every tensor must be accounted for."""
    shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
    for _, family in plugins.all_families():
        if family.from_gguf:
            try:
                layout: GgufLayout | None = family.resolve("from_gguf")(header.metadata, shapes)
            except WeightsError as error:
                raise WeightsError(f"{path}: {error}", hint=error.hint) from None
            if layout is not None:
                return _checked(layout, family.name, shapes)
    kind = header.metadata.get("general.architecture", "unknown")
    raise WeightsError(
        f"{path}: no installed plugin reads GGUF files of the architecture {str(kind)[:80]!a}",
        hint="`zoo plugin list` shows the installed plugins",
    )


def _checked(layout: GgufLayout, family: str, shapes: Mapping[str, Any]) -> GgufLayout:
    """A plugin's layout, held against the file: each tensor once, under a name of its own."""
    odd = sorted(layout.tensors.keys() ^ shapes.keys())
    names = Counter(placement.name for placement in layout.tensors.values() if placement is not None)
    odd += [name for name, count in names.items() if count > 1]
    if odd:
        raise PluginError(
            f"family {family}: from_gguf must place each of the file's tensors once, not {odd[0]}"
        )
    return layout
