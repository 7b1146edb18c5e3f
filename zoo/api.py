"""The Python interface: list, info, pull, load and build models."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import targets
from zoo.errors import UsageError, ZooWarning
from zoo.registry.catalogue import catalogue
from zoo.registry.entry import ModelEntry

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo.model import Model
    from zoo.targets import Target
    from zoo.weights.hub import Progress

OPENED = {
    "text": "zoo.modality.text_model",
    "table": "zoo.modality.table_model",
    "sequence": "zoo.modality.sequence_model",
}
"""Modality to its module, whose `opened(target, network, files)` makes the model that a person works with."""

DTYPES = ("auto", "float32", "float16", "bfloat16")


def list_models(
    pattern: str = "*", *, task: str = "", family: str = "", plugin: str = "", installed: bool = False
) -> list[ModelEntry]:
    """The registered models whose name or alias fits a pattern with wildcards, such as "gpt2*"."""
    return catalogue().match(pattern, task=task, family=family, plugin=plugin, installed=installed)


def info(name: str) -> ModelEntry:
    """What the registry says of one model. Raises UnknownModelError with the nearest names."""
    return catalogue().find(name)


def pull(
    target: str | Target,
    *,
    revision: str = "",
    offline: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> dict[str, Path]:
    """Download and check all files of a model; returns them by name. `report` is called as bytes arrive."""
    return targets.files(
        targets.find(target, revision=revision, offline=offline), offline=offline, report=report
    )


def load(
    target: str | Target,
    *,
    revision: str = "",
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
    compile: bool = False,  # noqa: A002 - torch's own word
    report: Callable[[Progress], None] | None = None,
) -> Model:
    """Load a model by registry name, folder, or hf:user/repo[@revision], ready to sample.

    What is returned is the modality's: a `TextModel`, a `TableModel` or a `SequenceModel` of `zoo.modality`.

    target: as on the command line, or what `zoo.targets.find` found.
    device: auto (the accelerator if there is one), cpu, cuda, cuda:1, ...
    dtype: auto (as stored, but float32 for float16 on a CPU), float32, float16, bfloat16.
    compile: faster decoding on a CPU, with kernels that a C compiler builds once. Where that cannot be, a ZooWarning
        says why, and the model decodes as without it.
    Raises UnknownModelError, PluginError, WeightsError and their kinds; UsageError for a bad device or dtype.
    """
    found = targets.find(target, revision=revision, offline=offline)
    network, files = load_network(found, device=device, dtype=dtype, offline=offline, report=report)
    if compile:
        from zoo.nn.fast import compiled

        if reason := compiled(network):
            warnings.warn(reason, ZooWarning, stacklevel=2)
    return _model(found, network, files)


def load_network(
    found: Target,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> tuple[nn.Module, dict[str, Path]]:
    """A target's network with its weights, of any modality, and the target's files by name. Raises as `load` does."""
    from zoo.weights import load as loading
    from zoo.weights import tensors

    on = _device(device)
    files = targets.files(found, offline=offline, report=report)
    stored = targets.weight_files(files)
    family = found.family
    own_names = bool(stored) and tensors.zoo_metadata(stored[0]) is not None
    network = loading.load(
        family.resolve("build"),
        found.config,
        stored,
        place=family.resolve("place") if family.place and not own_names else None,
        dtype=dtype_named(dtype),
        device=on,
    )
    return network, {**{path.name: path for path in stored}, **targets.companions(family, files)}


def build(target: str, *, seed: int = 0, device: str = "auto", dtype: str = "float32") -> Model:
    """A model of the given name with random weights that depend on the seed alone. Nothing is downloaded."""
    import torch

    on, kind = _device(device), dtype_named(dtype)
    found = targets.find(target)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = found.family.resolve("build")(found.config)
    return _model(found, network.eval().to(device=on, dtype=kind), {})


def _model(found: targets.Target, network: nn.Module, files: dict[str, Path]) -> Model:
    """What the modality makes of a network: a `Model` that samples."""
    modality = found.family.modality
    if modality not in OPENED:
        raise UsageError(f"{found.name}: the modality {modality!r} is not one this core can sample")
    model: Model = importlib.import_module(OPENED[modality]).opened(found, network, files)
    return model


def dtype_named(name: str) -> torch.dtype | None:
    """The torch dtype of one of `DTYPES`; None for auto. Raises UsageError for another name."""
    import torch

    if name not in DTYPES:
        raise UsageError(f"dtype is {name!r}, but must be one of {', '.join(DTYPES)}")
    return None if name == "auto" else getattr(torch, name)


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(
            f"device is {name!r}, which is not here", hint="use auto, cpu, or cuda where there is a GPU"
        ) from None
    return device
