"""Training tokens a second and peak memory of one GPT, against transformers' Trainer and against a bare PyTorch loop.

6 layers, 384 wide, 6 heads, context 256, batch 12, a vocabulary of 65, no dropout, fused AdamW, gradients clipped.
The three engines take turns step by step in one process, so that whatever else the machine does meets all of them:
after each step of the Trainer comes one of the zoo and one of the bare loop, which trains the zoo's own module.
Ratios are medians over steps. Peak memory is that of a process for each engine. Targets: 1.25 times the Trainer's
tokens a second in float32 and in bfloat16; at most 5% slower than the bare loop, and 1.1 times its peak memory.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ENGINES = ("trainer", "bare", "zoo")
LAYERS, WIDTH, HEADS, CONTEXT, BATCH, VOCABULARY = 6, 384, 6, 256, 12, 65
RATE = 1e-3
WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="5 steps instead of 30")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--dtypes", nargs="+", help="default: float32, and bfloat16 if the CPU has instructions for it"
    )
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--alone", choices=ENGINES, help=argparse.SUPPRESS)  # of a child process
    arguments = parser.parse_args()
    steps = 5 if arguments.quick else arguments.steps
    import torch

    torch.set_num_threads(arguments.threads)
    if arguments.alone:
        memory(arguments.alone, arguments.dtypes[0])
        return
    dtypes = arguments.dtypes or ["float32", *(["bfloat16"] if has_bfloat16() else [])]
    print(f"{LAYERS} layers, {WIDTH} wide, context {CONTEXT}, batch {BATCH}, {arguments.threads} threads")
    if "bfloat16" not in dtypes:
        print(
            "bfloat16 is left out: without instructions for it a step takes minutes (--dtypes bfloat16 insists)"
        )
    for dtype in dtypes:
        print(f"\n{dtype}, {steps} steps of each")
        compare(dtype, steps)
        peaks = {engine: child(engine, dtype, arguments.threads) for engine in ENGINES}
        for engine, peak in peaks.items():
            print(f"  {engine:8} peak {peak:.0f} MB")
        print(f"  zoo / bare: peak memory {peaks['zoo'] / peaks['bare']:.2f}")


def has_bfloat16() -> bool:
    told = Path("/proc/cpuinfo")
    return told.is_file() and bool(
        {"avx512_bf16", "amx_bf16", "bf16"} & set(told.read_text(encoding="utf-8").split())
    )


def compare(dtype: str, steps: int) -> None:
    seconds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    losses: dict[str, float] = {}
    others = {"bare": bare(dtype, WARM_UP + steps), "zoo": zoo(dtype, WARM_UP + steps)}

    def between() -> None:
        for engine, run in others.items():
            began = time.perf_counter()
            losses[engine] = next(run)
            seconds[engine].append(time.perf_counter() - began)

    seconds["trainer"] = trainer(dtype, WARM_UP + steps, between)
    counted = {engine: told[WARM_UP:] for engine, told in seconds.items()}
    for engine, told in counted.items():
        middle, best = BATCH * CONTEXT / statistics.median(told), BATCH * CONTEXT / min(told)
        print(f"  {engine:8} {middle:7.0f} tokens/s, best {best:.0f}")
    for other in ("trainer", "bare"):
        ratios = [theirs / mine for theirs, mine in zip(counted[other], counted["zoo"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"  zoo / {other}: speed {middle:.3f} (half of the steps between {low:.3f} and {high:.3f})")
    print(f"  loss of the last step: bare {losses['bare']:.6f}, zoo {losses['zoo']:.6f}")


def child(engine: str, dtype: str, threads: int) -> float:
    words = ["--alone", engine, "--dtypes", dtype, "--threads", str(threads)]
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def memory(engine: str, dtype: str) -> None:
    """Train a few steps and print the process's peak memory in MB."""
    if engine == "trainer":
        trainer(dtype, 3, lambda: None)
    else:
        for _ in {"bare": bare, "zoo": zoo}[engine](dtype, 3):
            pass
    # not getrusage, whose peak a child takes over from the process that started it
    told = Path("/proc/self/status").read_text(encoding="utf-8")
    print(next(int(line.split()[1]) / 1024 for line in told.splitlines() if line.startswith("VmHWM")))


def rows() -> object:
    """Token ids with something to learn in them: each follows from the one before, but for one in eight."""
    import numpy as np

    from zoo.datasets.text import TextRows

    draws = np.random.default_rng(0)
    ids = np.cumsum(np.where(draws.random(200_000) < 1 / 8, draws.integers(0, VOCABULARY, 200_000), 7))
    return TextRows((ids % VOCABULARY).astype(np.uint16), CONTEXT, seed=0)


def network() -> object:
    import torch

    from zoo_gpt.configs import GPT2Config
    from zoo_gpt.gpt2 import GPT2

    torch.manual_seed(0)
    return GPT2(
        GPT2Config(
            layers=LAYERS, width=WIDTH, heads=HEADS, context=CONTEXT, vocabulary=VOCABULARY, dropout=0.0
        )
    )


def zoo(dtype: str, steps: int) -> Iterator[float]:
    from zoo.training.learner import Learner
    from zoo.training.loop import train
    from zoo.training.plan import Plan

    plan = Plan(
        steps=steps,
        batch_size=BATCH,
        learning_rate=RATE,
        schedule="constant",
        warmup=0,
        weight_decay=0.0,
        precision=dtype,
        evaluate_every=0,
    )
    for step in train(Learner(network(), plan), rows(), device="cpu"):
        yield step.loss


def bare(dtype: str, steps: int) -> Iterator[float]:
    """What one would write by hand: the zoo's module, PyTorch's optimizer, nothing around them."""
    import torch

    module, data = network(), rows()
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.0, fused=True
    )
    for number in range(steps):
        batch = data.rows(number * BATCH, BATCH)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = module.loss(batch, "main", None)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.item()


def trainer(dtype: str, steps: int, between: object) -> list[float]:
    """transformers' GPT-2 of the same shape under its Trainer, with its defaults but for what the task sets.

    Returns the seconds of each step; `between` is called after each, and not counted.
    """
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config = transformers.GPT2Config(
        n_layer=LAYERS,
        n_embd=WIDTH,
        n_head=HEADS,
        n_positions=CONTEXT,
        vocab_size=VOCABULARY,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    data = rows()

    class Windows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return data.epoch

        def __getitem__(self, at: int) -> dict[str, torch.Tensor]:
            ids = data.rows(at, 1)[0, :-1]
            return {"input_ids": ids, "labels": ids}

    class Clock(transformers.TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.since = 0.0

        def on_train_begin(self, *_: object, **__: object) -> None:
            self.since = time.perf_counter()

        def on_step_end(self, *_: object, **__: object) -> None:
            self.seconds.append(time.perf_counter() - self.since)
            between()
            self.since = time.perf_counter()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            use_cpu=True,
            lr_scheduler_type="constant",
            bf16=dtype == "bfloat16",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config)
        transformers.Trainer(model, arguments, train_dataset=Windows(), callbacks=[clock]).train()
    return clock.seconds


if __name__ == "__main__":
    main()
