"""How long `zoo list` takes, as a multiple of `python -c "import typer, rich"`: at most 2 with all plugins installed.

Both are whole processes, run in turn so that a drifting machine slows both; the medians are compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 25
TARGET = 2.0
PEER = [sys.executable, "-c", "import typer, rich"]
MAIN = "import sys; from zoo_cli.main import main; sys.exit(main())"
OURS = {
    "zoo list": [sys.executable, "-c", MAIN, "list"],
    "zoo list 'gpt2*' --json": [sys.executable, "-c", MAIN, "list", "gpt2*", "--json"],
    "zoo info gpt2-small": [sys.executable, "-c", MAIN, "info", "gpt2-small"],
}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    commands = {'python -c "import typer, rich"': PEER, **OURS}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        seconds(command)  # bytecode and page caches
    for _ in range(RUNS):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    peer = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name:34}{1000 * median:6.0f} ms   {median / peer:4.2f}")
    print(
        f"target: zoo list at most {TARGET:.2f}: {'met' if medians['zoo list'] <= TARGET * peer else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
