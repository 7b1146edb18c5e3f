"""The generated index: fresh in this tree, the same models as the registry files, and stale when they change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zoo.registry import index
from zoo.registry.indexed import INDEX, from_plain, read_index, to_plain
from zoo.registry.reading import read_registry, read_yaml

TREE = Path(__file__).parents[2]


def tree(folder: Path, registry: str) -> list[str]:
    """A tree with one plugin, and the arguments that name it and its index."""
    package = folder / "plugins" / "zoo-tiny" / "zoo_tiny"
    package.mkdir(parents=True)
    (package.parent / "pyproject.toml").write_text(
        "[project]\nname = 'zoo-tiny'\ndescription = 'Tiny – ones.'\n"
    )
    (package / "registry.yaml").write_text(registry)
    return ["--root", str(folder), "--index", str(folder / "index.yaml")]


def test_the_index_of_this_tree_is_fresh() -> None:
    assert index.main(["--check"]) == 0


def test_the_index_says_all_that_the_registry_files_say() -> None:
    indexed = read_index(INDEX)
    files = sorted(TREE.glob("plugins/*/*/registry.yaml"))
    assert len(indexed) == len(files) > 0
    for file in files:
        plugin = file.parts[-3]
        assert indexed[plugin].is_of(file)
        assert tuple(indexed[plugin].entries()) == read_registry(file)


def test_the_root_registry_is_the_index_and_is_yaml_for_any_reader() -> None:
    root = TREE / "registry.yaml"
    assert root.resolve() == INDEX.resolve()
    content = read_yaml(root.read_text(encoding="utf-8"), name="registry.yaml")
    assert [plugin["plugin"] for plugin in content["plugins"]] == list(read_index(root))


def test_an_entry_comes_back_the_same_from_plain_data(tmp_path: Path, valid: str) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(valid)
    for entry in read_registry(file):
        assert from_plain(to_plain(entry), entry.plugin) == entry


def test_the_index_is_stale_after_a_change_and_says_what_to_run(
    tmp_path: Path, valid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = tree(tmp_path, valid)
    assert index.main([*arguments, "--check"]) == 1
    assert index.main(arguments) == 0
    written = (tmp_path / "index.yaml").read_bytes()
    assert "Tiny – ones.".encode() in written
    assert index.main([*arguments, "--check"]) == 0
    assert index.main(arguments) == 0
    assert (tmp_path / "index.yaml").read_bytes() == written  # nothing in it depends on time or order
    capsys.readouterr()
    registry = tmp_path / "plugins" / "zoo-tiny" / "zoo_tiny" / "registry.yaml"
    registry.write_text(valid.replace("parameters: 12\n", "parameters: 13\n"))
    assert index.main([*arguments, "--check"]) == 1
    said = capsys.readouterr()
    assert "is stale: run `make index` and commit it" in said.err
    assert said.out == ""
    assert (tmp_path / "index.yaml").read_bytes() == written


def test_a_faulty_registry_file_or_an_empty_tree_writes_no_index(
    tmp_path: Path, valid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = tree(tmp_path, valid.replace("schema: 1", "schema: 9"))
    assert index.main(arguments) == 1
    assert "registry.yaml:1: schema: is 9" in capsys.readouterr().err
    assert index.main(["--root", str(tmp_path / "empty"), "--index", str(tmp_path / "index.yaml")]) == 1
    assert "holds no registry.yaml" in capsys.readouterr().err
    assert not (tmp_path / "index.yaml").exists()


def test_the_catalogue_of_an_up_to_date_environment_needs_no_yaml_parser_and_no_plugin_code() -> None:
    code = """
import sys
from zoo.registry.catalogue import catalogue
assert catalogue().find("gpt2-small").installed
loaded = {"yaml", "pluggy", "torch", "numpy", "huggingface_hub", "zoo_gpt", "importlib.metadata"} & set(sys.modules)
print(sorted(loaded))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
