"""A run folder looked at before anything is sent: what model it is, and whether its weights are whole and finite."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import plugins, settings
from zoo.errors import NoWeightsError, UsageError, WeightsError
from zoo.family import Family
from zoo.publish.content import Content
from zoo.publish.history import without_paths
from zoo.weights import companions, local, tensors
from zoo.weights.tensors import Header, ZooMetadata

if TYPE_CHECKING:
    import torch
    from torch import nn

CONFIG = "config.json"
_COMPANION = re.compile(
    r"(added_tokens|chat_template|classes|columns|feature_extractor|generation_config|merges|preprocessor|"
    r"processor|scheduler|sentencepiece|sequence|special_tokens|spiece|tokenizer|vocab)[\w.-]*\.(json|txt|jinja|model)"
)
"""The files beside weights that a model may need. A run's own notes are none of them: they may name the machine."""
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_CHUNK = 1 << 24  # values looked at together


@dataclass(frozen=True)
class Source:
    """What is pushed. said: the zoo metadata of the weights' header. files: weights and companions, by their name in
    the repo. dtype: of most stored values, "" for none that registry files name. can: as in registry files. step: of
    the run that the weights are of, None when they do not say.
    """

    folder: Path
    family: Family
    said: ZooMetadata
    files: Mapping[str, Content]
    parameters: int
    dtype: str
    can: tuple[str, ...]
    step: int | None = None


def read(run: Path) -> Source:
    """Look at a run folder, or at a safetensors file of the zoo. Reads all of the weights.

    Raises UsageError for a path where nothing is, NoWeightsError without weights, TensorsError when they are not
    those of their config, WeightsError when a value is not finite or no zoo wrote the file, PluginError.
    """
    run = run.expanduser()
    if not run.exists():
        raise UsageError(f"{run}: there is no such folder", hint="a run folder of `zoo train` is expected")
    present = local.folder(run)
    stored = [path for name, path in sorted(present.items()) if name.endswith(".safetensors")]
    if not stored:
        raise NoWeightsError(f"{run} has no safetensors file", hint=f"expected {local.WEIGHTS[0]} there")
    said = _said(stored[0], run)
    family = plugins.family(said.plugin, said.family)
    _check_config(present.get(CONFIG), said)
    headers = [tensors.read_header(path) for path in stored]
    network = _network(family, said, stored, headers)
    small = {name: path for name, path in present.items() if _COMPANION.fullmatch(name)}
    return Source(
        run if run.is_dir() else run.parent,
        family,
        said,
        {**_weights(stored, headers, present), **_small(small)},
        sum(parameter.numel() for parameter in network.parameters()),
        _DTYPES.get(_usual(headers), ""),
        _can(family, network, small),
        _step(headers[0]),
    )


def _step(header: Header) -> int | None:
    said = header.metadata.get("step", "")
    return int(said) if re.fullmatch(r"\d{1,18}", said) else None


def _said(weights: Path, run: Path) -> ZooMetadata:
    said = tensors.zoo_metadata(weights)
    if said is None:
        raise WeightsError(
            f"{run}: the header of {weights.name} does not say what model it is",
            hint="a run folder, or another file that the zoo wrote, is expected",
        )
    return said


def _check_config(path: Path | None, said: ZooMetadata) -> None:
    """A config.json beside the weights may only be the one that would be written."""
    if path is None:
        return
    stated = companions.read_json(path).get("zoo")
    if stated != json.loads(tensors.zoo_metadata_text(said)["zoo"]):
        problem = "says another model than" if stated else "is another program's, and may contradict"
        raise WeightsError(
            f"{path}: it {problem} the header of the weights",
            hint=f"remove it: `zoo push` writes {CONFIG} from the header",
        )


def _network(
    family: Family, said: ZooMetadata, stored: Sequence[Path], headers: Sequence[Header]
) -> nn.Module:
    """The module with the stored tensors, which are mapped and not copied; all their values are finite."""
    from zoo.weights import load

    try:
        config = settings.make(family.resolve("config"), said.config, what=f"config in {stored[0].name}")
    except UsageError as error:  # the file's mistake, not the person's
        raise WeightsError(str(error)) from error
    dtype = load.DTYPES.get(_usual(headers))
    network = load.load(family.resolve("build"), config, stored, dtype=dtype)
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


def _can(family: Family, network: Any, small: Mapping[str, Path]) -> tuple[str, ...]:
    """What the module's methods do; a text model samples only with a tokenizer, and chats only with a template."""
    from zoo.evaluation.scoring import scored_by
    from zoo.testing.conformance import METHODS

    methods = {**METHODS, "score": scored_by(family.modality)}
    found = [can for can, method in methods.items() if callable(getattr(network, method, None))]
    if family.modality != "text":
        return tuple(found)
    tokenizer = family.resolve("tokenizer")(dict(small)) if family.tokenizer else None
    if tokenizer is None:
        return tuple(can for can in found if can != "sample")
    return (*found, "chat") if tokenizer.chat_template else tuple(found)


def _weights(
    stored: Sequence[Path], headers: Sequence[Header], present: Mapping[str, Path]
) -> dict[str, Content]:
    """The weights as they are, but for paths of this machine in their headers. A single file gets the usual name."""
    if len(stored) == 1:
        name = stored[0].name if stored[0].name in local.WEIGHTS else local.WEIGHTS[0]
        return {name: _without_paths(stored[0], headers[0])}
    indexes = {f"{name}.index.json" for name in local.WEIGHTS} & present.keys()
    files = {path.name: _without_paths(path, header) for path, header in zip(stored, headers, strict=True)}
    return files | _small({name: present[name] for name in indexes})


def _without_paths(path: Path, header: Header) -> Content:
    clean = {name: text if name == "zoo" else without_paths(text) for name, text in header.metadata.items()}
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
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None


def _small(files: Mapping[str, Path]) -> dict[str, Content]:
    """The small files' bytes, held from now on."""
    read = {}
    for name, path in sorted(files.items()):
        companions.check_size(path, companions.MOST_TOKENIZER_BYTES)
        try:
            read[name] = Content.of_bytes(path.read_bytes())
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    return read
