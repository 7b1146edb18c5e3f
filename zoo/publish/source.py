"""A run folder looked at before anything is sent: what model it is, and whether its weights are whole and finite."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import settings, targets
from zoo.datasets.encoding import FilesRead
from zoo.errors import NoWeightsError, UsageError, WeightsError
from zoo.family import CONFIG, TOKENIZER_OF, Family
from zoo.machine_paths import without_paths
from zoo.os_words import reason
from zoo.protocols import Tokenizer
from zoo.publish.content import Content
from zoo.targets import Target
from zoo.training.recipe import shareable
from zoo.weights import companions, local, tensors
from zoo.weights.tensors import Header, ZooMetadata

if TYPE_CHECKING:
    import torch
    from torch import nn

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_OF_TEXT = ("tokenizer_class", TOKENIZER_OF)
_CHUNK = 1 << 24  # values looked at together


@dataclass(frozen=True)
class Source:
    """What is pushed. said: family, plugin and config of the model. files: all that it is loaded from, by their name
    in the repo. dtype: of most stored values, "" for none that registry files name. can: as in registry files. step:
    of the run that the weights are of, None when they do not say. converted: whether the weights are laid out as
    another program's, which config.json says, and not as the zoo writes them.
    """

    folder: Path
    family: Family
    said: ZooMetadata
    files: Mapping[str, Content]
    parameters: int
    dtype: str
    can: tuple[str, ...]
    step: int | None = None
    converted: bool = False


def read(run: Path) -> Source:
    """Look at a run folder, a snapshot or a safetensors file with what it needs beside it. Reads all of the weights.

    Raises UsageError for a path where nothing is, NoWeightsError without weights, TensorsError when they are not
    those of their config, WeightsError when a value is not finite, a file is a link that leaves the folder or nothing
    says what model it is, PluginError.
    """
    run = run.expanduser()
    if not run.exists():
        raise UsageError(f"{run}: there is no such folder", hint="a run folder of `zoo train` is expected")
    present = local.folder(run)
    stored = targets.weight_files(present)
    if not stored:
        raise NoWeightsError(f"{run} has no safetensors file", hint=f"expected {local.WEIGHTS[0]} there")
    target = targets.find(str(run if run.is_absolute() else Path.cwd() / run))
    beside = targets.companions(target.family, present)
    indexes = {name: path for name, path in present.items() if name in local.INDEXES and len(stored) > 1}
    for path in (*stored, *indexes.values(), *beside.values()):
        local.require_inside(path)
    tokenizer, beside = _tokenizer(target.family, beside)
    own = tensors.zoo_metadata(stored[0])
    said = own or ZooMetadata(target.family.name, target.plugin, settings.plain(target.config))
    headers = [tensors.read_header(path) for path in stored]
    network = _network(target, stored, headers, placed=own is None)
    config = _config(beside.get(CONFIG), own)
    return Source(
        run if run.is_dir() else run.parent,
        target.family,
        said,
        _weights(stored, headers) | _small(indexes) | _small(beside) | {CONFIG: config},
        sum(parameter.numel() for parameter in network.parameters()),
        _DTYPES.get(_usual(headers), ""),
        _can(target.family, network, tokenizer),
        _step(headers[0]),
        own is None,
    )


def _step(header: Header) -> int | None:
    said = header.metadata.get("step", "")
    return int(said) if re.fullmatch(r"\d{1,18}", said) else None


def _config(path: Path | None, own: ZooMetadata | None) -> Content:
    """config.json: the header's words, so that everyone knows what it is without the weights; else the one there.

    A run begun from a model of the Hub has that model's beside it, that says where a text ends and by which rules its
    tokenizer is read; the rest of it, model_type above all, would have others build another network.
    """
    stated = companions.read_json(path) if path else {}
    if own is None:
        return Content.of_json(without_paths(stated))
    words = json.loads(tensors.zoo_metadata_text(own)["zoo"])
    if stated.get("zoo", words) != words:
        raise WeightsError(
            f"{path}: it says another model than the header of the weights",
            hint=f"remove it: `zoo push` writes {CONFIG} from the header",
        )
    kept = {name: value for name, value in stated.items() if name.endswith("_token_id") or name in _OF_TEXT}
    if "model_type" in stated:
        kept[TOKENIZER_OF] = stated["model_type"]
    return Content.of_json({"zoo": words, **without_paths(kept)})


def _network(target: Target, stored: Sequence[Path], headers: Sequence[Header], *, placed: bool) -> nn.Module:
    """The module with the stored tensors, which are mapped and not copied; all their values are finite."""
    from zoo.weights import load

    family = target.family
    network = load.load(
        family.resolve("build"),
        target.config,
        stored,
        place=family.resolve("place") if placed and family.place else None,
        dtype=load.DTYPES.get(_usual(headers)),
    )
    for name, tensor in network.state_dict().items():
        if not _finite(tensor):
            raise WeightsError(
                f"{name} holds values that are not finite, so the model cannot be used",
                hint="push the weights of an earlier checkpoint",
            )
    return network


def _finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    values = tensor.flatten()
    pieces = (values[at : at + _CHUNK] for at in range(0, len(values), _CHUNK))
    return all(bool(piece.isfinite().all()) for piece in pieces)


def _usual(headers: Sequence[Header]) -> str:
    """The stored floating dtype that most bytes have."""
    bytes_of: Counter[str] = Counter()
    for header in headers:
        for info in header.tensors.values():
            bytes_of[info.dtype] += info.bytes if info.dtype in _DTYPES else 0
    return bytes_of.most_common(1)[0][0] if bytes_of else ""


def _tokenizer(family: Family, beside: dict[str, Path]) -> tuple[Tokenizer | None, dict[str, Path]]:
    """What the files beside the weights make, and which of them it takes: of two vocabularies one is read."""
    if not family.tokenizer:
        return None, beside
    asked = FilesRead(beside)
    tokenizer = family.resolve("tokenizer")(asked)
    return tokenizer, {name: path for name, path in beside.items() if name == CONFIG} | asked.read


def _can(family: Family, network: Any, tokenizer: Tokenizer | None) -> tuple[str, ...]:
    """What the module's methods do; a text model samples only with a tokenizer, and chats only with a template."""
    from zoo.evaluation.scoring import scored_by
    from zoo.testing.conformance import METHODS

    methods = {**METHODS, "score": scored_by(family.modality)}
    found = [can for can, method in methods.items() if callable(getattr(network, method, None))]
    if family.modality != "text":
        return tuple(found)
    if tokenizer is None:
        return tuple(can for can in found if can != "sample")
    return (*found, "chat") if tokenizer.chat_template else tuple(found)


def _weights(stored: Sequence[Path], headers: Sequence[Header]) -> dict[str, Content]:
    """The weights as they are, but for paths of this machine in their headers. A single file gets the usual name."""
    if len(stored) == 1:
        name = stored[0].name if stored[0].name in local.WEIGHTS else local.WEIGHTS[0]
        return {name: _shareable(stored[0], headers[0])}
    return {path.name: _shareable(path, header) for path, header in zip(stored, headers, strict=True)}


def _shareable(path: Path, header: Header) -> Content:
    clean = {name: _clean(name, text) for name, text in header.metadata.items()}
    try:
        if clean == header.metadata:
            return Content.of_file(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            said = tensors.strict_json(file.read(length)) | {"__metadata__": clean}
        raw = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
        raw += b" " * (-len(raw) % 8)
        return Content.of_file(path, head=len(raw).to_bytes(8, "little") + raw, skip=8 + length)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {reason(error)}") from None


def _clean(name: str, text: str) -> str:
    """A text of a header without paths, of a recipe not even relative ones; "" for one that cannot be read."""
    if name == "zoo":
        return text
    if name != "recipe":
        return str(without_paths(text))
    try:
        return json.dumps(shareable(tensors.strict_json(text.encode())), sort_keys=True)
    except (ValueError, RecursionError):
        return ""


def _small(files: Mapping[str, Path]) -> dict[str, Content]:
    """The small files' bytes, held from now on."""
    read = {}
    for name, path in sorted(files.items()):
        companions.check_size(path, companions.MOST_TOKENIZER_BYTES)
        try:
            read[name] = Content.of_bytes(_without_origin(path.read_bytes()))
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read: {reason(error)}") from None
    return read


def _without_origin(raw: bytes) -> bytes:
    """A small file's bytes; of JSON into which transformers wrote the folder it was loaded from, without its path."""
    if b"name_or_path" not in raw:
        return raw
    try:
        said = tensors.strict_json(raw)
    except ValueError:
        return raw
    clean = {
        key: without_paths(value) if key.endswith("name_or_path") else value for key, value in said.items()
    }
    return raw if clean == said else json.dumps(clean, indent=2, ensure_ascii=False).encode()
