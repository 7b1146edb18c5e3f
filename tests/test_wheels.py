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
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = (ROOT, ROOT / "cli", *sorted((ROOT / "plugins").iterdir()))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "-w", str(folder), *map(str, PROJECTS)], check=True, timeout=120, capture_output=True
    )
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs the command of an environment that has the wheels and what they say they need, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    source = Path(sysconfig.get_path("purelib"))
    for name in sorted(needed(wheels)):
        files = metadata.distribution(name).files or ()
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            (site / top).symlink_to(source / top)
    python = folder / "venv" / "bin" / "python"
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*command, *map(str, wheels)], check=True, timeout=120, capture_output=True)
    home = {"HOME": str(folder), "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]}

    def run(*arguments: str) -> str:
        command = [str(python.parent / arguments[0]), *arguments[1:]]
        done = subprocess.run(
            command, timeout=120, capture_output=True, text=True, env=home, cwd=folder, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def needed(wheels: list[Path]) -> set[str]:
    """The distributions that the wheels declare as dependencies, and what these need in turn, without our own."""
    declared: dict[str, list[str]] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            said = message_from_bytes(archive.read(name))
        declared[canonicalize_name(said["Name"])] = said.get_all("Requires-Dist", [])
    waiting = [(name, "") for name in declared]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        for line in declared[name] if name in declared else metadata.requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                more = {(canonicalize_name(requirement.name), wanted) for wanted in ("", *requirement.extras)}
                waiting += more - seen
                seen |= more
    return {name for name, _ in seen} - declared.keys()


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
    text = installed(
        "zoo", "sample", "shakespeare-nano", "--prompt", "ROMEO:", "--seed", "1", "--max-tokens", "20"
    )
    assert text.startswith("ROMEO:")
    assert len(text) > len("ROMEO:") + 10


def test_the_wheels_alone_draw_digits_and_fit_a_table(installed: Callable[..., str], tmp_path: Path) -> None:
    """No extra is needed: neither for a grid of images nor for tables in CSV."""
    grid, table, run = tmp_path / "grid.png", tmp_path / "rows.csv", tmp_path / "run"
    installed("zoo", "sample", "digits-gmm", "-n", "64", "--seed", "1", "-o", str(grid))
    assert grid.read_bytes().startswith(b"\x89PNG")
    installed("zoo", "sample", "digits-gmm", "-n", "200", "--seed", "1", "-o", str(table))
    installed("zoo", "train", "gmm", "--data", str(table), "-o", str(run), "--steps", "2", "--device", "cpu")
    assert installed("zoo", "score", str(run), str(table)).count("\n") == 200
    assert installed("zoo", "sample", "sunspots-hmm", "--length", "3", "--seed", "1").count("\n") == 4
    assert len(installed("zoo", "sample", "shakespeare-hmm", "--seed", "1")) > 100


def test_the_index_travels_in_the_core_wheel(installed: Callable[..., str]) -> None:
    script = "import os; os.environ['ZOO_PLUGINS'] = ''; import zoo; print(zoo.info('gpt2-small').installed)"
    assert installed("python", "-c", script) == "False\n"
