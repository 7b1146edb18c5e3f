"""The data sets that come with the zoo are what their entries say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from zoo.datasets import builtin
from zoo.datasets.builtin import BUILT_IN
from zoo.datasets.reading import read, rules_class
from zoo.datasets.source import find
from zoo.datasets.text import read_documents
from zoo.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_bytes_are_those_that_were_made(name):
    assert find(name).path.stat().st_size == BUILT_IN[name].bytes


def test_nothing_is_shipped_unsaid_and_all_of_it_is_small():
    files = {path.name for path in builtin.FILES.iterdir()}
    assert files == {entry.file for entry in BUILT_IN.values()} | {"NOTICE.md"}
    assert sum(entry.bytes for entry in BUILT_IN.values()) < 5_000_000


def test_every_file_has_its_licence_in_the_notice():
    notice = (builtin.FILES / "NOTICE.md").read_text(encoding="utf-8")
    for entry in BUILT_IN.values():
        [line] = [line for line in notice.splitlines() if f"`{entry.file}`" in line]
        assert f" {entry.count:,} " in line
        for licence in entry.licence.split(" AND "):
            assert licence.replace("-", " ") in line.replace("-", " ")


def test_a_file_that_changed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(builtin, "FILES", tmp_path)
    entry = BUILT_IN["smiles"]
    with pytest.raises(DataError, match=r"built-in data smiles: .*smiles\.zip cannot be read: No such file"):
        entry.path()
    (tmp_path / entry.file).write_bytes(b"x" * entry.bytes)
    with pytest.raises(DataError, match=f"27135 bytes, sha256 .*; 27135 bytes, {entry.sha256} were expected"):
        entry.path()


def test_shakespeare_is_the_text_of_the_recipes_own_script():
    """Normalising what is normalised changes nothing: the shipped works went through that script."""
    path = ROOT / "plugins/zoo-gpt/recipes/shakespeare-nano/prepare.py"
    spec = importlib.util.spec_from_file_location("prepare", path)
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    documents = {document.name: document.text for document in read_documents(find("shakespeare").path)}
    assert len(documents) == BUILT_IN["shakespeare"].count
    assert {"macbeth", "twelfth-night-or-what-you-will"} < set(documents)
    assert documents["romeo-and-juliet"].count("\nROMEO:\n") > 100
    text = documents["macbeth"]
    assert prepare.normalised(text) == text


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("shakespeare", "42 documents, 2 held out"),
        ("mnist", "10,000 gray images of 28x28, 500 held out"),
        ("digits", "1,797 gray images of 8x8, 90 held out"),
        ("emoji", "300 colour images of 64x64, 15 held out"),
        ("drums", "from 64 recordings"),
        ("smiles", "4,999 molecules of up to 276 tokens, 250 held out"),
        ("sunspots", "1 sequence: 309 frames of 1 column, the last 15 held out"),
    ],
)
def test_each_is_read_by_its_modalitys_reader(name, summary):
    modality = BUILT_IN[name].modality
    assert summary in read(modality, name, rules_class(modality)(), seed=0).summary


@pytest.mark.parametrize(("name", "side"), [("mnist", 28), ("digits", 8)])
def test_digits_are_images_with_labels(name, side):
    with np.load(find(name).path) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    assert (images.dtype, labels.dtype) == (np.uint8, np.uint8)
    assert images.shape == (BUILT_IN[name].count, side, side)
    assert (images.min(), images.max()) == (0, 255)
    assert set(labels.tolist()) == set(range(10))
    assert len(labels) == len(images)


def test_emoji_are_png_files_with_a_caption_each():
    members = {member.name: member for member in find("emoji").files()}
    captions = [json.loads(line) for line in members.pop("captions.jsonl").read().splitlines()]
    assert sorted(caption["file"] for caption in captions) == sorted(members)
    assert len(captions) == BUILT_IN["emoji"].count
    for member in members.values():
        header = member.read()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert [int.from_bytes(header[at : at + 4], "big") for at in (16, 20)] == [64, 64]


def test_drums_are_16_khz_mono_flac():
    """The stream's first block says so: 20 bits of sample rate, 3 of channels less one, 5 of bits less one."""
    members = find("drums").files((".flac",))
    assert len(members) == BUILT_IN["drums"].count
    for member in members:
        content = member.read()
        assert content[:4] == b"fLaC"
        said = int.from_bytes(content[18:26], "big")
        assert (said >> 44, (said >> 41 & 7) + 1, (said >> 36 & 31) + 1) == (16_000, 1, 16)
        assert 0 < said & (2**36 - 1) <= 2.5 * 16_000 + 1


def test_smiles_are_one_molecule_a_line():
    [member] = find("smiles").files((".smi",))
    lines = member.read().decode("ascii").splitlines()
    assert len(lines) == BUILT_IN["smiles"].count
    assert not any(blank in line for line in lines for blank in "\t ")
    assert lines[0] == "CC1=CC(=O)C=CC1=O"


def test_sunspots_are_a_number_a_year_with_the_cycle_of_eleven_years():
    [member] = find("sunspots").files()
    name, *lines = member.read().decode("ascii").splitlines()
    values = np.array(lines, np.float64)
    assert (name, len(values)) == ("sunspots", BUILT_IN["sunspots"].count)
    assert (values[0], values[1957 - 1700], values[-1]) == (5.0, 190.2, 2.9)
    power = np.abs(np.fft.rfft(values - values.mean())) ** 2
    assert len(values) / power.argmax() == pytest.approx(11.0, abs=0.5)


def test_a_modality_reads_built_in_sets_that_it_can_take_for_its_own():
    summary = read("sequence", "shakespeare", rules_class("sequence")(letters=True), seed=0).summary
    assert summary == "42 sequences: 4,748,091 characters, 27 different ones, 2 sequences held out"
    with pytest.raises(DataError, match="the built-in data mnist is image, but sequence or text is needed"):
        read("sequence", "mnist", rules_class("sequence")(), seed=0)
