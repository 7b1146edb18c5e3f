"""From the start of a process to the first token of a local GPT-2 small, and its peak memory, against transformers.

Whole processes, alternating; medians over rounds. The targets: at most 0.7 times the time of transformers'
from_pretrained and generate; peak memory beyond that of an interpreter with torch at most 1.3 times the weight file.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import gpt2_small

PEAK = "; print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
PROGRAMS = {
    "torch alone": "import torch",
    "zoo": (
        "import sys, zoo; from zoo.noise import Noise; from zoo.modality.text import TextControls; "
        "model = zoo.load(sys.argv[1], device='cpu'); "
        "print(*next(iter(model.network.sample([list(range(16))], Noise(0), TextControls(greedy=True)))))"
    ),
    "transformers": (
        "import sys, torch, transformers; transformers.utils.logging.disable_progress_bar(); "
        "model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1]); "
        "tokens = torch.arange(16)[None]; "
        "out = model.generate(tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=1, "
        "pad_token_id=0); print(int(out[0, -1]))"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round instead of five")
    rounds = 1 if parser.parse_args().quick else 5
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    memory: dict[str, float] = {}
    tokens: dict[str, str] = {}
    with gpt2_small.folder() as folder:
        for _ in range(rounds):
            for name, program in PROGRAMS.items():
                taken, tokens[name], memory[name] = run(program, folder)
                seconds[name].append(taken)
        weights = (folder / "model.safetensors").stat().st_size / 1e6
    print(f"GPT-2 small, {weights:.0f} MB of weights, whole processes\n")
    print("                 seconds   peak MB")
    for name in PROGRAMS:
        print(f"{name:14} {statistics.median(seconds[name]):9.2f}{memory[name]:10.0f}")
    ratios = [own / peer for own, peer in zip(seconds["zoo"], seconds["transformers"], strict=True)]
    print(f"\ntime of zoo / transformers: {statistics.median(ratios):.2f} (target: at most 0.7)")
    beyond = (memory["zoo"] - memory["torch alone"]) / weights
    print(f"peak memory of zoo beyond torch alone / weight file: {beyond:.2f} (target: at most 1.3)")
    print(f"the same first token: {'yes' if tokens['zoo'] == tokens['transformers'] else 'NO'}")


def run(program: str, folder: Path) -> tuple[float, str, float]:
    """Wall seconds, what the program printed, and its peak memory in MB."""
    started = time.perf_counter()
    command = [sys.executable, "-c", program + PEAK, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    taken = time.perf_counter() - started
    *printed, peak = done.stdout.split()
    return taken, " ".join(printed), int(peak) / 1000


if __name__ == "__main__":
    main()
