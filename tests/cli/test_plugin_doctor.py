"""zoo plugin list and zoo doctor: what is installed, and the reason of what does not work."""

import json
from importlib import metadata

import pytest

from cli.conftest import entry
from cli.json_shapes import documented, shape
from zoo.errors import RegistryError
from zoo.plugins import Plugin


@pytest.fixture
def installed(monkeypatch, registry):
    """One plugin of each status."""
    found = (
        _plugin("good", "1.0", "ok", summary="Good models."),
        _plugin("bad", "0.2", "broken", reason="ImportError: no\x1b[2J module"),
        _plugin("off", "3", "disabled", reason="ZOO_PLUGINS leaves it out"),
    )
    monkeypatch.setattr("zoo.plugins.check", lambda: found)
    registry(entry("a", plugin="zoo-good"), entry("b", plugin="zoo-good", aliases=()))
    return found


def _plugin(name, version, status, *, summary="", reason=""):
    return Plugin(
        name=name,
        distribution=f"zoo-{name}",
        version=version,
        module=f"zoo_{name}",
        package=f"zoo_{name}",
        summary=summary,
        registry=None,
        status=status,
        reason=reason,
    )


def test_json_has_the_documented_shape(zoo, installed):
    ran = zoo("plugin", "list", "--json")
    assert ran.code == 0
    assert shape(json.loads(ran.out)) == documented("zoo plugin list --json")
    good, bad, off = json.loads(ran.out)
    assert good == {
        "name": "zoo-good",
        "entry_point": "good",
        "version": "1.0",
        "status": "ok",
        "reason": "",
        "summary": "Good models.",
        "models": ["a", "b"],
    }
    assert (bad["status"], off["status"]) == ("broken", "disabled")


def test_a_program_gets_tabs(zoo, installed):
    assert zoo("plugin", "list").out.splitlines() == [
        "zoo-good\t1.0\tok\t2\t",
        "zoo-bad\t0.2\tbroken\t0\tImportError: no[2J module",
        "zoo-off\t3\tdisabled\t0\tZOO_PLUGINS leaves it out",
    ]


def test_a_person_gets_a_table_with_the_reasons(zoo, installed, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    lines = [" ".join(line.split()) for line in zoo("plugin", "list", terminal=True).out.splitlines()]
    assert "zoo-good 1.0 ok 2 Good models." in lines
    assert "zoo-bad 0.2 broken 0 ImportError: no[2J module" in lines


def test_no_plugin_at_all_says_what_to_install(zoo, monkeypatch):
    monkeypatch.setattr("zoo.plugins.check", lambda: ())
    assert "pip install zoo-gpt" in zoo("plugin", "list").err


def test_zoo_gpt_works_here(zoo):
    [gpt] = [
        plugin for plugin in json.loads(zoo("plugin", "list", "--json").out) if plugin["name"] == "zoo-gpt"
    ]
    assert (gpt["status"], gpt["version"]) == ("ok", metadata.version("zoo-gpt"))
    assert "gpt2-small" in gpt["models"]


def findings(ran):
    return {finding["subject"]: finding for finding in json.loads(ran.out)}


def test_the_doctor_finds_this_environment_in_order(zoo, tmp_path):
    ran = zoo("doctor", "--json")
    assert shape(json.loads(ran.out)) == documented("zoo doctor --json")
    found = findings(ran)
    assert ran.code == 0, found
    assert found["torch"] == {
        "subject": "torch", "status": "ok", "detail": metadata.version("torch"), "hint": "",
    }  # fmt: skip
    assert str(tmp_path / "hub-cache") in found["cache"]["detail"]
    assert {"python", "device", "plugin zoo-gpt", "registry", "HF_HUB_CACHE"} <= found.keys()


def test_the_doctor_makes_no_request(zoo, monkeypatch):
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was contacted"))
    assert zoo("doctor").code == 0


def test_a_broken_plugin_is_reported_with_its_reason_and_exit_code_1(zoo, installed):
    ran = zoo("doctor", "--json")
    found = findings(ran)
    assert ran.code == 1
    assert found["plugin zoo-bad"]["status"] == "broken"
    assert "no\x1b[2J module" in found["plugin zoo-bad"]["detail"]
    assert found["plugin zoo-off"]["status"] == "ok"
    shown = zoo("doctor", terminal=True)
    assert shown.code == 1
    assert "plugin zoo-bad: ImportError: no[2J module" in shown.out


def test_a_registry_problem_is_broken(zoo, registry):
    registry(problems=[RegistryError("x.yaml:3: models: missing", hint="add it")])
    ran = zoo("doctor")
    assert ran.code == 1
    assert "broken   registry: x.yaml:3: models: missing\n         add it\n" in ran.out


def test_a_missing_package_is_named_with_the_line_that_installs_it(zoo, monkeypatch):
    version = metadata.version

    def without(name):
        if name in ("safetensors", "gguf"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    ran = zoo("doctor", "--json")
    assert ran.code == 1
    assert findings(ran)["safetensors"]["hint"] == "pip install safetensors"
    assert findings(ran)["gguf"]["status"] == "warning"


def test_a_torch_that_cannot_start_is_a_finding(zoo, monkeypatch):
    import torch

    def fails(**_):
        raise RuntimeError("driver too old")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", fails)
    ran = zoo("doctor", "--json")
    assert ran.code == 1
    assert "driver too old" in findings(ran)["device"]["detail"]


def test_little_room_is_a_warning(zoo, monkeypatch):
    monkeypatch.setattr("zoo.weights.layout.free_bytes", lambda folder: 12_000_000)
    ran = zoo("doctor", "--json")
    assert ran.code == 0
    assert findings(ran)["cache"]["status"] == "warning"
    assert "12 MB free" in findings(ran)["cache"]["detail"]


def test_tokens_and_passwords_are_never_shown(zoo, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@hub.example")
    shown = zoo("doctor").out + zoo("doctor", "--json").out
    assert "https://...@hub.example" in shown
    assert "secret" not in shown
