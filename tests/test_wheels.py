"""Every distribution builds as a wheel, and the wheels alone, without the checkout, make a working zoo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = (ROOT, ROOT / "cli", *sorted((ROOT / "plugins").iterdir()))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, *map(str, PROJECTS)], check=True, timeout=120, capture_output=True)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs the command of an environment that has the wheels and, linked in, only their dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    ours = ("zoo", "_editable_impl_zoo", "__editable__")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(ours) and entry.suffix != ".pth":
            (site / entry.name).symlink_to(entry)
    python = folder / "venv" / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, *map(str, wheels)], check=True, timeout=120, capture_output=True)
    home = {"HOME": str(folder), "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [str(python.parent / arguments[0]), *arguments[1:]],
            check=True, timeout=120, capture_output=True, text=True, env=home, cwd=folder,
        ).stdout  # fmt: skip

    return run


def test_each_distribution_has_a_wheel_with_its_licence_and_no_large_file(wheels: list[Path]) -> None:
    assert len(wheels) == len(PROJECTS)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            assert any(name.endswith("licenses/LICENSE") for name in archive.namelist()), wheel.name
            assert all(info.file_size <= 5_000_000 for info in archive.infolist()), wheel.name


def test_the_wheels_alone_list_their_models(installed: Callable[..., str]) -> None:
    models = {model["name"]: model for model in json.loads(installed("zoo", "list", "--json"))}
    assert models["shakespeare-nano"]["installed"] is True
    assert "gpt2-small" in models


def test_the_wheels_alone_sample_the_embedded_model(installed: Callable[..., str]) -> None:
    text = installed("zoo", "sample", "shakespeare-nano", "--prompt", "ROMEO:", "--seed", "1", "--max-tokens", "20")
    assert text.startswith("ROMEO:")
    assert len(text) > len("ROMEO:") + 10


def test_the_index_travels_in_the_core_wheel(installed: Callable[..., str]) -> None:
    script = "import os; os.environ['ZOO_PLUGINS'] = ''; import zoo; print(zoo.info('gpt2-small').installed)"
    assert installed("python", "-c", script) == "False\n"
