"""A stranger's file costs what its bytes are worth: no pipe is waited for, and no archive unpacks without end."""

from __future__ import annotations

import gzip
import io
import os
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import soundfile
from PIL import Image
from pyarrow import parquet

from zoo import bounds
from zoo.datasets import audio_files, image_files, sequence_files, smiles, table_files
from zoo.datasets.documents import of_files
from zoo.datasets.sequence_files import Wanted
from zoo.datasets.source import Member, find
from zoo.errors import DataError, ZooError
from zoo.training import recipe
from zoo.weights import companions

pytestmark = pytest.mark.timeout(60)  # a reader that waits for a pipe fails here


@pytest.fixture
def pipe(tmp_path: Path) -> Callable[[str], Path]:
    def made(name: str) -> Path:
        os.mkfifo(tmp_path / name)
        return tmp_path / name

    return made


def test_only_regular_files_are_read_through_links_too(tmp_path, pipe):
    file = tmp_path / "a"
    file.write_text("text")
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "trap").symlink_to(pipe("pipe"))
    assert bounds.regular(file) == file
    assert bounds.regular(tmp_path / "link") == tmp_path / "link"
    for path, kind in ((tmp_path / "pipe", "pipe"), (tmp_path / "trap", "pipe"), (tmp_path, "folder")):
        with pytest.raises(OSError, match=f"it is a {kind}, not a file"):
            bounds.regular(path)
    with pytest.raises(OSError, match="it is a device, not a file"):
        bounds.regular(Path("/dev/zero"))


READERS: dict[str, Callable[[Path], object]] = {
    "data.txt": lambda path: find(str(path)),
    "a.txt": lambda path: Member(path.name, path).read(),
    "a.csv": table_files.read_table,
    "a.parquet": table_files.read_table,
    "table.npy": table_files.read_table,
    "table.npz": table_files.read_table,
    "images.npy": lambda path: image_files.from_arrays(path, None, labels=False),
    "a.npz": lambda path: sequence_files.read([Member(path.name, path)], Wanted()),
    "a.png": lambda path: image_files.decoded(Member(path.name, path)),
    "a.wav": lambda path: list(audio_files.sound(Member(path.name, path), 16_000)),
    "a.flac": lambda path: list(audio_files.sound(Member(path.name, path), 16_000)),
    "a.smi.gz": lambda path: list(smiles.molecules(Member(path.name, path))),
    "recipe.yaml": recipe.read,
    "config.json": companions.read_json,
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused_by_every_reader_and_never_waited_for(pipe, name):
    with pytest.raises(ZooError, match="cannot be read: it is a pipe, not a file"):
        READERS[name](pipe(name))


def test_a_pipe_among_the_files_of_a_folder_is_none_of_them(tmp_path, pipe):
    pipe("a.txt")
    (tmp_path / "b.txt").write_text("text")
    assert [document.name for document in of_files(find(str(tmp_path)))] == ["b"]


def zipped(path: Path, *files: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return path


def gzipped(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def arrays(path: Path, **named: np.ndarray) -> Path:
    np.savez_compressed(path, **named)
    return path


def table(path: Path, values: object) -> Path:
    parquet.write_table(pyarrow.table({"value": values}), path, compression="zstd")
    return path


def silence(path: Path) -> Path:
    soundfile.write(path, np.zeros(1_000_000, np.int16), 48_000)
    return path


ZEROS = np.zeros((1000, 32, 32), np.uint8)
INFLATED: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "images.npz": (lambda path: arrays(path, images=ZEROS), READERS["images.npy"]),
    "table.npz": (lambda path: arrays(path, images=ZEROS), table_files.read_table),
    "sequences.npz": (lambda path: arrays(path, a=ZEROS), READERS["a.npz"]),
    "a.zip": (lambda path: zipped(path, ("a.txt", b"a " * 500_000)), lambda path: of_files(find(str(path)))),
    "a.smi.gz": (lambda path: gzipped(path, b"C\n" * 100_000), READERS["a.smi.gz"]),
    "a.csv.gz": (lambda path: gzipped(path, b"x\n" + b"1\n" * 100_000), table_files.read_table),
    "rows.parquet": (lambda path: table(path, np.zeros(1_000_000, np.int32)), table_files.read_table),
    "a.flac": (silence, READERS["a.flac"]),
}


@pytest.mark.parametrize("name", INFLATED)
def test_a_file_that_unpacks_to_far_more_than_its_bytes_is_refused_and_a_small_one_is_read(
    tmp_path, name, monkeypatch
):
    make, read = INFLATED[name]
    path = make(tmp_path / name)
    read(path)
    monkeypatch.setattr(bounds, "HARMLESS", 100_000)
    with pytest.raises(DataError, match=f"{name} is refused: .* bytes unpack to .* and at most 200 times"):
        read(path)


def test_one_large_file_among_many_in_an_archive_is_refused_by_its_name(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", ("large.txt", b"a" * 500_000), ("random.txt", os.urandom(50_000)))
    monkeypatch.setattr(bounds, "HARMLESS", 100_000)
    members = find(str(path)).files()
    with pytest.raises(DataError, match=r"a\.zip:large\.txt is refused"):
        members[0].open()
    assert len(members[1].read()) == 50_000


def test_an_archive_gives_no_more_than_it_says(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a.txt", b"a" * 100_000))
    content = path.read_bytes()
    path.write_bytes(content.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(DataError, match="cannot be read"):
        Member("a.txt", path, archived=True).read()


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    array, picture = tmp_path / "a.npy", tmp_path / "a.png"
    np.save(array, np.zeros(10_000))
    Image.new("L", (100, 100)).save(picture)
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(20_000))
    archive = zipped(tmp_path / "a.zip", ("a.wav", sound.getvalue()))
    reads = (
        lambda: READERS["a.npz"](array),
        lambda: READERS["a.png"](picture),
        lambda: list(audio_files.sound(Member("a.wav", archive, archived=True), 16_000)),
    )
    for read in reads:
        read()
    monkeypatch.setattr(bounds, "free_memory", lambda: 30_000)
    for read in reads:
        with pytest.raises(DataError, match=r"takes .* bytes of memory, more than half of the 30,000"):
            read()


def test_a_text_that_every_row_of_parquet_repeats_is_refused(tmp_path):
    indices = pyarrow.array(np.zeros(70_000, np.int32))
    words = pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["x" * 5_000])).cast(pyarrow.string())
    path = table(tmp_path / "a.parquet", words)
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="'value' has a text of 5,000 bytes, too long for a cell"):
        sequence_files.read([Member(path.name, path)], Wanted())


def test_more_channels_than_any_recording_has_are_refused(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((30_000, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(60_000))
    with pytest.raises(DataError, match="has 30,000 channels, and at most 64"):
        READERS["a.wav"](tmp_path / "a.wav")


def test_gzip_is_read_line_by_line_as_it_was_packed(tmp_path):
    path = gzipped(tmp_path / "a", "".join(f"{number}\n" for number in range(100_000)).encode())
    with path.open("rb") as packed:
        lines = list(bounds.gunzipped(packed, "a"))
    assert (len(lines), lines[-1]) == (100_000, b"99999\n")


def test_the_memory_that_is_free_is_the_least_of_machine_and_container(tmp_path, monkeypatch):
    assert bounds.free_memory() > 2**20
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 200\ninactive_file 700\n")
    assert bounds._container(tmp_path) == 800
    (tmp_path / "memory.max").write_text("max\n")
    assert bounds._container(tmp_path) is None
    monkeypatch.setattr(bounds, "_container", lambda: 800)
    assert bounds.free_memory() == 800
