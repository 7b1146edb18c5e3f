"""Makes the built-in data sets again: tools/builtin_data.py FOLDER-OF-SOURCES [zoo/datasets/files]

The same sources give the same bytes; the last lines say each file's size and sha256, for zoo/datasets/builtin.py.
Needs numpy, scipy, scikit-learn 1.9 (which carries the digits), statsmodels 0.15 (which carries the sunspots) and
soundfile 0.14 (whose FLAC encoder decides bytes).
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PREPARE = ROOT / "plugins/zoo-gpt/recipes/shakespeare-nano/prepare.py"
EMOJI = ("Smileys & Emotion", "Food & Drink")
"""Categories that are shipped: one of faces and one of things, a hundred and more of each."""
DRUMS = ("bd", "drum", "sn", "perc", "tabla")
"""First parts of names that say a drum or other percussion was hit."""
LONGEST = 2.5
"""Seconds: what is longer is a roll or a texture, not a hit."""
RATE = 16_000


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: tools/builtin_data.py SOURCES [FOLDER]")
    sources = Path(sys.argv[1])
    folder = Path(sys.argv[2]) if len(sys.argv) == 3 else ROOT / "zoo/datasets/files"
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "shakespeare.zip": shakespeare(sources / "text/shakespeare.txt"),
        "mnist.npz": mnist(sources / "images/mnist-10k.npz"),
        "digits.npz": digits(),
        "emoji.zip": emoji(sources / "images/emoji-64.zip"),
        "drums.zip": drums(sources / "audio/samples"),
        "smiles.zip": smiles(sources / "molecules/nci-5k.smi"),
        "sunspots.csv": sunspots(),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
        sys.stdout.write(f"{name} {len(content)} {hashlib.sha256(content).hexdigest()}\n")
    sys.stdout.write(f"{sum(map(len, made.values())):,} bytes in all\n")


def shakespeare(source: Path) -> bytes:
    """One normalised text file a work, as the recipe of shakespeare-nano makes them."""
    found = importlib.util.spec_from_file_location("prepare", PREPARE)
    assert found is not None
    assert found.loader is not None
    prepare = importlib.util.module_from_spec(found)
    found.loader.exec_module(prepare)
    works = prepare.works(source.read_text(encoding="utf-8"))
    return archive({name: text.encode() for name, text in works.items()}, zipfile.ZIP_BZIP2)


def mnist(source: Path) -> bytes:
    with np.load(source) as arrays:
        return images(arrays["images"], arrays["labels"])


def digits() -> bytes:
    """8x8 pixels of 17 levels, which are spread over all of 0 (background) to 255 as readers of images expect."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return images(np.round(found.images * (255 / 16)).astype(np.uint8), found.target.astype(np.uint8))


def images(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    """An .npz of images (N, H, W) and labels (N,), both uint8, that numpy reads."""
    members = {}
    for name, array in (("images", pixels), ("labels", labels)):
        file = io.BytesIO()
        np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
        members[f"{name}.npy"] = file.getvalue()
    return archive(members, zipfile.ZIP_LZMA)


def emoji(source: Path) -> bytes:
    """The pictures of some categories, and captions.jsonl with a line for each."""
    with zipfile.ZipFile(source) as pictures:
        captions = [json.loads(line) for line in pictures.read("captions.jsonl").decode().splitlines()]
        chosen = [caption for caption in captions if caption["category"] in EMOJI]
        members = {caption["file"]: pictures.read(caption["file"]) for caption in chosen}
    lines = "".join(json.dumps(caption, ensure_ascii=False) + "\n" for caption in chosen)
    return archive({**members, "captions.jsonl": lines.encode()}, zipfile.ZIP_DEFLATED)


def drums(folder: Path) -> bytes:
    """Hits as 16-bit mono FLAC, resampled to 16 kHz."""
    import soundfile
    from scipy.signal import resample_poly

    members = {}
    for path in sorted(folder.glob("*.flac")):
        if path.stem.split("_")[0] not in DRUMS:
            continue
        samples, rate = soundfile.read(path, always_2d=True)
        if len(samples) > LONGEST * rate:
            continue
        mono = resample_poly(samples.mean(axis=1), RATE, rate)
        pcm = np.clip(np.round(mono * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
        file = io.BytesIO()
        soundfile.write(file, pcm, RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)
        members[path.name] = file.getvalue()
    return archive(members, zipfile.ZIP_STORED)


def smiles(source: Path) -> bytes:
    """One molecule a line, without the source's running number."""
    lines = [line.split("\t")[0] + "\n" for line in source.read_text(encoding="ascii").splitlines()]
    return archive({"nci-5k.smi": "".join(lines).encode()}, zipfile.ZIP_BZIP2)


def sunspots() -> bytes:
    """The yearly numbers in order, one a line, as statsmodels writes them; the years themselves are no frames."""
    found = importlib.util.find_spec("statsmodels")  # its data needs none of what the package imports
    assert found is not None
    assert found.submodule_search_locations is not None
    source = Path(found.submodule_search_locations[0]) / "datasets/sunspots/sunspots.csv"
    rows = list(csv.DictReader(source.read_text(encoding="ascii").splitlines()))
    years = [int(row["YEAR"]) for row in rows]
    assert years == list(range(1700, 2009))
    return "".join(f"{line}\n" for line in ("sunspots", *(row["SUNACTIVITY"] for row in rows))).encode()


def archive(members: Mapping[str, bytes], compression: int) -> bytes:
    """A zip whose bytes depend on the members alone."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            made.writestr(entry, members[name], compress_type=compression, compresslevel=9)
    return file.getvalue()


if __name__ == "__main__":
    main()
