"""Images from folders, archives and arrays: their order, size, colours, classes, and what is refused."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from toy_family import Constant, family
from zoo.datasets import image_files, images, previews
from zoo.datasets.images import ImageRules
from zoo.datasets.source import Source
from zoo.errors import DataError, MissingDependencyError

ALL = ImageRules(held_out_share=0.0)


def paint(path, colour, size=(8, 8), mode="RGB", **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **how)


def material(path, rules=ALL, seed=0):
    return images.read(Source(str(path), path=path), rules, seed)


def pixels(path, rules=ALL):
    """All images in the order they are read, (N, C, H, W) in 0 .. 255."""
    selection = material(path, rules)._train
    batch = selection.batch(np.arange(len(selection)))
    values = batch["images"] if isinstance(batch, dict) else batch
    return ((values + 1) * 127.5).round()


def labels(path, **rules):
    selection = material(path, ImageRules(held_out_share=0.0, labels=True, **rules))._train
    return selection.batch(np.arange(len(selection)))["labels"].tolist()


@pytest.fixture
def folder(tmp_path):
    """Four images of one colour each, in two classes and three formats, beside what is no image."""
    paint(tmp_path / "pets/dog/a.PNG", (40, 40, 40))
    paint(tmp_path / "pets/b.webp", (80, 80, 80), lossless=True)
    paint(tmp_path / "birds/c.jpeg", (0, 0, 0))
    paint(tmp_path / "birds/d.png", (200, 0, 0))
    paint(tmp_path / ".hidden/e.png", (1, 1, 1))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_is_read_in_order_of_name_at_any_depth(folder):
    assert pixels(folder)[:, 0, 0, 0].tolist() == [0, 200, 80, 40]


def test_rows_are_float32_from_minus_one_to_one_with_channels_first(tmp_path):
    paint(tmp_path / "a.png", (0, 127, 255), size=(5, 3))
    paint(tmp_path / "b.png", (0, 127, 255), size=(5, 3))
    rows = material(tmp_path).rows(Constant(torch.zeros(1)), 0)
    batch = rows.rows(0, 2)
    assert (batch.shape, batch.dtype) == ((2, 3, 3, 5), torch.float32)
    assert batch[0, :, 2, 4].tolist() == [-1, pytest.approx(-1 / 255), 1]
    assert (rows.unit, rows.units, rows.epoch) == ("images", 1, 2)


def test_an_archive_is_read_as_the_folder_is(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*"), reverse=True):
            if path.is_file() and path.suffix != ".zip":
                archive.write(path, path.relative_to(folder).as_posix())
    assert torch.equal(pixels(tmp_path / "all.zip"), pixels(folder))


def test_top_folders_are_classes(folder):
    (folder / "birds" / "deep").mkdir()
    paint(folder / "birds/deep/z.png", (9, 9, 9))
    assert labels(folder) == [0, 0, 0, 1, 1]
    found = material(folder, ImageRules(labels=True, held_out_share=0.2))
    assert found.summary == "5 colour images of 8x8 in 2 classes, 1 held out"
    paint(folder / "stray.png", (0, 0, 0))
    with pytest.raises(DataError, match=r"stray\.png has no folder that says its class") as refused:
        labels(folder)
    assert refused.value.hint.endswith("--set data.labels=false")


def test_captions_say_the_category(tmp_path):
    for name, category in (("b.png", "food"), ("a.png", "faces"), ("c.png", "food")):
        paint(tmp_path / name, (1, 2, 3))
        with (tmp_path / "captions.jsonl").open("a") as file:
            file.write(json.dumps({"file": name, "name": "?", "category": category}) + "\n")
    assert labels(tmp_path) == [0, 1, 1]
    paint(tmp_path / "d.png", (1, 2, 3))
    with pytest.raises(DataError, match=r"d\.png has no category in captions\.jsonl"):
        labels(tmp_path)
    (tmp_path / "captions.jsonl").write_text('{"file": "a.png", "category": "x"}\n[1]\n')
    with pytest.raises(DataError, match=r"captions\.jsonl: line 2 is not an object with file and category"):
        labels(tmp_path)


def test_what_is_transparent_lies_over_white(tmp_path):
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 8, 4))
    image.save(tmp_path / "alpha.png")
    image.quantize(4).save(tmp_path / "palette.png", transparency=image.quantize(4).getpixel((0, 7)))
    found = pixels(tmp_path)
    assert found[0, :, 7, 0].tolist() == found[1, :, 7, 0].tolist() == [255, 255, 255]
    assert found[0, :, 0, 0].tolist() == found[1, :, 0, 0].tolist() == [0, 0, 255]


def test_sixteen_bits_of_gray_are_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((4, 4), 0x4080, np.uint16)).save(tmp_path / "deep.png")
    assert set(pixels(tmp_path).flatten().tolist()) == {0x40}


def test_a_photograph_is_turned_as_its_camera_noted(tmp_path):
    image = Image.new("RGB", (8, 4), "white")
    image.paste("black", (0, 0, 4, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter, clockwise, to be seen
    image.save(tmp_path / "a.png", exif=exif)
    found = pixels(tmp_path)
    assert found.shape[2:] == (8, 4)
    assert found[0, 0, 0].tolist() == [0] * 4
    assert found[0, 0, 7].tolist() == [255] * 4


def test_gray_is_found_and_colours_are_made_or_dropped_on_demand(tmp_path):
    paint(tmp_path / "a.png", (50, 50, 50))
    assert pixels(tmp_path).shape[1] == 1
    assert pixels(tmp_path, ImageRules(channels="colour", held_out_share=0.0)).shape[1] == 3
    paint(tmp_path / "b.png", (255, 0, 10))
    assert pixels(tmp_path).shape[1] == 3
    gray = pixels(tmp_path, ImageRules(channels="gray", held_out_share=0.0))
    witness = Image.open(tmp_path / "b.png").convert("L").getpixel((0, 0))
    assert gray[:, 0, 0, 0].tolist() == [50, witness]


def test_gray_of_every_colour_is_as_pillow_rounds_it():
    colours = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    witness = [np.asarray(Image.fromarray(image).convert("L")) for image in colours]
    assert (image_files.with_channels(colours, "gray")[..., 0] == witness).all()


def test_images_of_unequal_sizes_need_one(tmp_path):
    paint(tmp_path / "a.png", (0, 0, 0), size=(8, 8))
    paint(tmp_path / "b.png", (0, 0, 0), size=(6, 9))
    with pytest.raises(DataError, match=r"a\.png is 8x8, .*b\.png is 6x9") as refused:
        material(tmp_path)
    assert refused.value.hint.endswith("--set data.size=6")
    assert pixels(tmp_path, ImageRules(size=4, held_out_share=0.0)).shape == (2, 1, 4, 4)


def test_a_size_takes_the_square_in_the_middle_by_lanczos(tmp_path):
    drawn = np.random.default_rng(1).integers(0, 256, (20, 44, 3), np.uint8)
    Image.fromarray(drawn).save(tmp_path / "wide.png")
    found = pixels(tmp_path, ImageRules(size=10, held_out_share=0.0))[0].permute(1, 2, 0)
    witness = Image.fromarray(drawn[:, 12:32]).resize((10, 10), Image.Resampling.LANCZOS)
    assert torch.equal(found, torch.from_numpy(np.array(witness)).float())
    kept = pixels(tmp_path, ImageRules(size=20, held_out_share=0.0))[0].permute(1, 2, 0)
    assert torch.equal(kept, torch.from_numpy(drawn[:, 12:32]).float())


def arrays(path, **named):
    np.savez_compressed(path, **named)
    return path


GRID = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)


def test_arrays_are_images_with_labels(tmp_path):
    path = arrays(tmp_path / "a.npz", images=GRID, labels=np.array([2, 0, 1, 2, 0], np.uint8), more=GRID)
    assert pixels(path)[:, 0].tolist() == GRID.tolist()
    assert labels(path) == [2, 0, 1, 2, 0]
    np.save(tmp_path / "b.npy", np.repeat(GRID[..., None], 3, axis=3) + np.array([0, 1, 2], np.uint8))
    assert pixels(tmp_path / "b.npy").shape == (5, 3, 2, 3)
    assert pixels(path, ImageRules(size=4, held_out_share=0.0)).shape == (5, 1, 4, 4)


def test_an_array_file_is_mapped_not_loaded(tmp_path):
    np.save(tmp_path / "a.npy", GRID)
    found = image_files.from_arrays(tmp_path / "a.npy", None, labels=False)
    assert isinstance(found.pixels, np.memmap)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"pictures": GRID}, "has no array `images`"),
        ({"images": GRID.astype(np.float32)}, r"images are float32 \(5, 2, 3\), but must be uint8"),
        ({"images": np.zeros((2, 3, 4, 4), np.uint8)}, r"images are uint8 \(2, 3, 4, 4\)"),
        ({"images": GRID[:0]}, r"images are uint8 \(0, 2, 3\)"),
        ({"images": GRID}, "has no array `labels`"),
        ({"images": GRID, "labels": np.zeros(4, np.int64)}, r"labels are int64 \(4,\), but must be"),
        ({"images": GRID, "labels": np.array([0, 1, -1, 2, 3])}, "whole numbers from 0"),
        ({"images": GRID, "labels": np.array([0, 1, 2, 3, 10**9])}, "whole numbers from 0"),
        ({"images": GRID, "labels": np.zeros(5)}, "labels are float64"),
        ({"images": np.array([object()])}, "cannot be read: Object arrays cannot be loaded"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, named, message):
    with pytest.raises(DataError, match=message):
        labels(arrays(tmp_path / "a.npz", **named))


def test_an_archive_of_arrays_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.bounds.free_memory", lambda: 1000)
    with pytest.raises(
        DataError, match="takes 20,128 bytes of memory, more than half of the 1,000"
    ) as refused:
        pixels(arrays(tmp_path / "a.npz", images=np.zeros((100, 200), np.uint8)))
    assert ".npy" in refused.value.hint


def png(width, height, content=b""):
    """A PNG that claims a size."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", content))
    return b"\x89PNG\r\n\x1a\n" + b"".join(previews._chunk(kind, said) for kind, said in parts)


def saved(**how):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(file, **how)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"no image at all", r"a\.png is not a PNG, JPEG or WebP image"),
        ("a.png", b"", r"a\.png is not a PNG, JPEG or WebP image"),
        ("a.png", saved(format="gif"), r"a\.png is not a PNG, JPEG or WebP image"),
        ("a.png", saved(format="png")[:5000], r"a\.png is damaged"),
        ("a.jpg", saved(format="jpeg")[:2000], r"a\.jpg is damaged"),
        ("a.webp", saved(format="webp", lossless=True)[:5000], r"a\.webp is"),
        ("a.png", png(9000, 9000), r"a\.png is refused: it has 9000x9000 pixels, and at most 67,108,864"),
        ("a.png", png(60000, 60000), r"a\.png is refused: it has .* pixels, and at most 67,108,864"),
        ("a.png", png(8, 8, zlib.compress(bytes(5))), r"a\.png is damaged"),
    ],
)
def test_a_file_that_is_no_sound_image_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        material(tmp_path)


def test_a_damaged_archive_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.png", saved(format="png"))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[300] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip:x\.png cannot be read: Bad CRC-32"):
        material(tmp_path / "a.zip")


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "captions.jsonl").write_text("")
    with pytest.raises(DataError, match=r"has no \.png, \.jpg, \.jpeg, \.webp file"):
        material(tmp_path)


def test_without_pillow_arrays_are_read_and_files_say_what_to_install(tmp_path, monkeypatch, folder):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    assert pixels(arrays(tmp_path / "a.npz", images=GRID)).shape == (5, 1, 2, 3)
    with pytest.raises(MissingDependencyError) as refused:
        material(folder)
    assert refused.value.hint == "pip install 'zoo-core[images]'"


def test_the_config_gets_the_fields_it_has(folder, tmp_path):
    found = material(folder)
    assert found.bind(family("image"), {}) == {"channels": 3, "height": 8}
    found = material(folder, ImageRules(labels=True))
    assert found.bind(family("image"), {}) == {"channels": 3, "height": 8, "classes": 2}


def test_the_names_of_classes_travel_with_the_weights(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    material(folder).learn(run)
    assert list(run.iterdir()) == []
    found = material(folder, ImageRules(labels=True))
    found.learn(run)
    beside = {"classes.json": run / "classes.json"}
    assert json.loads(beside["classes.json"].read_text()) == ["birds", "pets"]
    found.bind(family("image"), beside)
    beside["classes.json"].write_text('["birds", "fish"]')
    with pytest.raises(DataError, match="classes birds, pets, but the network has birds, fish"):
        found.bind(family("image"), beside)
    beside["classes.json"].write_text("{")
    with pytest.raises(DataError, match=r"classes\.json is not a list of names"):
        found.bind(family("image"), beside)


def test_held_out_images_are_measured_and_never_trained_on(tmp_path):
    path = arrays(tmp_path / "a.npz", images=np.arange(0, 200, 10, dtype=np.uint8).reshape(20, 1, 1))
    found = material(path, ImageRules(held_out_share=0.2), seed=4)
    network = Constant(torch.zeros(1))
    trained = {round((float(value) + 1) * 127.5) for value in found.rows(network, 0).rows(0, 16)}
    held_out = set(range(0, 200, 10)) - trained
    assert len(held_out) == 4
    witness = np.mean([abs(value / 127.5 - 1) for value in held_out])
    assert found.evaluate(network) == {"held_out_loss": pytest.approx(witness)}


def test_a_preview_is_one_png_with_every_sample(folder, tmp_path):
    found = material(folder)
    found.bind(family("image"), {})
    value = torch.tensor([-1.0, 0.206, 7.0])[:, None, None].expand(3, 4, 5)
    [path] = found.preview(Constant(value).train(), 5, seed=1, stem=tmp_path / "step-1.5")
    assert path == tmp_path / "step-1.5.png"
    with Image.open(path) as image:
        image.load()
        assert image.size == (3 * 7 + 2, 2 * 6 + 2)  # three columns, two lines
        assert image.getpixel((2, 2)) == image.getpixel((9, 11)) == (0, 154, 255)
        assert image.getpixel((16, 11)) == image.getpixel((0, 0)) == (255, 255, 255)


def test_a_gray_preview_is_a_gray_png():
    drawn = np.random.default_rng(2).integers(0, 256, (5, 7, 1), np.uint8)
    with Image.open(io.BytesIO(previews.png(drawn))) as image:
        assert image.mode == "L"
        assert (np.asarray(image) == drawn[..., 0]).all()


def test_a_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(previews.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        previews.write(tmp_path / "a.png", b"content")
    assert list(tmp_path.iterdir()) == []
