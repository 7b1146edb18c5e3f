"""Small distributions made as wheels, and the real pip that installs them."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make the wheel of a plugin: its module, its registry file, its entry points ("name = module" lines)."""

    def wheel(
        distribution: str,
        module: str,
        *,
        registry: str,
        entry_points: str = "",
        version: str = "1.0",
        summary: str = "About it.",
    ) -> Path:
        package = distribution.replace("-", "_")
        entry_points = entry_points or f"{distribution.removeprefix('zoo-')} = {package}.plugin"
        info = f"{package}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: {summary}\n"
        files = {
            f"{package}/__init__.py": "",
            f"{package}/plugin.py": module,
            f"{package}/registry.yaml": registry,
            f"{info}/METADATA": metadata,
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[zoo.plugins]\n{entry_points}\n",
        }
        path = tmp_path_factory.mktemp("wheel") / f"{package}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
            archive.writestr(f"{info}/RECORD", _record(files, info))
        return path

    return wheel


def _record(files: Mapping[str, str], info: str) -> str:
    lines = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(text.encode())}\n")
    return "".join(lines) + f"{info}/RECORD,,\n"


@pytest.fixture(scope="session")
def pip_install(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Install wheels into a new folder with pip, as a user would, offline."""

    def pip_install(*wheels: Path) -> Path:
        folder = tmp_path_factory.mktemp("site")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        command += ["--no-index", "--no-compile", "--target", str(folder), *map(str, wheels)]
        subprocess.run(command, check=True)
        return folder

    return pip_install
