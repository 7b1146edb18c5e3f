"""GPT-2 small with random weights, in a folder as the Hub has it: what the benchmarks of text models load."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

CONTEXT, VOCABULARY = 1024, 50257


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder with config.json and model.safetensors (498 MB), written by transformers."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as name:
        torch.manual_seed(0)
        transformers.GPT2LMHeadModel(transformers.GPT2Config()).save_pretrained(name)
        yield Path(name)


def prompts(rows: int, length: int = 16) -> list[list[int]]:
    import torch

    generator = torch.Generator().manual_seed(1)
    return torch.randint(VOCABULARY, (rows, length), generator=generator).tolist()
