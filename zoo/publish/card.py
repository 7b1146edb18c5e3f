"""The model card, README.md: YAML in front as the Hub reads it, then what a person asks of a model.

What a run's files say is a stranger's text by the time it is read: it is shown as text and never as Markdown or HTML.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import yaml

from zoo.publish import licences
from zoo.publish.history import History
from zoo.registry.entry import ModelEntry
from zoo.text_safety import safe_text

_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~!&]")
_PIPELINE = {"text": "text-generation", "image": "unconditional-image-generation"}
"""The Hub's tag of a modality, where it has one."""


@dataclass(frozen=True)
class Facts:
    """What a card says. modality: the family's."""

    repo: str
    entry: ModelEntry
    past: History
    modality: str


def text(facts: Facts) -> str:
    """The whole README.md."""
    front = yaml.safe_dump(_front_matter(facts), sort_keys=False, allow_unicode=True, width=110)
    sections = (
        _what(facts),
        _use(facts),
        _data(facts),
        _recipe(facts),
        _metrics(facts),
        _licences(facts),
        _made(facts),
    )
    return f"---\n{front}---\n\n" + "\n".join(line for section in sections for line in section)


def words(name: str) -> str:
    """A result's name as people write it: held_out_bits_per_byte -> bits per byte."""
    return _key(name).replace("_", " ").strip() or name


def _key(name: str) -> str:
    """A metric's identifier."""
    return name.removeprefix("held_out_")


def _front_matter(facts: Facts) -> dict[str, Any]:
    entry, pipeline = facts.entry, _PIPELINE.get(facts.modality, "")
    dataset = _hub_dataset(facts.past.data)
    said: dict[str, Any] = {
        **licences.front_matter(entry.licences.weights),
        "library_name": "zoo",
        "pipeline_tag": pipeline,
        "tags": list(dict.fromkeys(["zoo", entry.plugin, entry.family, entry.task])),
        "datasets": [dataset] if dataset else [],
        "metrics": [_key(name) for name in facts.past.measured.results] if facts.past.measured else [],
        "model-index": _index(facts),
    }
    return {key: value for key, value in said.items() if value}


def _index(facts: Facts) -> list[dict[str, Any]]:
    """The Hub's model-index: the measurements by task and data."""
    measured = facts.past.measured
    if measured is None:
        return []
    name = facts.past.data or "held out by the run"
    result = {
        "task": {"type": _PIPELINE.get(facts.modality, facts.entry.task)},
        "dataset": {"name": f"{name}, held-out part", "type": _hub_dataset(facts.past.data) or name},
        "metrics": [
            {"type": _key(key), "name": f"{words(key)}, held out", "value": value}
            for key, value in measured.results.items()
        ],
    }
    return [{"name": facts.repo.partition("/")[2], "results": [result]}]


def _hub_dataset(data: str) -> str:
    """The Hub's name of a data set that was taken from there, else ""."""
    found = re.match(r"hf:([\w.-]+(?:/[\w.-]+)?)", data)
    return found[1] if found else ""


def _what(facts: Facts) -> Iterator[str]:
    entry = facts.entry
    yield f"# {_plain(facts.repo.partition('/')[2])}\n"
    dtype = f", stored as {entry.weights.dtype}" if entry.weights.dtype else ""
    trained = f", trained on {_plain(facts.past.data)}" if facts.past.data else ""
    yield (
        f"A `{entry.family}` of the plugin `{entry.plugin}` for the zoo of generative models: "
        f"{entry.parameters:,} parameters{dtype}{trained}.\n"
    )
    yield from _table(("setting", "value"), [(name, str(value)) for name, value in entry.config.items()])
    yield "The weights are safetensors; nothing in this repo is code, and loading it runs none.\n"


def _use(facts: Facts) -> Iterator[str]:
    if "sample" not in facts.entry.can:
        return
    prompt = ' --prompt "..."' if facts.modality == "text" else ""
    yield "## How to sample\n"
    yield f"```sh\npip install zoo-cli {facts.entry.plugin}\nzoo sample hf:{facts.repo}{prompt} --seed 0\n```\n"
    if facts.modality == "text":
        yield (
            f'```python\nimport zoo\n\nmodel = zoo.load("hf:{facts.repo}")\n'
            'for text in model.sample("...", count=2, seed=0):\n    print(text)\n```\n'
        )
    yield f"Add `@COMMIT` to `hf:{facts.repo}` for the same bytes for ever.\n"


def _data(facts: Facts) -> Iterator[str]:
    licence = facts.entry.licences.data
    yield "## Data\n"
    if facts.past.data:
        yield f"Trained on {_plain(facts.past.data)}; licence of the data: {_plain(licence)}.\n"
    else:
        yield f"The run does not say what it was trained on; licence of the data: {_plain(licence)}.\n"
    if facts.past.summary:
        yield f"{_plain(facts.past.summary)}.\n"
    if facts.past.fingerprint:
        yield f"Fingerprint of the data (sha256): `{_plain(facts.past.fingerprint)}`\n"


def _recipe(facts: Facts) -> Iterator[str]:
    yield "## Recipe\n"
    if facts.past.recipe is None:
        yield "There is no recipe beside these weights.\n"
        return
    text = facts.past.recipe_text
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    yield "`zoo train --recipe recipe.yaml` with this file, which is in this repo:\n"
    yield f"{fence}yaml\n{text.rstrip()}\n{fence}\n"


def _metrics(facts: Facts) -> Iterator[str]:
    measured, past = facts.past.measured, facts.past
    yield "## Metrics\n"
    if measured is None:
        yield "Nothing was measured on held-out data.\n"
        return
    counted = ", ".join(f"{count:,} {words(name)}" for name, count in measured.counts.items())
    seed = str(past.seed) if past.seed is not None else "not recorded"
    rows = [
        (words(name), f"{value:.6g}", counted or "not recorded", seed, str(measured.step))
        for name, value in measured.results.items()
    ]
    yield from _table(("metric", "value", "N", "seed", "step"), rows)
    total = f" of {past.steps}" if past.steps else ""
    yield (
        f"Measured at step {measured.step}{total}, on data that training did not see. "
        "It is one run, so there is no interval over seeds.\n"
    )


def _licences(facts: Facts) -> Iterator[str]:
    said = facts.entry.licences
    yield "## Licences\n"
    yield from _table(
        ("of", "licence"), [("weights", said.weights), ("data", said.data), ("code", said.code)]
    )
    yield 'As stated by whoever pushed the model; "unknown" means that nobody said.\n'


def _made(facts: Facts) -> Iterator[str]:
    here = {"python": platform.python_version()}
    here |= {name: _version(name) for name in ("zoo-core", facts.entry.plugin, "torch", "huggingface-hub")}
    trained = facts.past.versions
    yield "## Versions\n"
    rows = [(name, trained.get(name, ""), here.get(name, "")) for name in dict.fromkeys([*trained, *here])]
    yield from _table(("package", "trained with", "pushed with"), rows)
    yield "`registry.yaml` in this repo is the model's registry entry, with the sha256 of each file.\n"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
        yield "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _plain(said: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", safe_text(said))
