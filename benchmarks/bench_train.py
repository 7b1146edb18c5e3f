"""Training tokens a second and peak memory of one GPT, against transformers' Trainer and against a bare PyTorch loop.

6 layers, 384 wide, 6 heads, context 256, batch 12, a vocabulary of 65, no dropout, fused AdamW, gradients clipped.
Every engine runs in a process of its own, in rounds that alternate between them; ratios are medians over rounds. The
bare loop trains the zoo's own module, so what it differs by is what the loop costs. Targets: 1.25 times the Trainer's
tokens a second in float32 and in bfloat16; at most 5% slower than the bare loop and 1.1 times its peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ENGINES = ("trainer", "bare", "zoo")
LAYERS, WIDTH, HEADS, CONTEXT, BATCH, VOCABULARY = 6, 384, 6, 256, 12, 65
RATE = 1e-3
WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 5 steps instead of three of 20")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)  # of a child process
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds, steps = (1, 5) if arguments.quick else (arguments.rounds, arguments.steps)
    if arguments.engine:
        measure(arguments.engine, arguments.dtype, arguments.threads, steps)
        return
    print(
        f"{LAYERS} layers, {WIDTH} wide, context {CONTEXT}, batch {BATCH}, {arguments.threads} threads, {steps} steps"
    )
    for dtype in arguments.dtypes:
        compare(dtype, arguments.threads, rounds, steps)


def compare(dtype: str, threads: int, rounds: int, steps: int) -> None:
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    for _ in range(rounds):
        for engine in ENGINES:
            found[engine].append(child(engine, dtype, threads, steps))
    speeds = {engine: [one["speed"] for one in told] for engine, told in found.items()}
    peaks = {engine: max(one["peak_mb"] for one in told) for engine, told in found.items()}
    print(f"\n{dtype}")
    for engine in ENGINES:
        print(
            f"  {engine:8} {statistics.median(speeds[engine]):8.0f} tokens/s (best {max(speeds[engine]):.0f}), "
            f"peak {peaks[engine]:.0f} MB, loss {found[engine][-1]['loss']:.3f}"
        )
    for other in ("trainer", "bare"):
        ratios = [mine / theirs for mine, theirs in zip(speeds["zoo"], speeds[other], strict=True)]
        print(
            f"  zoo / {other}: speed {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"peak memory {peaks['zoo'] / peaks[other]:.2f}"
        )


def child(engine: str, dtype: str, threads: int, steps: int) -> dict[str, float]:
    words = ["--engine", engine, "--dtype", dtype, "--threads", str(threads), "--steps", str(steps)]
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def measure(engine: str, dtype: str, threads: int, steps: int) -> None:
    """Train, and print speed and memory as JSON. The first steps, in which memory is taken, are not counted."""
    import torch

    torch.set_num_threads(threads)
    run = {"trainer": trainer, "bare": bare, "zoo": zoo}[engine]
    ended, loss = run(dtype, WARM_UP + steps)
    seconds = ended[-1] - ended[WARM_UP - 1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"speed": steps * BATCH * CONTEXT / seconds, "peak_mb": peak, "loss": loss}))


def text() -> object:
    """Token ids with something to learn in them: each follows from the one before, but for one in eight."""
    import numpy as np

    draws = np.random.default_rng(0)
    ids = np.cumsum(np.where(draws.random(200_000) < 1 / 8, draws.integers(0, VOCABULARY, 200_000), 7))
    return (ids % VOCABULARY).astype(np.uint16)


def rows() -> object:
    from zoo.datasets.text import TextRows

    return TextRows(text(), CONTEXT, seed=0)


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


def zoo(dtype: str, steps: int) -> tuple[list[float], float]:
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
        beta_2=0.999,
        precision=dtype,
        evaluate_every=0,
    )
    ended, losses = [], []
    for step in train(Learner(network(), plan), rows(), device="cpu"):
        ended.append(time.perf_counter())
        losses.append(step.loss)
    return ended, losses[-1]


def bare(dtype: str, steps: int) -> tuple[list[float], float]:
    """What one would write by hand: the zoo's module, PyTorch's optimizer, nothing around them."""
    import torch

    module, data = network(), rows()
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=0.0, fused=True)
    ended = []
    for number in range(steps):
        batch = data.rows(number * BATCH, BATCH)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = module.loss(batch, "main", None)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        ended.append(time.perf_counter())
    return ended, value


def trainer(dtype: str, steps: int) -> tuple[list[float], float]:
    """transformers' GPT-2 of the same shape under its Trainer, with its defaults but for what the task sets."""
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

    ended: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            ended.append(time.perf_counter())

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
        engine = transformers.Trainer(model, arguments, train_dataset=Windows(), callbacks=[Clock()])
        final = engine.train().training_loss  # the mean over all steps
    return ended, final


if __name__ == "__main__":
    main()
