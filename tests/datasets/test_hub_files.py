"""Data sets of the Hub for the readers of pictures, tables, molecules and sound."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from loopback_datasets import hub as hub
from loopback_datasets import parquet
from zoo.datasets.hub_files import as_files
from zoo.datasets.images import ImageRules
from zoo.datasets.molecules import MoleculeRules
from zoo.datasets.reading import read
from zoo.datasets.source import find
from zoo.datasets.table import TableRules
from zoo.errors import DataError, HubError, OfflineError

ALL = {"held_out_share": 0.0}


def png(shade):
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (4, 3), shade).save(file, "PNG")
    return file.getvalue()


def flac():
    [first, *_] = find("drums").files((".flac",))
    return first.read()


def described(columns, features):
    """A Parquet file that says what its columns are, as the package `datasets` writes them."""
    import pyarrow
    from pyarrow import parquet as files

    table = pyarrow.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    file = io.BytesIO()
    files.write_table(table, file)
    return file.getvalue()


def pictures(shades, labels):
    label = {"names": ["night", "day"], "_type": "ClassLabel"}
    images = [{"bytes": png(shade), "path": None} for shade in shades]
    return described({"image": images, "label": labels}, {"image": {"_type": "Image"}, "label": label})


def lines(source, modality):
    with zipfile.ZipFile(as_files(source, modality).path) as archive:
        return [json.loads(line) for line in archive.read("captions.jsonl").splitlines()]


def test_pictures_in_rows_are_trained_on_with_their_classes(hub):
    hub.add("user/skies", {"train.parquet": pictures([9, 200, 210], [0, 1, 1])})
    found = read("image", "hf:user/skies", ImageRules(labels=True, **ALL), seed=0)
    assert found.summary == "3 gray images of 4x3 in 2 classes, 0 held out"
    rows = found.rows(None, seed=0).rows(0, 3)
    shades = {
        (round(float(image.mean() * 127.5 + 127.5)), int(at))
        for image, at in zip(*rows.values(), strict=True)
    }
    assert shades == {(9, 1), (200, 0), (210, 0)}  # classes in order of name: day, night


def test_a_class_that_is_not_told_stays_a_number(hub):
    hub.add("user/skies", {"train.parquet": pictures([9, 200], [0, -1])})
    assert [line["category"] for line in lines(find("hf:user/skies"), "image")] == ["night", "-1"]


def test_pictures_in_folders_are_fetched_with_their_folders_as_classes(hub):
    hub.add(
        "user/skies", {f"train/{name}/{name}.png": png(shade) for name, shade in (("day", 200), ("night", 9))}
    )
    assert [line["category"] for line in lines(find("hf:user/skies"), "image")] == ["day", "night"]
    found = read("image", "hf:user/skies", ImageRules(**ALL), seed=0)
    assert found.summary == "2 gray images of 4x3, 0 held out"


def test_a_second_run_fetches_nothing_and_works_offline(hub):
    hub.add("user/skies", {"train.parquet": pictures([9, 200], [0, 1])})
    first = read("image", "hf:user/skies", ImageRules(**ALL), seed=0)
    hub.asked.clear()
    again = read("image", "hf:user/skies", ImageRules(**ALL), seed=0, offline=True)
    assert again.rows(None, 0).fingerprint == first.rows(None, 0).fingerprint
    assert hub.asked == []
    with pytest.raises(OfflineError):
        read("table", "hf:user/skies", TableRules(**ALL), seed=0, offline=True)


def test_a_file_of_this_machine_that_a_row_names_is_not_read(hub, tmp_path):
    (tmp_path / "secret.png").write_bytes(png(1))
    image = {"bytes": None, "path": str(tmp_path / "secret.png")}
    content = described(
        {"image": [image], "n": [1]}, {"image": {"_type": "Image"}, "n": {"dtype": "int64", "_type": "Value"}}
    )
    hub.add("user/trap", {"train.parquet": content})
    with pytest.raises(DataError, match="hf:user/trap: row 1 has no file; its columns are image, n"):
        as_files(find("hf:user/trap"), "image")


def test_sound_in_rows_is_the_files_bytes_beside_their_captions(hub):
    audio = {"bytes": flac(), "path": "hit.flac"}
    features = {
        "audio": {"sampling_rate": 16000, "_type": "Audio"},
        "name": {"dtype": "string", "_type": "Value"},
    }
    hub.add("user/hits", {"train.parquet": described({"audio": [audio], "name": ["bd"]}, features)})
    found = as_files(find("hf:user/hits"), "audio")
    [member] = found.files((".flac",))
    assert member.read() == audio["bytes"]
    assert lines(find("hf:user/hits"), "audio") == [{"file": "00000000.flac", "name": "bd"}]


def test_a_table_is_trained_on_column_by_column(hub):
    hub.add("user/table", {"train.parquet": parquet({"x": [0.1, 1 / 3], "y": [1, 2]})})
    found = read("table", "hf:user/table", TableRules(**ALL), seed=0)
    assert found.summary == "2 rows of 2 columns, 0 held out"
    [member] = as_files(find("hf:user/table"), "table").files()
    values = np.loadtxt(io.BytesIO(member.read()), delimiter=",", skiprows=1)
    assert values.tolist() == [[0.1, 1.0], [1 / 3, 2.0]]


def test_molecules_are_those_of_the_column_smiles(hub):
    hub.add("user/molecules", {"train.csv": b"id,smiles\n1,CCO\n2,c1ccccc1\n3,[NH4+]\n"})
    found = read("molecule", "hf:user/molecules", MoleculeRules(**ALL), seed=0)
    assert found.summary.startswith("3 molecules of up to 8 tokens")


def test_rows_that_break_off_leave_nothing_behind(hub, zoo_home):
    hub.add("user/skies", {"train.parquet": pictures([9], [0])[:-20]})
    with pytest.raises(HubError, match="hf:user/skies cannot be read"):
        as_files(find("hf:user/skies"), "image")
    assert {path.suffix for path in (zoo_home / "datasets").iterdir()} <= {".lock", ".commit"}
