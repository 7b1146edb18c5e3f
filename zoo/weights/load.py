"""Build a module around the tensors of safetensors files: compared first, then mapped and assigned, not copied.

The module is built on the meta device, where tensors have a shape and no bytes, and drawing initial weights is left
out. Its tensors then become views of the mapped file, so loading costs neither time nor a second copy; pages are read
when a weight is first used. The mapping is private: writing to a weight copies that page and never reaches the file.
Keep the file as it is while the module lives (replacing it by a rename is safe, truncating it in place is not).
Files with an unpadded header, such as OpenAI's GPT-2, have tensors that are not aligned to their elements: they work,
and multiply a single vector a third slower; aligning them would take a copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.overrides import TorchFunctionMode

from zoo.errors import NoWeightsError, PluginError, TensorsError
from zoo.weights.placement import Placement
from zoo.weights.tensors import TensorInfo, read_header

Place = Callable[[str, Any], Placement | None]
"""(stored tensor name, config) -> where it goes, or None for a tensor the module does not use."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""The stored dtypes a module's tensor may have, as torch's. Floating ones are converted, others must be equal."""

_SHOWN = 3  # names of each kind in an error


@dataclass(frozen=True)
class _Source:
    """A stored tensor that goes into the module."""

    file: Path
    stored: str
    info: TensorInfo
    transpose: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.info.shape[::-1] if self.transpose else self.info.shape

    @property
    def floating(self) -> bool:
        dtype = DTYPES.get(self.info.dtype)
        return dtype is not None and dtype.is_floating_point


def load(
    build: Callable[[Any], nn.Module],
    config: Any,
    files: Sequence[Path],
    *,
    place: Place | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """The module `build(config)` with the tensors of the safetensors files (the shards of one checkpoint).

    place: maps stored names to the module's; without it they are the module's own. With it, a module may have
        `absent`: a parameter's name to a hint for who has a file in which nothing but that is missing.
    dtype: of all floating tensors; None keeps the one that most stored values have, but makes float32 of float16 on
        a CPU, which has no arithmetic for it.
    The module is in evaluation mode and its parameters require no gradients: training asks for both. It must keep no
    buffer that is not stored, such as a table of positions: there would be nothing to fill it with.
    Raises TensorsError for a malformed file, or with the missing, unexpected and mismatched tensors; NoWeightsError
    without files; PluginError for a buffer as above.
    """
    if not files:
        raise NoWeightsError("there is no safetensors file to load")
    module = build_on_meta(build, config)
    tied = _tied_names(module)
    sources = _sources(files, place, config, tied)
    _compare(module, tied, sources, files, _meaning(module) if place else {})
    device = torch.device(device)
    kind = dtype or _usual_dtype(sources.values(), device)
    assigned = dict(_tensors(sources, kind, device))
    for name, _ in module.named_parameters():
        assigned[name] = nn.Parameter(
            assigned[name]
        )  # else two names of one tied parameter would get one each
    module.load_state_dict(assigned | {name: assigned[first] for name, first in tied.items()}, assign=True)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_meta:
            raise PluginError(
                f"{type(module).__name__} keeps the buffer {name}, which is not part of its stored tensors; "
                "it must be persistent, or be computed where it is used"
            )
    return module.eval().requires_grad_(False)


def build_on_meta(build: Callable[[Any], nn.Module], config: Any) -> nn.Module:
    """The module with tensors that have a shape and no bytes; drawing initial weights is left out.

    torch's first draw on the meta device takes over a second, whatever its size.
    """
    with torch.device("meta"), _NothingDrawn():
        return build(config)


class _NothingDrawn(TorchFunctionMode):
    """Inside it, functions that fill a tensor with initial values return it as it is."""

    _FILL = frozenset(
        getattr(torch.Tensor, name)
        for name in ("uniform_", "normal_", "exponential_", "bernoulli_", "fill_", "zero_", "clamp_")
    )

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._FILL or getattr(func, "__module__", "") == "torch.nn.init":
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


def _sources(
    files: Sequence[Path], place: Place | None, config: Any, tied: Mapping[str, str]
) -> dict[str, _Source]:
    """The stored tensors by the name they have in the module. Raises TensorsError when two want one name."""
    sources: dict[str, _Source] = {}
    for file in files:
        for stored, info in read_header(file).tensors.items():
            placement = place(stored, config) if place else Placement(stored)
            if placement is None:
                continue
            name = tied.get(placement.name, placement.name)
            if name in sources:
                other = sources[name]
                raise TensorsError(
                    f"{file}: {stored} and {other.stored} in {other.file.name} are both {name} of the model"
                )
            sources[name] = _Source(file, stored, info, placement.transpose)
    return sources


def _tied_names(module: nn.Module) -> dict[str, str]:
    """The names of parameters that also have an earlier name, to that name."""
    firsts: dict[int, str] = {}
    tied = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        first = firsts.setdefault(id(tensor), name)
        if first != name:
            tied[name] = first
    return tied


def _compare(
    module: nn.Module,
    tied: Mapping[str, str],
    sources: Mapping[str, _Source],
    files: Sequence[Path],
    absent: Mapping[str, str],
) -> None:
    """Names, shapes and dtypes against the module's. Raises one TensorsError with all that differ.

    absent: a parameter's name to what it means when nothing but that is missing.
    """
    wanted = {name: tensor for name, tensor in module.state_dict().items() if name not in tied}
    missing = [name for name in wanted if name not in sources]
    unexpected = [source.stored for name, source in sources.items() if name not in wanted]
    mismatched = []
    for name, source in sources.items():
        tensor = wanted.get(name)
        if tensor is not None and not _fits(source, tensor):
            has = f"{source.info.dtype} {list(source.shape)}"
            wants = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
            mismatched.append(f"{name}: stored {has}, the model has {wants}")
    kinds = {"missing": missing, "unexpected": unexpected, "mismatched": mismatched}
    faults = [f"{len(names)} {kind} ({_listed(names)})" for kind, names in kinds.items() if names]
    if faults:
        usual = "the weights belong to another model, or the config does not describe them"
        alone = missing[0] if len(missing) == 1 and len(faults) == 1 else ""
        raise TensorsError(
            f"{_files_named(files)}: its tensors are not those of {type(module).__name__}: {', '.join(faults)}",
            hint=absent.get(alone, usual),
        )


def _meaning(module: nn.Module) -> Mapping[str, str]:
    absent: Mapping[str, str] = getattr(module, "absent", {})
    return absent


def _fits(source: _Source, tensor: torch.Tensor) -> bool:
    if source.shape != tuple(tensor.shape):
        return False
    if tensor.is_floating_point():
        return source.floating
    return DTYPES.get(source.info.dtype) == tensor.dtype


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return "; ".join(names[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _files_named(files: Sequence[Path]) -> str:
    return str(files[0]) + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def _usual_dtype(sources: Iterable[_Source], device: torch.device) -> torch.dtype:
    """The floating dtype that most values are stored in; float32 for float16 on a CPU."""
    values: dict[str, int] = {}
    for source in sources:
        if source.floating:
            values[source.info.dtype] = values.get(source.info.dtype, 0) + math.prod(source.shape)
    usual = DTYPES[max(values, key=lambda name: values[name], default="F32")]
    return torch.float32 if usual == torch.float16 and device.type == "cpu" else usual


def _tensors(
    sources: Mapping[str, _Source], dtype: torch.dtype, device: torch.device
) -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor of the module: a view of the mapped file where dtype and device allow it."""
    for file in dict.fromkeys(source.file for source in sources.values()):
        try:
            with safe_open(str(file), framework="pt") as mapped:
                for name, source in sources.items():
                    if source.file == file:
                        yield name, _arranged(mapped.get_tensor(source.stored), source, dtype, device)
        except SafetensorError as error:
            raise TensorsError(f"{file}: {error}") from None


def _arranged(
    tensor: torch.Tensor, source: _Source, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    tensor = tensor.to(device)
    if source.floating:
        tensor = tensor.to(dtype)
    return tensor.permute(*reversed(range(tensor.dim()))) if source.transpose else tensor
