"""Kernels in C, built once by the machine's own C compiler and kept in ZOO_HOME/kernels. A plugin may bring its own.

C because a file of it is built in a second or two and started in a millisecond; torch.compile takes twenty seconds,
and six from its cache. What a kernel computes must be there without one too: a machine may have no compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import tempfile
from pathlib import Path

from zoo import paths

_FLAGS = ("-O2", "-march=native", "-std=gnu11", "-fopenmp", "-shared", "-fPIC")
_LIBRARIES = ("-lm",)


def library(source: Path) -> ctypes.CDLL:
    """The functions of a C file, built for this kind of processor when no process did before.

    Raises OSError, with the reason, where there is no C compiler or it cannot build the file. Keep what is returned:
    each call reads and hashes the file.
    """
    text = source.read_bytes()
    told = " ".join(_FLAGS + _LIBRARIES).encode()
    key = hashlib.sha256(b"\0".join((text, told, _processor()))).hexdigest()
    path = paths.home() / "kernels" / f"{key[:32]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            fresh = Path(folder) / path.name
            _build(source, fresh)
            fresh.replace(path)
    return ctypes.CDLL(str(path))


def _processor() -> bytes:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().split(b"\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".encode()
    told = (b"model name", b"flags", b"Features", b"CPU implementer", b"CPU part")
    return platform.machine().encode() + b"".join(line for line in lines if line.startswith(told))


def _build(source: Path, target: Path) -> None:
    import subprocess

    compiler = shutil.which(os.environ.get("CC", "")) or next(
        filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None
    )
    if compiler is None:
        raise OSError("there is no C compiler (cc, gcc or clang; CC names another)")
    command = [compiler, *_FLAGS, str(source), "-o", str(target), *_LIBRARIES]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        first = (run.stderr.strip() or "it said nothing").splitlines()[0]
        raise OSError(f"{compiler} cannot build the kernels: {first}")
