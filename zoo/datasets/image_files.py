"""Images from files as arrays: decoded by Pillow within bounds, laid over white, brought to one size."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from zoo import bounds
from zoo.datasets.arrays import Pile
from zoo.datasets.source import Member
from zoo.errors import DataError, MissingDependencyError
from zoo.os_words import reason

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
CAPTIONS = "captions.jsonl"
"""Beside images: a line {"file": ..., "category": ...} for each."""

MOST_PIXELS = 2**26
"""Of one image; a few kilobytes of a hostile file can stand for billions."""

_BYTES_A_PIXEL = 16  # while it is decoded, laid over white and turned
_FORMATS = ("PNG", "JPEG", "WEBP")
_MOST_BYTES = 2**28  # of one image file, or of the captions
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one size. pixels: (N, H, W, C) uint8, C is 1 or 3. labels: (N,) int64 into classes, or None."""

    pixels: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()


def from_members(members: Sequence[Member], size: int | None, *, labels: bool) -> Images:
    """The images among the files of a folder or an archive, in their order.

    labels: a class for each folder at the top, in order of name; or for each category that a captions.jsonl names.
    Raises DataError, which names the file.
    """
    pictures = [member for member in members if member.name.lower().endswith(SUFFIXES)]
    if not pictures:
        raise DataError(f"{members[0].path} has no {', '.join(SUFFIXES)} file")
    named = _classes(members, pictures) if labels else []
    classes = tuple(sorted(set(named)))
    pixels = gather(((str(member), decoded(member)) for member in pictures), size)
    return Images(pixels, np.array([classes.index(name) for name in named]) if labels else None, classes)


def decoded(member: Member) -> Image.Image:
    """The image in a file. Raises DataError when it is damaged, too large, or none; MissingDependencyError."""
    with member.open() as file:
        try:
            content = file.read(_MOST_BYTES + 1)
        except Exception as error:  # an archive's member raises whatever its bytes lead zlib to
            raise DataError(f"{member} cannot be read: {reason(error)}") from None
    if len(content) > _MOST_BYTES:
        raise DataError(f"{member} is larger than {_MOST_BYTES:,} bytes, too much for one image")
    return _decode(content, str(member))


def _decode(content: bytes, name: str) -> Image.Image:
    image_module = _pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata: no concern of the reader
            image: Image.Image = image_module.open(io.BytesIO(content), formats=_FORMATS)
            _require_moderate(image, name)
            return _upright(image)
    except DataError:
        raise
    except image_module.DecompressionBombError:
        raise _too_large(name, "far too many") from None
    except image_module.UnidentifiedImageError:
        raise DataError(f"{name} is not a PNG, JPEG or WebP image") from None
    except Exception as error:  # a stranger's file in the decoder: any kind of error
        raise DataError(f"{name} is damaged: {' '.join(str(error).split())[:100]}") from None


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependencyError(
            "the package pillow, which decodes images, is not installed",
            hint="pip install 'zoo-core[images]'",
        ) from None
    return Image


def _require_moderate(image: Image.Image, name: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(name, f"{image.width}x{image.height}")
    bounds.require_memory(name, image.width * image.height * _BYTES_A_PIXEL)


def _too_large(name: str, pixels: str) -> DataError:
    return DataError(f"{name} is refused: it has {pixels} pixels, and at most {MOST_PIXELS:,} are decoded")


def _upright(image: Image.Image) -> Image.Image:
    """The whole image decoded, turned as its camera noted."""
    from PIL import ImageOps

    image.load()
    return ImageOps.exif_transpose(image)


def gather(named: Iterable[tuple[str, Image.Image]], size: int | None) -> np.ndarray:
    """Images with their names as (N, H, W, 3) uint8, each a square of `size`; or all of the one size that they have.

    Raises DataError, naming two of them, when their sizes differ and none is asked for.
    """
    pile, first = None, ""
    for name, image in named:
        pixels = on_white(image if size is None else squared(image, size))
        if pile is None:
            pile, first, shape = Pile(pixels.shape, np.uint8), name, pixels.shape
        elif pixels.shape != shape:
            raise _unequal(first, shape, name, pixels.shape)
        pile.add(pixels)
    if pile is None:
        raise DataError("there are no images in the data")
    return pile.array()


def _unequal(one: str, shape: tuple[int, ...], other: str, others: tuple[int, ...]) -> DataError:
    return DataError(
        f"images differ in size: {one} is {shape[1]}x{shape[0]}, {other} is {others[1]}x{others[0]}",
        hint=f"cut and scale all to one size: --set data.size={min(*shape[:2], *others[:2])}",
    )


def squared(image: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle, scaled to `size` pixels by Lanczos' filter."""
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    cut = Image.fromarray(on_white(image.crop((left, top, left + side, top + side))))
    return cut if side == size else cut.resize((size, size), Image.Resampling.LANCZOS)


def on_white(image: Image.Image) -> np.ndarray:
    """An image of any mode as (H, W, 3) uint8, what is transparent over white."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits of gray, which Pillow would clip instead of scale
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def from_arrays(path: Path, size: int | None, *, labels: bool) -> Images:
    """An .npy file with images, uint8 (N, H, W) or (N, H, W, C); or an .npz with them as `images`, and `labels` (N,).

    An .npy file is mapped, not loaded. Raises DataError for what is neither.
    """
    stored = _load(path)
    pixels, said = stored.get("images"), stored.get("labels")
    if pixels is None:
        raise DataError(f"{path} has no array `images`, but {', '.join(stored) or 'nothing'}")
    fits = pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] in (1, 3))
    if not fits or pixels.dtype != np.uint8 or not pixels.size:
        raise DataError(
            f"{path}: images are {pixels.dtype} {pixels.shape}, but must be uint8 (N, H, W), (N, H, W, 1) or "
            f"(N, H, W, 3)"
        )
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    numbers, classes = _numbered(path, said, len(pixels)) if labels else (None, ())
    if size is not None and pixels.shape[1:3] != (size, size):
        image_module = _pillow()
        each = (image_module.fromarray(image[..., 0] if image.shape[2] == 1 else image) for image in pixels)
        pixels = gather(((f"image {number}", image) for number, image in enumerate(each)), size)
    return Images(pixels, numbers, classes)


def _load(path: Path) -> Mapping[str, np.ndarray]:
    try:
        if path.suffix.lower() == ".npy":
            return {"images": np.load(bounds.regular(path), mmap_mode="r", allow_pickle=False)}
        with bounds.regular(path).open("rb") as stream:
            return unpacked(str(path), stream, ("images", "labels"))
    except DataError:
        raise
    except Exception as error:  # numpy raises whatever a damaged file leads it to
        raise DataError(f"{path} cannot be read: {reason(error)}") from None


def unpacked(name: str, stream: IO[bytes], wanted: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of an .npz file in memory; wanted: their names, none means all.

    Raises DataError when they are far larger than the file, or than the memory that is free; and whatever numpy
    raises for a damaged file.
    """
    size = stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream) as archive:
        entries = [
            entry
            for entry in archive.infolist()
            if not wanted or entry.filename.removesuffix(".npy") in wanted
        ]
    bytes_unpacked = sum(entry.file_size for entry in entries)
    bounds.require_moderate(name, size, bytes_unpacked)
    bounds.require_memory(name, bytes_unpacked)
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as arrays:
        return {each: arrays[each] for each in arrays.files if not wanted or each in wanted}


def _numbered(path: Path, labels: np.ndarray | None, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    if labels is None:
        raise DataError(
            f"{path} has no array `labels`", hint="train without classes: --set data.labels=false"
        )
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= count:
        raise DataError(
            f"{path}: labels are {labels.dtype} {labels.shape}, but must be whole numbers from 0, one an image"
        )
    return labels.astype(np.int64), tuple(str(number) for number in range(int(labels.max()) + 1))


def _classes(members: Sequence[Member], pictures: Sequence[Member]) -> list[str]:
    """The class of each picture."""
    captions = next((member for member in members if member.name == CAPTIONS), None)
    if captions is not None:
        said = dict(_categories(captions))
        found = {picture.name: said.get(picture.name) for picture in pictures}
        source = f"a category in {CAPTIONS}"
    else:
        found = {picture.name: picture.name.rpartition("/")[0].split("/")[0] for picture in pictures}
        source = "a folder that says its class"
    for name, label in found.items():
        if not label:
            raise DataError(
                f"{pictures[0].path}: {name} has no {source.removeprefix('a ')}",
                hint="train without classes: --set data.labels=false",
            )
    return [str(label) for label in found.values()]


def _categories(captions: Member) -> Iterator[tuple[str, str]]:
    """(file, category) of each line."""
    content = captions.read()
    if len(content) > _MOST_BYTES:
        raise DataError(f"{captions} is larger than {_MOST_BYTES:,} bytes")
    for number, line in enumerate(content.splitlines(), 1):
        try:
            said = json.loads(line)
            yield str(said["file"]), str(said["category"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise DataError(f"{captions}: line {number} is not an object with file and category") from None


def with_channels(pixels: np.ndarray, wanted: str) -> np.ndarray:
    """Pixels (N, H, W, C) as "gray" (C = 1), "colour" (C = 3), or "auto": gray when every pixel is."""
    if pixels.shape[3] == 1:
        return np.broadcast_to(pixels, (*pixels.shape[:3], 3)) if wanted == "colour" else pixels
    if wanted == "colour" or (wanted == "auto" and not all(_is_gray(part) for part in _parts(pixels))):
        return pixels
    gray = Pile((*pixels.shape[1:3], 1), np.uint8)
    for part in _parts(pixels):
        gray.add(_luma(part))
    return gray.array()


def _parts(pixels: np.ndarray) -> Iterator[np.ndarray]:
    return (pixels[at : at + _ROWS_AT_ONCE] for at in range(0, len(pixels), _ROWS_AT_ONCE))


def _is_gray(pixels: np.ndarray) -> bool:
    return bool((pixels[..., :1] == pixels[..., 1:]).all())


def _luma(pixels: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 luma in 16 bits of fraction, as Pillow rounds it; of a gray pixel its own value."""
    weights = np.array([19595, 38470, 7471], np.uint32)
    return ((pixels.astype(np.uint32) @ weights + 0x8000) >> 16).astype(np.uint8)[..., None]
