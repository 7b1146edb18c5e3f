"""zoo list: a table for people, tabs for programs, JSON of a pinned shape."""

import inspect
import json

import pytest

from cli.conftest import entry
from cli.json_shapes import documented, shape
from zoo.errors import RegistryError
from zoo.plugins import Plugin
from zoo.registry.entry import Weights
from zoo_cli.commands.list_models import list_models, plain

OTHER = entry(
    "far", plugin="zoo-far", installed=False, aliases=(), weights=Weights("none"), task="text-to-image"
)
PACKAGED = entry("inside", aliases=(), family="llama", weights=Weights("trained here", package="weights"))


def test_a_program_gets_tabs_and_exact_numbers(zoo, registry):
    registry(entry(), OTHER)
    assert zoo("list").out.splitlines() == [
        "tiny\tzoo-test\tgpt2\ttext-generation\t1234567\toriginal\t2000500\tinstalled",
        "far\tzoo-far\tgpt2\ttext-to-image\t1234567\tnone\t\tnot installed",
    ]


def test_json_has_the_documented_shape(zoo, registry):
    registry(entry(), PACKAGED)
    said = json.loads(zoo("list", "--json").out)
    assert shape(said) == documented("zoo list --json")
    first, second = said
    assert first == {
        "name": "tiny",
        "aliases": ["little"],
        "plugin": "zoo-test",
        "family": "gpt2",
        "task": "text-generation",
        "can": ["sample", "score"],
        "parameters": 1_234_567,
        "summary": "A tiny model.",
        "installed": True,
        "weights": {
            "status": "original",
            "bytes": 2_000_500,
            "repo": "user/tiny",
            "revision": "0" * 40,
            "package": None,
        },
    }
    assert second["weights"] == {
        "status": "trained here", "bytes": None, "repo": None, "revision": None, "package": "weights",
    }  # fmt: skip


def test_a_person_gets_a_table_that_says_what_to_install(zoo, registry, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    registry(entry(), PACKAGED, OTHER)
    shown = zoo("list", terminal=True).out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[0] == "model family task parameters weights plugin"
    assert "tiny gpt2 text-generation 1.23M original, 2 MB zoo-test" in lines
    assert "inside llama text-generation 1.23M trained here, in the package zoo-test" in lines
    assert "far gpt2 text-to-image 1.23M none zoo-far" in lines
    assert lines[-1] == "dimmed: pip install zoo-far"
    assert "\x1b" not in shown


def test_what_is_not_installed_is_dimmed(zoo, registry, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    registry(entry(), OTHER)
    lines = zoo("list", terminal=True).out.splitlines()
    assert [line for line in lines if "\x1b[2m" in line] == [line for line in lines if "far" in line]


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (20, ["model"]),
        (40, ["model"]),
        (60, ["model", "family", "parameters"]),
        (80, ["model", "family", "parameters", "weights"]),
        (200, ["model", "family", "task", "parameters", "weights", "plugin"]),
    ],
)
def test_a_narrow_table_drops_columns_and_cuts_no_name(zoo, registry, monkeypatch, width, columns):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    name = "a-model-with-a-rather-long-name-indeed"
    registry(entry(name), OTHER)
    head, *lines = zoo("list", terminal=True).out.splitlines()
    assert head.split() == columns
    assert max(map(len, [head, *lines[:-1]])) <= width
    wrapped = "".join(line.split()[0] for line in lines if not line.startswith(("far", "dimmed")))
    assert wrapped == name


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["t*"], ["tiny"]),
        (["little"], ["tiny"]),
        (["zoo-far/*"], ["far"]),
        (["--task", "text-to-image"], ["far"]),
        (["--family", "llama"], ["inside"]),
        (["--plugin", "zoo-far"], ["far"]),
        (["--installed"], ["tiny", "inside"]),
        (["*", "--installed", "--family", "gpt2"], ["tiny"]),
    ],
)
def test_patterns_and_filters_choose(zoo, registry, words, names):
    registry(entry(), PACKAGED, OTHER)
    assert [model["name"] for model in json.loads(zoo("list", *words, "--json").out)] == names


def test_no_match_is_said_and_is_no_failure(zoo, registry):
    registry(entry())
    ran = zoo("list", "gpt", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, [])
    assert ran.err == "no model matches 'gpt'; try `zoo list '*gpt*'`\n"
    assert "try" not in zoo("list", "gpt*").err


def test_a_bad_registry_file_costs_itself_and_a_warning(zoo, registry):
    registry(entry(), problems=[RegistryError("x.yaml:3: models: missing")])
    ran = zoo("list")
    assert ran.code == 0
    assert ran.out.startswith("tiny\t")
    assert ran.err == "warning: 1 registry file(s) cannot be read; `zoo doctor` says why\n"


def test_a_plugin_that_its_metadata_shows_broken_costs_a_warning(zoo, registry, monkeypatch):
    registry(entry())
    broken = Plugin("bad", "zoo-bad", "1", "zoo_bad", "zoo_bad", status="broken", reason="claimed twice")
    monkeypatch.setattr("zoo.plugins.discover", lambda: (broken,))
    ran = zoo("list")
    assert ran.out.startswith("tiny\t")
    assert ran.err == "warning: zoo-bad cannot be used; `zoo doctor` says why\n"


def test_hostile_names_reach_no_terminal(zoo, registry):
    hostile = "ev\x1b[2kil\u202e[red]\n[/]"
    registry(entry(hostile, summary=hostile, family=hostile))
    for words in (["list"], ["list", "--json"], ["info", hostile]):
        for terminal in (False, True):
            shown = zoo(*words, terminal=terminal).out
            assert not {"\u202e", "\x1b[2k"} & {
                shown[at : at + n] for n in (1, 4) for at in range(len(shown))
            }
            assert "il" in shown
    assert len(zoo("list").out.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ([], {}),
        (["gpt*"], {"pattern": "gpt*"}),
        (["--json", "gpt*", "--installed"], {"pattern": "gpt*", "as_json": True, "installed": True}),
        (["--family", "gpt2", "x", "--task", "t", "--plugin", "p"],
         {"family": "gpt2", "pattern": "x", "task": "t", "plugin": "p"}),
        (["--family", "a", "--family", "b"], {"family": "b"}),
    ],
)  # fmt: skip
def test_plain_words_are_read_as_typer_reads_them(monkeypatch, words, arguments):
    from zoo_cli import app
    from zoo_cli.commands import list_models as module

    assert plain(words) == arguments
    called = []
    monkeypatch.setattr(module, "plain", lambda words: None)
    monkeypatch.setattr(module, "list_models", _recording(called))
    assert app.run(["list", *words]) == 0
    defaults = {name: p.default for name, p in inspect.signature(list_models).parameters.items()}
    assert called == [defaults | arguments]


def _recording(called):
    def command(**values):
        called.append(values)

    command.__signature__ = inspect.signature(list_models, eval_str=True)
    command.__annotations__ = inspect.get_annotations(list_models, eval_str=True)
    return command


@pytest.mark.parametrize(
    "words", [["--help"], ["--family"], ["--family=x"], ["a", "b"], ["--jsn"], ["--family", "--json"]]
)
def test_all_other_words_are_left_to_typer(words):
    assert plain(words) is None
