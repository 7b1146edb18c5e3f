"""One plugin of every broken kind, all installed at once by pip: each costs its own row, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo.text_safety import safe_text

GOOD = """
from zoo.family import Family
from zoo.plugins import hookimpl

zoo_api = (1, 1)
TINY = Family(name="tiny", modality="text", config="a:B", build="a:b", controls="a:C")

@hookimpl
def zoo_families():
    return [TINY]
"""


def model(distribution: str, name: str) -> str:
    """A registry file with one model."""
    return f"""schema: 1
plugin: {distribution}
models:
  - name: {name}
    family: tiny
    task: text-generation
    can: [sample]
    summary: A model.
    parameters: 1
    weights: {{status: none}}
    licences: {{code: MIT, weights: none, data: unknown}}
"""


BROKEN: dict[str, tuple[str, str]] = {
    # distribution: (its module, what the reason must say)
    "zoo-import": (
        "import a_package_that_is_not_there\n",
        "its import raises ModuleNotFoundError: No module named 'a_package_that_is_not_there'",
    ),
    "zoo-syntax": ("def :\n", "its import raises SyntaxError: invalid syntax"),
    "zoo-exit": ("import sys\nsys.exit(3)\n", "its import ends the process (exit code 3)"),
    "zoo-quit": (
        "class Quit(BaseException):\n    def __str__(self):\n        raise ValueError\nraise Quit\n",
        "its import raises Quit: (its message cannot be read)",
    ),
    "zoo-hang": ("import time\ntime.sleep(3600)\n", "loading it takes more than 6 seconds"),
    "zoo-forks": (
        "import os, time\nif os.fork():\n    os._exit(0)\ntime.sleep(3600)\n",
        "loading it ends the process (exit code 0)",  # though its child holds the pipe
    ),
    "zoo-gone": ("import os\nos._exit(0)\n", "loading it ends the process (exit code 0)"),
    "zoo-killed": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
        "loading it ends the process (signal 9)",
    ),
    "zoo-interrupt": ("raise KeyboardInterrupt\n", "its import raises KeyboardInterrupt:"),
    "zoo-raise": (
        GOOD.replace("return [TINY]", r"raise ValueError('two\nlines, \x1b[31mred and \u202ereversed')"),
        "its hook zoo_families raises ValueError: two lines, [31mred and reversed",
    ),
    "zoo-exit-later": (
        GOOD.replace("return [TINY]", "raise SystemExit"),
        "its hook zoo_families ends the process",
    ),
    "zoo-misspelt": (
        GOOD.replace("zoo_families", "zoo_familys"),
        "zoo_misspelt.plugin has the unknown hook zoo_familys; allowed: zoo_families",
    ),
    "zoo-unmarked": (
        GOOD.replace("@hookimpl", ""),
        "zoo_unmarked.plugin has no function zoo_families marked with @hookimpl",
    ),
    "zoo-argument": (
        GOOD.replace("zoo_families()", "zoo_families(colour)"),
        "registering its hook raises PluginValidationError: ",
    ),
    "zoo-returns": (
        GOOD.replace("[TINY]", "TINY"),
        "its hook zoo_families returns Family(name='tiny'",
    ),
    "zoo-element": (
        GOOD.replace("[TINY]", "[TINY, 'tiny']"),
        "its hook zoo_families returns a list with 'tiny', which is not a Family",
    ),
    "zoo-nothing": (
        GOOD.replace("[TINY]", "None"),
        "its hook zoo_families returns None, but must return a list",
    ),
    "zoo-twins": (GOOD.replace("[TINY]", "[TINY, TINY]"), "names a family twice: tiny, tiny"),
    "zoo-future": (
        GOOD.replace("(1, 1)", "(9, 12)"),
        "it fits the plugin interfaces 9 to 12, but this zoo speaks 1 to 1; upgrade zoo-core",
    ),
    "zoo-past": (
        GOOD.replace("(1, 1)", "(0, 0)"),
        "it fits the plugin interfaces 0 to 0, but this zoo speaks 1 to 1; upgrade zoo-past",
    ),
    "zoo-unsaid": (GOOD.replace("zoo_api", "zoo_apis"), "zoo_unsaid.plugin has zoo_api = None, but must say"),
    "zoo-nonsense": (
        GOOD.replace("(1, 1)", "(2, 1)"),
        "zoo_nonsense.plugin has zoo_api = (2, 1), but must say",
    ),
}

REPORT = """
import json, sys
from zoo import plugin_probe, plugins
from zoo.errors import ZooError
plugin_probe.SECONDS = 6.0
from zoo.registry.catalogue import catalogue

def said(function, *arguments):
    try:
        return str(function(*arguments))
    except ZooError as error:
        return f"{type(error).__name__}: {error}"

json.dump({
    "gpt2": [name for name, _ in plugins.families_named("gpt2")],
    "loaded_for_it": [name for name in sys.modules if name.endswith(".plugin") and name.startswith("zoo_")],
    "discovered": {row.distribution: [row.status, row.reason] for row in plugins.discover()},
    "checked": {row.distribution: [row.status, row.reason, row.version, row.summary] for row in plugins.check()},
    "rows": len(plugins.check()),
    "families": [name for name, family in plugins.all_families()],
    "models": [entry.qualified for entry in catalogue().entries if entry.installed],
    "problems": [str(problem) for problem in catalogue().problems],
    "shared": said(catalogue().find, "shared"),
    "shared_a": said(lambda: catalogue().find("zoo-shared-a/shared").plugin),
    "ran": sorted(name for name in sys.modules if name.endswith(".plugin") and name.startswith("zoo_")),
    "interrupt": said(plugins.families, "zoo-interrupt"),
    "broken": said(plugins.families, "zoo-exit"),
    "absent": said(plugins.families, "zoo-absent"),
    "loud": len(plugins.families("zoo-loud")),
    "family": said(plugins.family, "zoo-good", "other"),
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def site(wheel: Callable[..., Path], pip_install: Callable[..., Path]) -> str:
    """A PYTHONPATH with one distribution of each kind; zoo-twice lies in both of its folders."""

    def made(distribution: str, module: str = GOOD, *, registry: str = "", **said: str) -> Path:
        registry = registry or model(distribution, f"{distribution}-model")
        return wheel(distribution, module, registry=registry, **said)

    wheels = [made(name, module) for name, (module, _) in BROKEN.items()]
    wheels += [
        made("zoo-good", summary="Good, \x1b[31mred."),
        made("zoo-loud", "print('at import')\n" + GOOD.replace("return", "print('in the hook'); return")),
        made("zoo-parent", "import os, time\nif not os.fork():\n    time.sleep(3600)\n" + GOOD),
        made("zoo-file", registry=model("zoo-file", "lost").replace("parameters: 1", "parameters: many")),
        made("zoo-thief", registry=model("zoo-good", "stolen")),
        made("zoo-shared-a", registry=model("zoo-shared-a", "shared")),
        made("zoo-shared-b", registry=model("zoo-shared-b", "shared")),
        made("zoo-imposter", entry_points="good = zoo_imposter.plugin"),
        made("zoo-clash-a", entry_points="clash = zoo_clash_a.plugin"),
        made("zoo-clash-b", entry_points="clash = zoo_clash_b.plugin"),
        made("zoo-two-points", entry_points="one = zoo_two_points.plugin\ntwo = zoo_two_points.plugin"),
        made("zoo-elsewhere", entry_points="elsewhere = zoo_not_installed.plugin"),
        made("zoo-object", entry_points="object = zoo_object.plugin:TINY"),
        made("zoo-twice"),
    ]
    return os.pathsep.join([str(pip_install(*wheels)), str(pip_install(made("zoo-twice", version="2.0")))])


def python(site: str, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ZOO_")}
    variables |= {"PYTHONPATH": site, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=True
    )


@pytest.fixture(scope="module")
def report(site: str) -> dict[str, Any]:
    done = python(site, REPORT)
    assert "at import" in done.stderr
    assert "in the hook" in done.stderr
    return dict(json.loads(done.stdout))  # what zoo-loud prints did not get in between


@pytest.mark.parametrize("distribution", BROKEN)
def test_a_broken_module_is_a_row_with_its_reason(report: dict[str, Any], distribution: str) -> None:
    status, reason, *_ = report["checked"][distribution]
    assert status == "broken"
    assert BROKEN[distribution][1] in reason
    assert safe_text(reason) == reason
    assert report["discovered"][distribution] == ["ok", ""]  # only loading can tell


@pytest.mark.parametrize(
    ("distribution", "reason"),
    [
        ("zoo-imposter", "its entry point name good is also that of zoo-good; uninstall one"),
        ("zoo-clash-a", "its entry point name clash is also that of zoo-clash-b; uninstall one"),
        ("zoo-clash-b", "its entry point name clash is also that of zoo-clash-a; uninstall one"),
        ("zoo-two-points", "has 2 entry points in zoo.plugins (one, two); allowed: one"),
        ("zoo-elsewhere", "its package zoo_not_installed cannot be found; install it again"),
        ("zoo-object", "its entry point is 'zoo_object.plugin:TINY', but must be a module"),
        ("zoo-twice", "the distribution zoo-twice is installed twice, in "),
    ],
)
def test_broken_metadata_is_a_row_before_any_code_runs(
    report: dict[str, Any], distribution: str, reason: str
) -> None:
    assert report["discovered"][distribution][0] == "broken"
    assert reason in report["discovered"][distribution][1]
    assert report["checked"][distribution][:2] == report["discovered"][distribution]
    assert report["ran"] == [
        "zoo_gpt.plugin"
    ]  # which was asked for; the others ran in processes of their own


def test_only_the_plugin_that_claims_a_family_is_loaded_for_it(report: dict[str, Any]) -> None:
    assert report["gpt2"] == ["zoo-gpt"]
    assert report["loaded_for_it"] == ["zoo_gpt.plugin"]


def test_an_interrupt_of_the_person_is_never_swallowed_by_a_plugin(site: str) -> None:
    code = """
from zoo import plugin_loading
try:
    plugin_loading.load("swallows", "zoo-swallows")
except KeyboardInterrupt:
    print("interrupted")
"""
    folder = Path(site.split(os.pathsep)[0])
    (folder / "swallows.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
    )
    assert python(site, code).stdout == "interrupted\n"


def test_a_distribution_that_is_installed_twice_names_both_folders(report: dict[str, Any], site: str) -> None:
    reason = report["checked"]["zoo-twice"][1]
    assert all(folder in reason for folder in site.split(os.pathsep))


@pytest.mark.parametrize(
    ("distribution", "reason"),
    [
        ("zoo-file", "registry.yaml:9: models[0].parameters: is 'many', but must be a whole number"),
        (
            "zoo-thief",
            "registry.yaml:2: plugin: is 'zoo-good', but the file belongs to the distribution zoo-thief",
        ),
    ],
)
def test_a_bad_registry_file_costs_its_plugin(report: dict[str, Any], distribution: str, reason: str) -> None:
    status, said, *_ = report["checked"][distribution]
    assert status == "broken"
    assert reason in said
    assert any(reason in problem for problem in report["problems"])


def test_the_others_keep_their_rows_families_and_models(report: dict[str, Any]) -> None:
    working = ["zoo-gpt", "zoo-good", "zoo-loud", "zoo-parent", "zoo-shared-a", "zoo-shared-b"]
    for distribution in working:
        assert report["checked"][distribution][:2] == ["ok", ""]
    assert {"zoo-good/zoo-good-model", "zoo-loud/zoo-loud-model"} <= set(report["models"])
    assert set(working) <= set(report["families"])
    assert not set(BROKEN) & set(report["families"])
    assert report["rows"] == len(report["checked"])
    assert report["checked"]["zoo-good"][2:] == ["1.0", "Good, [31mred."]


def test_a_model_name_of_two_plugins_names_both(report: dict[str, Any]) -> None:
    assert report["shared"].startswith(
        "AmbiguousModelError: shared is a model of zoo-shared-a and zoo-shared-b"
    )
    assert report["shared_a"] == "zoo-shared-a"


def test_asking_for_a_family_that_cannot_be_had_says_why(report: dict[str, Any]) -> None:
    assert (
        report["broken"]
        == "PluginError: the plugin zoo-exit is broken: its import ends the process (exit code 3)"
    )
    assert (
        report["interrupt"]
        == "PluginError: the plugin zoo-interrupt is broken: its import raises KeyboardInterrupt:"
    )
    assert report["absent"] == "PluginError: the plugin zoo-absent is not installed"
    assert report["family"] == "PluginError: the plugin zoo-good has no family 'other'; it brings: tiny"


ROWS = """
import json, sys
from zoo import plugins
json.dump({row.distribution: row.status for row in plugins.discover()}, sys.stdout)
"""


def test_zoo_plugins_restricts_by_distribution_or_entry_point_and_empty_allows_none(site: str) -> None:
    def rows(**environment: str) -> dict[str, str]:
        return dict(json.loads(python(site, ROWS, **environment).stdout))

    everything = rows()
    assert {"zoo-good", "zoo-gpt", "zoo-imposter"} <= set(everything)
    assert everything["zoo-good"] == everything["zoo-gpt"] == "ok"
    assert everything["zoo-imposter"] == "broken"
    assert set(rows(ZOO_PLUGINS="").values()) == {"disabled"}
    some = rows(ZOO_PLUGINS=" loud, Zoo_Imposter ")
    assert [name for name, status in some.items() if status == "ok"] == ["zoo-imposter", "zoo-loud"]
    assert some["zoo-good"] == "disabled"  # so that its name no longer clashes


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["plugin", "list", "--json"]])
def test_the_command_works_beside_all_of_them(site: str, command: list[str]) -> None:
    code = f"import sys; sys.argv = ['zoo', *{command!r}]; from zoo_cli.main import main; main()"
    code = f"from zoo import plugin_probe; plugin_probe.SECONDS = 6.0; {code}"
    done = python(site, code)
    assert "Traceback" not in done.stderr
    if "--json" in command:
        named = {row.get("plugin", row["name"]) for row in json.loads(done.stdout)}
    else:
        named = {name for name in ("zoo-good", "zoo-gpt") if name in done.stdout}
    assert {"zoo-good", "zoo-gpt"} <= named
