"""Images as training takes them: divided, in [-1, 1], with classes where they are wanted, and shown as a grid."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.datasets import image_files, previews
from zoo.datasets.arrays import ArrayRows, Selection, config_settings, held_out_loss
from zoo.datasets.image_files import Images
from zoo.datasets.source import Source
from zoo.datasets.split import split_rows, split_seed
from zoo.errors import DataError
from zoo.family import Family
from zoo.modality import CODEC_FILE
from zoo.settings import Settings, setting

CLASSES = CODEC_FILE["image"]
"""The names of the classes in order of their number, beside the weights."""

_GAP = 2  # pixels between the images of a grid


@dataclass(frozen=True)
class ImageRules(Settings):
    """How images become training and held-out images."""

    size: int | None = setting(
        None,
        help="cut to a square and scale to this; unset, all must have one size",
        minimum=1,
        maximum=8192,
        unit="pixels",
    )
    channels: str = setting(
        "auto", help="auto is gray when every pixel is", choices=("auto", "gray", "colour")
    )
    labels: bool = setting(False, help="train on classes too: folders, categories or `labels`")
    held_out_share: float = setting(
        0.05, help="share of the images that the seed holds out", minimum=0.0, maximum=0.9
    )
    split_seed: int | None = split_seed()


def read(source: Source, rules: ImageRules, seed: int) -> ImageMaterial:
    """The images of a folder, an archive, an .npy or .npz file. Raises DataError for what cannot be used."""
    path = source.path
    if path is None:
        raise DataError(f"{source.name} cannot be read as images")
    if path.suffix.lower() in (".npy", ".npz") and path.is_file():
        found = image_files.from_arrays(path, rules.size, labels=rules.labels)
    else:
        members = source.files((*image_files.SUFFIXES, ".jsonl"))
        found = image_files.from_members(members, rules.size, labels=rules.labels)
    return ImageMaterial(found, rules, seed)


class ImageMaterial:
    """A `zoo.datasets.material.Material` of images. `bind` comes before `preview`."""

    def __init__(self, images: Images, rules: ImageRules, seed: int) -> None:
        """Raises DataError when the images cannot be divided."""
        self._seed = seed
        self._classes = images.classes
        self._family: Family | None = None
        pixels = image_files.with_channels(images.pixels, rules.channels)
        self._shape = pixels.shape[1:]  # (H, W, C)
        arrays = (pixels,) if images.labels is None else (pixels, images.labels)
        train, held_out = split_rows(len(pixels), rules.held_out_share, seed)
        self._train, self._held_out = (Selection(arrays, rows, _prepared) for rows in (train, held_out))
        height, width, channels = self._shape
        kind = "gray" if channels == 1 else "colour"
        classes = f" in {len(images.classes)} classes" if images.classes else ""
        self.summary = (
            f"{len(pixels):,} {kind} images of {width}x{height}{classes}, {len(held_out):,} held out"
        )

    def learn(self, folder: Path) -> None:
        """Write the names of the classes, if there are any, into folder/classes.json."""
        if self._classes:
            previews.write(folder / CLASSES, json.dumps(self._classes, indent=1).encode() + b"\n")

    def bind(self, family: Family, files: Mapping[str, Path]) -> dict[str, Any]:
        """Channels, height, width and number of classes. Raises DataError when the network knows other classes."""
        self._family = family
        if self._classes and CLASSES in files:
            _require_same(self._classes, files[CLASSES])
        height, width, channels = self._shape
        found = {"channels": channels, "height": height, "width": width}
        return config_settings(family, {**found, "classes": len(self._classes)} if self._classes else found)

    def rows(self, network: nn.Module, seed: int) -> ArrayRows:  # noqa: ARG002 - any network may try them
        """Rows of float32 (B, C, H, W) in [-1, 1]; with classes {"images": those, "labels": (B,) int64}."""
        return ArrayRows(self._train, "images", 1, seed)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """The mean loss over the held-out images."""
        return held_out_loss(network, self._held_out, self._seed)

    def preview(self, network: nn.Module, count: int, seed: int, stem: Path) -> Iterator[Path]:
        """Draw images, the last that `network.sample` yields: (N, C, H, W) in [-1, 1]; one PNG with all of them."""
        if self._family is None:
            raise DataError("the images belong to no family yet: bind them first")
        images = previews.last_sample(network, self._family, count, seed)
        yield previews.write(stem.with_name(f"{stem.name}.png"), previews.png(grid(images)))


def _prepared(pixels: np.ndarray, labels: np.ndarray | None = None) -> Any:
    images = torch.from_numpy(np.asarray(pixels)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous()
    return images if labels is None else {"images": images, "labels": torch.from_numpy(labels)}


def grid(images: torch.Tensor) -> np.ndarray:
    """Images (N, C, H, W) in [-1, 1], by rows from the top left, in one (H', W', C) uint8 image, white between."""
    values = torch.nan_to_num(images.detach().float().cpu(), nan=-1.0).clamp(-1, 1)
    pixels = ((values + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()  # (N, H, W, C)
    count, height, width, channels = pixels.shape
    columns = math.ceil(math.sqrt(count))
    lines = math.ceil(count / columns)
    whole = np.full(
        (lines * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, channels), 255, np.uint8
    )
    for number, image in enumerate(pixels):
        line, column = divmod(number, columns)
        top, left = line * (height + _GAP) + _GAP, column * (width + _GAP) + _GAP
        whole[top : top + height, left : left + width] = image
    return whole


def _require_same(classes: tuple[str, ...], file: Path) -> None:
    """The classes are those of a network's classes.json, in the same order."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        known = None
    if not isinstance(known, list):
        raise DataError(f"{file} is not a list of names")
    if known != list(classes):
        raise DataError(f"the data has the classes {_few(classes)}, but the network has {_few(known)}")


def _few(names: Sequence[Any]) -> str:
    shown = ", ".join(str(name)[:40] for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
