"""Registry files to entries: schema version 1, checked by hand: quick, with the line of each fault.

`schema.json` says the same for editors; a test holds the two against each other. What a JSON Schema cannot say is
checked here alone: duplicate keys, and names used twice in a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from zoo.errors import RegistryError
from zoo.os_words import reason
from zoo.registry import document, validate
from zoo.registry.document import List, Map
from zoo.registry.entry import File, Licences, Metric, ModelEntry, Paper, Status, Weights
from zoo.registry.validate import Fields

SCHEMA = 1
CAN = (
    "sample",
    "score",
    "chat",
    "train",
    "fit",
    "encode",
    "decode",
    "inpaint",
    "upscale",
    "interpolate",
    "log_prob",
)
"""What a model may say it can do."""
STATUSES: tuple[Status, ...] = get_args(Status)
DTYPES = ("float64", "float32", "float16", "bfloat16")

_FILE = ("schema", "plugin", "models")
_MODEL = (
    "name",
    "aliases",
    "family",
    "task",
    "can",
    "summary",
    "parameters",
    "config",
    "weights",
    "licences",
    "paper",
    "metrics",
)
_WEIGHTS = ("status", "repo", "revision", "package", "dtype", "files")
_WEIGHTS_FILE = ("name", "sha256", "bytes")
_METRIC = ("name", "value", "unit", "data", "source", "samples")


def read_yaml(text: str, *, name: str) -> Any:
    """The one document in `text` as plain data: dict, list, str, int, float, bool, None. Numbers are finite.

    Bounded and strict, see `zoo.registry.document`. name: what errors call the file.
    Raises RegistryError, `name:line: field.path: ...`.
    """
    return _plain(document.parse(text, name=name))


def _plain(value: Any) -> Any:
    if isinstance(value, Map):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, List):
        return [_plain(item) for item in value]
    return value


def read_registry(
    path: Path, *, plugin: str = "", package: str = "", installed: bool = False
) -> tuple[ModelEntry, ...]:
    """The models of one plugin's registry file.

    plugin: the distribution that the file must name, if given. package: the import package the file was found in.
    installed: whether that package's plugin is.
    Raises RegistryError, `file:line: field.path: ...`, also for a file that cannot be read.
    """
    root = _root(path)
    named = root.text("plugin", validate.DISTRIBUTION)
    if plugin and named != plugin:
        root.fail("plugin", f"is {named!r}, but the file belongs to the distribution {plugin}")
    return _models(root, named, package, installed)


def _root(path: Path) -> Fields:
    name = str(path)
    root = document.parse(_text(path), name=name)
    schema = root.get("schema") if isinstance(root, Map) else None
    if type(schema) is int and schema > SCHEMA:
        problem = (
            f"is {schema}, but this zoo reads {SCHEMA}; a newer zoo-core is needed (pip install -U zoo-core)"
        )
        raise document.fault(name, root.lines["schema"], "schema", problem)
    fields = Fields(root, file=name, line=1, path="", known=_FILE)
    fields.integer("schema", SCHEMA, SCHEMA)
    return fields


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(document.MOST_BYTES + 1)
    except OSError as error:
        raise RegistryError(f"{path}: cannot be read: {reason(error)}") from None
    if len(content) > document.MOST_BYTES:
        raise RegistryError(f"{path}: is larger than {document.MOST_BYTES} bytes, the most allowed")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise document.fault(str(path), line, "", f"is not UTF-8 at byte {error.start}") from None


def _models(parent: Fields, plugin: str, package: str, installed: bool) -> tuple[ModelEntry, ...]:
    entries = []
    used: dict[str, str] = {}
    if not parent.has("models"):
        parent.fail("models", "is missing; it is required")
    for fields in parent.mappings("models", _MODEL):
        entry = _model(fields, plugin, package, installed)
        for key, names in (("name", (entry.name,)), ("aliases", entry.aliases)):
            for name in names:
                if name in used:
                    fields.fail(
                        key, f"{name!r} is already used by {used[name]}; allowed: each name and alias once"
                    )
                used[name] = entry.name
        entries.append(entry)
    return tuple(entries)


def _model(fields: Fields, plugin: str, package: str, installed: bool) -> ModelEntry:
    can = fields.texts("can", (CAN.__contains__, "one of " + ", ".join(CAN)))
    if not can:
        fields.fail("can", "is missing or empty; allowed: " + ", ".join(CAN))
    return ModelEntry(
        name=fields.text("name", validate.NAME),
        plugin=plugin,
        family=fields.text("family", validate.NAME),
        task=fields.text("task", validate.NAME),
        can=can,
        parameters=fields.integer("parameters", 0),
        weights=_weights(fields.mapping("weights", _WEIGHTS)),
        licences=_licences(fields.mapping("licences", ("code", "weights", "data"))),
        summary=fields.text("summary"),
        aliases=fields.texts("aliases", validate.NAME),
        config=fields.settings("config"),
        paper=_paper(fields.mapping("paper", ("title", "url", "year"))) if fields.has("paper") else None,
        metrics=tuple(_metric(metric) for metric in fields.mappings("metrics", _METRIC)),
        package=package,
        installed=installed,
    )


def _weights(fields: Fields) -> Weights:
    status = fields.choice("status", STATUSES)
    if status == "none":
        for key in _WEIGHTS[1:]:
            if fields.has(key):
                fields.fail(key, "is given, but the status is none; allowed: no other field")
        return Weights(status="none")
    repo, package = fields.has("repo"), fields.has("package")
    if repo == package:
        given = "both are" if repo else "neither is"
        fields.fail("repo", f"or package: {given} given; allowed: exactly one of them, or status: none")
    if package and fields.has("revision"):
        fields.fail("revision", "is given, but only a Hub repo has one")
    files = tuple(_file(file, packaged=package) for file in fields.mappings("files", _WEIGHTS_FILE))
    if not files:
        fields.fail("files", "is missing or empty; allowed: at least one file")
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        fields.fail("files", f"{twice!r} is listed twice; allowed: each file once")
    return Weights(
        status=status,  # type: ignore[arg-type]  # checked by choice()
        repo=fields.text("repo", validate.REPO) if repo else "",
        revision=fields.text("revision", validate.COMMIT) if repo else "",
        package=fields.text("package", validate.FILE) if package else "",
        files=files,
        dtype=fields.choice("dtype", DTYPES, default=""),
    )


def _file(fields: Fields, *, packaged: bool) -> File:
    """A packaged file must say its hash and size: there is no later moment to record them."""
    return File(
        name=fields.text("name", validate.FILE),
        sha256=fields.text("sha256", validate.SHA256, default=None if packaged else ""),
        bytes=fields.integer("bytes", 0) if packaged or fields.has("bytes") else None,
    )


def _licences(fields: Fields) -> Licences:
    return Licences(fields.text("code"), fields.text("weights"), fields.text("data"))


def _paper(fields: Fields) -> Paper:
    year = fields.integer("year", 1900, 2100) if fields.has("year") else None
    return Paper(fields.text("title"), fields.text("url", validate.URL), year)


def _metric(fields: Fields) -> Metric:
    return Metric(
        name=fields.text("name"),
        value=fields.number("value"),
        unit=fields.text("unit", default=""),
        data=fields.text("data"),
        source=fields.text("source"),
        samples=fields.integer("samples", 1) if fields.has("samples") else None,
    )
