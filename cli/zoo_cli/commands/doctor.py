"""zoo doctor: what is installed here, what works, and what to do about what does not.

The network is not contacted.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import typer

from zoo_cli import human, options, terminal

PACKAGES = ("zoo-core", "zoo-cli", "torch", "huggingface-hub", "safetensors", "numpy", "jinja2", "gguf")
VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "ZOO_HOME", "ZOO_PLUGINS")
_SECRET = re.compile(r"//[^/@]*@")  # a name and password in an address
ALMOST_FULL = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One line of the report. broken: something that should work does not; hint: what to do."""

    subject: str
    status: Literal["ok", "warning", "broken"]
    detail: str
    hint: str = ""


def register(app: typer.Typer, _words: Sequence[str]) -> None:
    app.command("doctor")(_doctor)


def _doctor(as_json: options.Json = False, _cache_dir: options.CacheDir = None) -> None:
    """Report what is installed here and whether it works. Exits with 1 when something is broken."""
    findings = []
    for finding in _findings():
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        terminal.out_json([asdict(finding) for finding in findings], indent=2)
    if any(finding.status == "broken" for finding in findings):
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    style = {"ok": "", "warning": "yellow", "broken": "red"}[finding.status]
    terminal.out(finding.status.ljust(7), style=style, end="  ")
    terminal.out(terminal.one_line(f"{finding.subject}: {finding.detail}"))
    if finding.hint:
        terminal.out(" " * 9 + terminal.one_line(finding.hint), style="dim")


def _findings() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}, {sys.executable}")
    yield from _packages()
    yield _device()
    yield _cache()
    for name in VARIABLES:
        if name in os.environ:
            yield Finding(name, "ok", _SECRET.sub("//...@", os.environ[name]) or "empty")
    yield from _plugins()
    yield from _registry()


def _packages() -> Iterator[Finding]:
    from importlib import metadata

    for name in PACKAGES:
        try:
            yield Finding(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            optional = name in ("jinja2", "gguf")
            needed = "zoo chat" if name == "jinja2" else "zoo convert of GGUF files"
            yield Finding(
                name,
                "warning" if optional else "broken",
                f"is not installed{f', needed for {needed}' if optional else ''}",
                f"pip install {name}",
            )


def _device() -> Finding:
    try:
        import torch

        accelerator = torch.accelerator.current_accelerator(check_available=True)
        name = "cpu" if accelerator is None else str(accelerator)
        if accelerator is not None and accelerator.type == "cuda":
            name += f", {torch.cuda.get_device_name()}"
        return Finding("device", "ok", f"{name}; {torch.get_num_threads()} CPU threads")
    except Exception as error:  # a torch that cannot start must be reported, not end the report
        return Finding(
            "device",
            "broken",
            f"torch does not work: {type(error).__name__}: {error}",
            "install torch again: pip install --force-reinstall torch",
        )


def _cache() -> Finding:
    from zoo import paths
    from zoo.weights import hub

    free = hub.free_bytes()
    said = f"{paths.hub_cache()}, {human.size(free)} free"
    if free < ALMOST_FULL:
        return Finding("cache", "warning", said, "`zoo cache list` shows what takes space")
    return Finding("cache", "ok", said)


def _plugins() -> Iterator[Finding]:
    from zoo import plugins

    found = plugins.check()
    if not found:
        yield Finding("plugins", "broken", "none is installed", "pip install zoo-gpt")
    for plugin in found:
        if plugin.status == "broken":
            hint = f"pip install --upgrade {plugin.distribution}, or pip uninstall {plugin.distribution}"
            yield Finding(f"plugin {plugin.distribution}", "broken", plugin.reason, hint)
        else:
            state = (
                f"{plugin.version}, disabled: {plugin.reason}"
                if plugin.status == "disabled"
                else plugin.version
            )
            yield Finding(f"plugin {plugin.distribution}", "ok", state)


def _registry() -> Iterator[Finding]:
    from zoo.registry.catalogue import catalogue

    known = catalogue()
    installed = sum(entry.installed for entry in known.entries)
    yield Finding("registry", "ok", f"{len(known.entries)} models, {installed} of installed plugins")
    for problem in known.problems:
        yield Finding("registry", "broken", str(problem), problem.hint)
