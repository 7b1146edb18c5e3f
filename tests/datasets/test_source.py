"""What a person means by --data D."""

from __future__ import annotations

import zipfile

import pytest

from zoo.datasets.reading import read
from zoo.datasets.source import HubData, find
from zoo.datasets.text import TextRules
from zoo.errors import DataError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_built_in_name_comes_before_a_folder_which_is_written_with_a_dot(here):
    (here / "digits").mkdir()
    assert find("digits").built_in.name == find("digits").name == "digits"
    assert (find("./digits").path, find("./digits").built_in) == (here / "digits", None)


def test_a_path_is_stored_absolute(here):
    (here / "works").mkdir()
    assert find("works").name == str(here / "works") == find(str(here / "works")).name


def test_a_path_in_the_home_folder_is_found(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    (here / "a.txt").write_text("text")
    assert find("~/a.txt").path == here / "a.txt"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("hf:user/name", HubData("user/name", "", "train")),
        ("hf:user/name/en.2024@v1:test", HubData("user/name", "v1", "test", "en.2024")),
        ("hf:imdb:test", HubData("imdb", "", "test")),
        ("hf:user/name@v1.0:validation", HubData("user/name", "v1.0", "validation")),
        ("hf:user/name@refs/convert/parquet", HubData("user/name", "refs/convert/parquet", "train")),
    ],
)
def test_a_data_set_of_the_hub_may_say_revision_and_split(text, meant):
    found = find(text, offline=True)
    assert (found.name, found.hub, found.path, found.offline) == (text, meant, None, True)


@pytest.mark.parametrize(
    "text", ["hf:", "hf:user/", "hf:a/b/c/d", "hf:user/name@", "hf:us er/name", "hf:a/b:", "hf:a/b:test[:9]"]
)
def test_a_hub_name_that_is_not_one_is_refused(text):
    with pytest.raises(DataError, match="is not written as hf:user/name"):
        find(text)


def test_an_unknown_name_lists_what_is_built_in_and_the_nearest(here):
    with pytest.raises(
        DataError, match=r"no built-in data, file or folder 'shakespear'; built in are .*mnist"
    ) as no:
        find("shakespear")
    assert no.value.hint == "did you mean shakespeare?"
    with pytest.raises(DataError, match=r"^there is no file or folder \./absent$"):
        find("./absent")
    with pytest.raises(DataError, match="no built-in data"):
        find("")


def test_the_files_of_a_folder_are_found_at_any_depth_in_order_of_name(here):
    for name in ("b.txt", "a/c.TXT", "a.txt", "notes.md", ".hidden.txt", ".git/d.txt"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(name)
    found = find("./").files((".txt",))
    assert [(member.name, member.read().decode()) for member in found] == [
        (name, name) for name in ("a.txt", "a/c.TXT", "b.txt")
    ]
    assert [member.stem for member in found] == ["a", "a/c", "b"]
    assert len(find("./").files()) == 4


def test_a_zip_archive_is_as_a_folder(here):
    with zipfile.ZipFile(here / "works.zip", "w") as archive:
        archive.writestr("b/x.txt", "one")
        archive.writestr("a.txt", "two")
        archive.writestr("a.png", "three")
    found = find("works.zip").files((".txt",))
    assert [(member.name, member.read()) for member in found] == [("a.txt", b"two"), ("b/x.txt", b"one")]
    assert str(found[0]) == f"{here / 'works.zip'}:a.txt"


def test_a_single_file_is_taken_whatever_its_suffix(here):
    (here / "LICENSE").write_text("text")
    assert [member.name for member in find("LICENSE").files((".txt",))] == ["LICENSE"]


def test_a_source_without_fitting_files_is_refused(here):
    (here / "broken.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"broken\.zip cannot be read: File is not a zip file"):
        find("broken.zip").files()
    with pytest.raises(DataError, match=r"has no \.flac or \.wav file"):
        find(".").files((".flac", ".wav"))
    with pytest.raises(DataError, match="hf:user/name has rows, not files"):
        find("hf:user/name").files()


def test_built_in_data_of_another_modality_is_refused():
    with pytest.raises(DataError, match="the built-in data mnist is image, but text is needed"):
        read("text", "mnist", TextRules(), seed=0)
