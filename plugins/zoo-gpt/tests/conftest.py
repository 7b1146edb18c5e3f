"""Small random models of transformers, saved as the Hub has them, and the same weights in this plugin's models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import zoo_gpt.plugin
from zoo import settings
from zoo.family import Family
from zoo.weights.load import load

LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_GPT = {"vocab_size": 211, "n_positions": 160, "n_embd": 48, "n_layer": 3, "n_head": 4}
_LLAMA: dict[str, Any] = {
    "vocab_size": 211,
    "max_position_embeddings": 160,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
}


def models() -> dict[str, tuple[Family, Any]]:
    """Name -> (this plugin's family, transformers' config) of every layout that should load."""
    t, p = transformers, zoo_gpt.plugin
    return {
        "gpt1": (p.GPT1, t.OpenAIGPTConfig(**_GPT)),
        "gpt2": (p.GPT2, t.GPT2Config(**_GPT, bos_token_id=None, eos_token_id=None)),
        "llama": (p.LLAMA, t.LlamaConfig(**_LLAMA)),
        "llama-tied": (p.LLAMA, t.LlamaConfig(**_LLAMA, tie_word_embeddings=True)),
        "llama-scaled-rope": (p.LLAMA, t.LlamaConfig(**_LLAMA, rope_parameters=LLAMA_3)),
        "qwen2": (p.LLAMA, t.Qwen2Config(**_LLAMA, tie_word_embeddings=True)),
        "qwen3": (
            p.LLAMA,
            t.Qwen3Config(**_LLAMA, head_dim=16, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
        ),
    }


def random_model(config: Any, *, seed: int = 4) -> Any:
    """A random model of transformers, its weights large enough that every part of it matters."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:  # biases and norms start at 0 and 1
                weight.add_(torch.randn_like(weight) * 0.2)
            elif "embed" in name or "wte" in name or "wpe" in name:
                weight.copy_(torch.randn_like(weight) * 0.2)
            else:
                weight.copy_(torch.randn_like(weight) * 1.5 / weight.shape[0] ** 0.5)
    return model


def saved_model(config: Any, folder: Path) -> Any:
    """A random model, saved in the folder as transformers does."""
    model = random_model(config)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    return model


def loaded(family: Family, folder: Path) -> Any:
    """The saved model as this plugin builds it."""
    content = json.loads((folder / "config.json").read_text())
    config = settings.make(family.resolve("config"), family.resolve("from_hub")(content), what="config.json")
    files = [folder / "model.safetensors"]
    return load(family.resolve("build"), config, files, place=family.resolve("place"))


@pytest.fixture
def make_reference() -> Any:
    return saved_model


@pytest.fixture
def make_model() -> Any:
    return random_model


@pytest.fixture
def load_saved() -> Any:
    return loaded


@pytest.fixture(params=sorted(models()))
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Any]:
    """(transformers' model, ours) with the same weights, of each layout."""
    family, config = models()[request.param]
    theirs = saved_model(config, tmp_path)
    return theirs, loaded(family, tmp_path)
