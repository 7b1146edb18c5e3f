"""New tokens a second of GPT-2 small on the CPU, one and eight rows, against transformers' generate in the same run.

Greedy, float32, 128 new tokens after 16, random weights. Rounds alternate between the engines, so that whatever else
the machine does meets both; ratios are medians over rounds. The targets: with one row 1.1 times transformers, 2 times
with compiled decoding; with eight rows 1.2 times with it; the same tokens; and a second process that decodes its
first token within 6 s.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpt2_small

Engine = Callable[[list[list[int]]], list[list[int]]]

FIRST_TOKEN = """
import sys, zoo
from zoo.modality.text import TextControls
from zoo.noise import Noise
model = zoo.load(sys.argv[1], device="cpu", compile=True)
next(iter(model.network.sample([list(range(16))], Noise(0), TextControls(max_tokens=8, greedy=True))))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 32 tokens instead of three of 128")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    arguments = parser.parse_args()
    rounds, new = (1, 32) if arguments.quick else (3, 128)
    with tempfile.TemporaryDirectory(prefix="zoo-bench-home-") as home, gpt2_small.folder() as folder:
        os.environ["ZOO_HOME"] = home
        import torch

        torch.set_num_threads(arguments.threads)
        print(f"GPT-2 small, {arguments.dtype}, {arguments.threads} threads, {new} new tokens after 16")
        started = time.perf_counter()
        engines = {
            "transformers": transformers_engine(folder, arguments.dtype, new),
            "zoo": zoo_engine(folder, arguments.dtype, new, compile_=False),
            "zoo --compile": zoo_engine(folder, arguments.dtype, new, compile_=True),
        }
        print(f"loading all, and building the kernels: {time.perf_counter() - started:.1f} s")
        for rows in (1, 8):
            compare(engines, rows, rounds, new)
        first_token(folder, arguments.threads)


def transformers_engine(folder: Path, dtype: str, new: int) -> Engine:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def run(prompts: list[list[int]]) -> list[list[int]]:
        tokens = torch.tensor(prompts)
        settings: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        out = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=new, min_new_tokens=new, **settings
        )
        return out[:, tokens.shape[1] :].tolist()

    return run


def zoo_engine(folder: Path, dtype: str, new: int, *, compile_: bool) -> Engine:
    import zoo
    from zoo.modality.text import TextControls
    from zoo.noise import Noise

    model = zoo.load(str(folder), device="cpu", dtype=dtype, compile=compile_)
    controls = TextControls(max_tokens=new, greedy=True)

    def run(prompts: list[list[int]]) -> list[list[int]]:
        return list(map(list, zip(*model.network.sample(prompts, Noise(0), controls), strict=True)))

    return run


def compare(engines: dict[str, Engine], rows: int, rounds: int, new: int) -> None:
    prompts = gpt2_small.prompts(rows)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    tokens: dict[str, list[list[int]]] = {}
    for _ in range(rounds):
        for name, engine in engines.items():
            started = time.perf_counter()
            tokens[name] = engine(prompts)
            seconds[name].append(time.perf_counter() - started)
    peer = seconds["transformers"]
    print(f"\n{rows} row{'s' * (rows > 1)}          tokens/s (best)   times transformers   same tokens")
    for name, own in seconds.items():
        ratio = statistics.median(p / o for p, o in zip(peer, own, strict=True))
        speed, best = rows * new / statistics.median(own), rows * new / min(own)
        same = "yes" if tokens[name] == tokens["transformers"] else "NO"
        print(f"{name:14} {speed:8.1f} ({best:.1f}){ratio:19.2f}{same:>16}")


def first_token(folder: Path, threads: int) -> None:
    """Wall time of a second process, from its start to its first token, with the kernels built already."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", FIRST_TOKEN, str(folder)], env=environment, check=True)
    print(
        f"\na second process, from its start to its first token with --compile: {time.perf_counter() - started:.1f} s"
    )


if __name__ == "__main__":
    main()
