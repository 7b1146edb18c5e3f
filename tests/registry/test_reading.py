"""Registry files: what a valid one becomes, and every fault refused with its file, line, field and what is allowed.

The JSON Schema that editors use is held against the reader with the same table.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import zoo.registry
from zoo.errors import RegistryError
from zoo.registry.entry import File, Licences, Metric, ModelEntry, Paper, Weights
from zoo.registry.reading import read_registry, read_yaml
from zoo.text_safety import safe_text

Write = Callable[..., Path]

SCHEMA = json.loads(Path(zoo.registry.__file__).with_name("schema.json").read_text(encoding="utf-8"))
ABSENT = object()

HUB = ("models", 0)
SHAPE = ("models", 1)
PACKAGED = ("models", 2)
FAULTS: list[tuple[tuple[str | int, ...], object, str]] = [
    (("schema",), ABSENT, "schema: is missing"),
    (("schema",), 0, "schema: is 0, but must be a whole number, 1 to 1"),
    (("schema",), 2, "schema: is 2, but this zoo reads 1; a newer zoo-core is needed"),
    (("schema",), "1", "schema: is '1', but must be a whole number"),
    (("schema",), True, "schema: is True, but must be a whole number"),
    (("plugin",), ABSENT, "plugin: is missing"),
    (("plugin",), "Zoo_Tiny", "plugin: is 'Zoo_Tiny', but must be lower-case words joined by '-'"),
    (("models",), ABSENT, "models: is missing"),
    (("models",), {}, "models: is {}, but must be a list"),
    (("modles",), [], "modles: is unknown; did you mean models?"),
    (HUB, "tiny", "models[0]: is 'tiny', but must be a mapping with name,"),
    ((*HUB, "name"), ABSENT, "models[0].name: is missing"),
    ((*HUB, "name"), "", "models[0].name: is '', but must be lower-case letters"),
    ((*HUB, "name"), "Tiny", "models[0].name: is 'Tiny', but must be lower-case letters"),
    ((*HUB, "name"), "a/b", "models[0].name: is 'a/b', but must be"),
    ((*HUB, "name"), "-tiny", "models[0].name: is '-tiny', but must be"),
    ((*HUB, "name"), "tiny\n", "models[0].name: is 'tiny\\n', but control, line-breaking"),
    ((*HUB, "name"), "x" * 65, "but must be lower-case letters"),
    ((*HUB, "name"), 7, "models[0].name: is 7, but must be text (quote it)"),
    ((*HUB, "aliases"), "one", "models[0].aliases: is 'one', but must be a list"),
    ((*HUB, "aliases"), ["a b"], "models[0].aliases[0]: is 'a b', but must be lower-case letters"),
    ((*HUB, "aliases"), ["a", "a"], "models[0].aliases[1]: is 'a' again; allowed: each once"),
    ((*HUB, "family"), ABSENT, "models[0].family: is missing"),
    ((*HUB, "family"), None, "models[0].family: is None, but must be text"),
    ((*HUB, "task"), "Text Generation", "models[0].task: is 'Text Generation', but must be"),
    ((*HUB, "can"), ABSENT, "models[0].can: is missing or empty; allowed: sample, score"),
    ((*HUB, "can"), [], "models[0].can: is missing or empty"),
    ((*HUB, "can"), ["fly"], "models[0].can[0]: is 'fly', but must be one of sample, score"),
    ((*HUB, "can"), ["sample", "sample"], "models[0].can[1]: is 'sample' again"),
    ((*HUB, "summary"), ABSENT, "models[0].summary: is missing"),
    ((*HUB, "summary"), "  ", "models[0].summary: is '  ', but must be 1 to 300 characters"),
    ((*HUB, "summary"), "x" * 301, "but must be 1 to 300 characters on one line"),
    ((*HUB, "summary"), "a\u202eb", "models[0].summary: is 'a\\u202eb', but control, line-breaking and bidi"),
    ((*HUB, "summary"), "a\x1b[31mb", "models[0].summary: is 'a\\x1b[31mb', but control"),
    ((*HUB, "parameters"), ABSENT, "models[0].parameters: is missing"),
    ((*HUB, "parameters"), -1, "models[0].parameters: is -1, but must be a whole number, 0 or more"),
    ((*HUB, "parameters"), 1.5, "models[0].parameters: is 1.5, but must be a whole number"),
    ((*HUB, "parameters"), "12M", "models[0].parameters: is '12M', but must be a whole number"),
    ((*HUB, "config"), [1], "models[0].config: is [1], but must be a mapping of the family's config"),
    ((*HUB, "config", "Layers"), 1, "models[0].config.Layers: is no setting; allowed: a-z, 0-9"),
    ((*HUB, "config", "layers"), {"a": 1}, "models[0].config.layers: is nested"),
    ((*HUB, "config", "layers"), [[1]], "models[0].config.layers: is nested"),
    ((*HUB, "config", "mode"), "a\x07", "models[0].config.mode: is 'a\\x07', but control"),
    ((*HUB, "weights"), ABSENT, "models[0].weights: is missing"),
    ((*HUB, "weights", "status"), ABSENT, "models[0].weights.status: is missing"),
    (
        (*HUB, "weights", "status"),
        "mine",
        "weights.status: is 'mine', but must be one of original, converted, trai",
    ),
    ((*HUB, "weights", "status"), "none", "weights.repo: is given, but the status is none"),
    ((*HUB, "weights", "repo"), ABSENT, "weights.repo: or package: neither is given; allowed: exactly one"),
    (
        (*HUB, "weights", "package"),
        "weights",
        "weights.repo: or package: both are given; allowed: exactly one",
    ),
    ((*HUB, "weights", "repo"), "tiny", "weights.repo: is 'tiny', but must be a Hub repo, user/name"),
    ((*HUB, "weights", "repo"), "some/../one", "weights.repo: is 'some/../one', but must be a Hub repo"),
    ((*HUB, "weights", "repo"), "some/a..b", "weights.repo: is 'some/a..b', but must be a Hub repo"),
    ((*HUB, "weights", "revision"), ABSENT, "weights.revision: is missing"),
    ((*HUB, "weights", "revision"), "main", "weights.revision: is 'main', but must be a full commit: 40"),
    ((*HUB, "weights", "revision"), "0" * 39, "but must be a full commit: 40"),
    ((*HUB, "weights", "revision"), "A" * 40, "but must be a full commit: 40 lower-case"),
    (
        (*HUB, "weights", "dtype"),
        "int3",
        "weights.dtype: is 'int3', but must be one of float64, float32, float16, bfloat16",
    ),
    ((*HUB, "weights", "files"), ABSENT, "weights.files: is missing or empty; allowed: at least one file"),
    ((*HUB, "weights", "files"), [], "weights.files: is missing or empty"),
    ((*HUB, "weights", "files", 0, "name"), ABSENT, "weights.files[0].name: is missing"),
    ((*HUB, "weights", "files", 0, "sha256"), "abc", "files[0].sha256: is 'abc', but must be 64 lower-case"),
    (
        (*HUB, "weights", "files", 0, "bytes"),
        -1,
        "files[0].bytes: is -1, but must be a whole number, 0 or more",
    ),
    ((*HUB, "weights", "files", 0, "sha265"), "abc", "files[0].sha265: is unknown; did you mean sha256?"),
    *(
        ((*HUB, "weights", "files", 0, "name"), name, "files[0].name: is ")
        for name in (
            "",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "/a",
            "a/",
            "a//b",
            "./a",
            "a\\b",
            "C:a",
            "a*",
            "a.",
            "a ",
            " a",
            "b/ a",
            "a\x00",
            "a\u2066",
            "x" * 201,
        )
    ),
    ((*SHAPE, "weights", "files"), [{"name": "a"}], "weights.files: is given, but the status is none"),
    (
        (*PACKAGED, "weights", "package"),
        "../elsewhere",
        "weights.package: is '../elsewhere', but must be a relative",
    ),
    ((*PACKAGED, "weights", "revision"), "0" * 40, "weights.revision: is given, but only a Hub repo has one"),
    ((*PACKAGED, "weights", "files", 0, "sha256"), ABSENT, "files[0].sha256: is missing"),
    ((*PACKAGED, "weights", "files", 0, "bytes"), ABSENT, "files[0].bytes: is missing"),
    ((*HUB, "licences"), ABSENT, "models[0].licences: is missing"),
    ((*HUB, "licences", "data"), ABSENT, "models[0].licences.data: is missing"),
    ((*HUB, "licences", "model"), "MIT", "licences.model: is unknown; allowed: code, weights, data"),
    (
        (*HUB, "paper"),
        "A paper",
        "models[0].paper: is 'A paper', but must be a mapping with title, url, year",
    ),
    ((*HUB, "paper", "url"), "http://x.org", "paper.url: is 'http://x.org', but must be an https:// address"),
    ((*HUB, "paper", "year"), 20, "paper.year: is 20, but must be a whole number, 1900 to 2100"),
    ((*HUB, "metrics", 0, "value"), "3", "metrics[0].value: is '3', but must be a number"),
    ((*HUB, "metrics", 0, "source"), ABSENT, "metrics[0].source: is missing"),
    ((*HUB, "metrics", 0, "samples"), 0, "metrics[0].samples: is 0, but must be a whole number, 1 or more"),
]


def bent(content: Any, path: tuple[str | int, ...], value: object) -> Any:
    """A copy of the content with one value replaced, added or removed."""
    copied = copy.deepcopy(content)
    parent = copied
    for key in path[:-1]:
        parent = parent[key]
    if value is ABSENT:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return copied


def test_a_valid_file_becomes_entries(write: Write, valid: str) -> None:
    path = write(valid)
    hub, shape, packaged = read_registry(path, package="zoo_tiny", installed=True)
    assert hub == ModelEntry(
        name="tiny",
        plugin="zoo-tiny",
        family="tiny",
        task="text-generation",
        can=("sample", "score"),
        parameters=12,
        weights=Weights(
            "original",
            repo="someone/tiny",
            revision="0123456789abcdef0123456789abcdef01234567",
            files=(File("model.safetensors", "a" * 64, 48), File("sub/tokenizer.json")),
            dtype="float32",
        ),
        licences=Licences("Apache-2.0", "MIT", "unknown"),
        summary="A model for tests.",
        aliases=("tiny-one",),
        config={"layers": 1, "rates": [0.5, 1.0], "dropout": None, "mode": "fast"},
        paper=Paper("A paper", "https://example.org/paper", 2020),
        metrics=(Metric("perplexity", 3.0, "", "a text", "a command"),),
        package="zoo_tiny",
        installed=True,
    )
    assert shape.weights == Weights("none")
    assert (shape.parameters, type(shape.parameters)) == (1200, int)
    assert packaged.weights.package == "weights/tiny"
    assert hub.weights.bytes == 48  # what is known, with the safetensors file's
    assert Weights("original", files=(File("model.safetensors"), File("config.json", "", 9))).bytes is None


@pytest.mark.parametrize(
    ("path", "value", "error"), FAULTS, ids=lambda part: "absent" if part is ABSENT else str(part)[:40]
)
def test_a_fault_is_refused_by_the_reader_and_by_the_schema(
    write: Write, valid: str, path: tuple[str | int, ...], value: object, error: str
) -> None:
    content = bent(read_yaml(valid, name="valid"), path, value)
    file = write(json.dumps(content, indent=1))  # JSON is YAML
    with pytest.raises(RegistryError) as raised:
        read_registry(file)
    assert str(raised.value).startswith(f"{file}:")
    assert error in str(raised.value)
    assert safe_text(str(raised.value)) == str(raised.value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_the_schema_is_a_schema_and_takes_what_the_reader_takes(valid: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(read_yaml(valid, name="valid"), SCHEMA, cls=jsonschema.Draft202012Validator)


def test_the_schema_and_the_reader_agree_on_every_character() -> None:
    refused = re.compile(SCHEMA["$defs"]["text"]["not"]["pattern"])
    for code in range(0x10000):
        text = f"a{chr(code)}b"
        assert (refused.search(text) is None) == (safe_text(text) == text), f"U+{code:04X}"


@pytest.mark.parametrize(
    ("line", "replacement", "error"),
    [
        ("    family: tiny", "    famly: tiny", ":6: models[0].famly: is unknown; did you mean family?"),
        ("      status: original", "      status: stolen", ":13: models[0].weights.status: is 'stolen'"),
        (
            "        - {name: sub/tokenizer.json}",
            "        - {name: ../x}",
            ":20: models[0].weights.files[1].name",
        ),
        ("    summary: A shape without weights.", "", ":25: models[1].summary: is missing"),
    ],
)
def test_a_fault_is_reported_at_its_line(
    write: Write, valid: str, line: str, replacement: str, error: str
) -> None:
    path = write(valid.replace(line, replacement, 1))
    with pytest.raises(RegistryError) as raised:
        read_registry(path)
    assert str(raised.value).startswith(f"{path}{error}")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("name: tiny-shape", "name: tiny", "models[1].name: 'tiny' is already used by tiny;"),
        ("name: tiny-shape", "name: tiny-one", "models[1].name: 'tiny-one' is already used by tiny;"),
        ("aliases: [tiny-one]", "aliases: [tiny]", "models[0].aliases: 'tiny' is already used by tiny;"),
        ("name: sub/tokenizer.json", "name: model.safetensors", "'model.safetensors' is listed twice"),
        (
            "parameters: 12\n",
            "parameters: 12\n    parameters: 12\n",
            "models[0].parameters: is written twice",
        ),
    ],
)
def test_nothing_is_named_twice_in_a_file(write: Write, valid: str, old: str, new: str, error: str) -> None:
    with pytest.raises(RegistryError) as raised:
        read_registry(write(valid.replace(old, new, 1)))
    assert error in str(raised.value)


def test_the_file_must_name_the_distribution_it_belongs_to(write: Write, valid: str) -> None:
    path = write(valid)
    assert read_registry(path, plugin="zoo-tiny")
    with pytest.raises(RegistryError, match="'zoo-tiny', but the file belongs to the distribution zoo-other"):
        read_registry(path, plugin="zoo-other")


def test_a_file_that_cannot_be_read_is_a_registry_error(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"registry\.yaml: cannot be read: No such file"):
        read_registry(tmp_path / "registry.yaml")
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"schema: 1\nplugin: \xff")
    with pytest.raises(RegistryError, match=r"bytes\.yaml:2: is not UTF-8 at byte 18"):
        read_registry(path)
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(RegistryError, match="is larger than 1048576 bytes"):
        read_registry(path)
