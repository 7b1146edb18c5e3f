"""GGUF files of GPT-2, Llama, Qwen2 and Qwen3 in the Hub's terms: config.json and tensor names. Imports no torch.

GGUF keeps every linear map as [out, in], while the Hub's GPT-2 has [in, out]. It reorders the rows of Llama's query
and key maps, so that the pairs that rotate together are neighbours; Qwen's are left as they are.
Source: the conversion scripts of https://github.com/ggml-org/llama.cpp and its `gguf` package's tensor names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zoo.errors import WeightsError
from zoo.weights.placement import GgufLayout, GgufPlacement

Shapes = Mapping[str, tuple[int, ...]]

_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


def gpt2_from_gguf(metadata: Mapping[str, Any], shapes: Shapes) -> GgufLayout | None:
    """A GPT-2's layout; None for another architecture. Raises WeightsError for what a GPT-2 does not have."""
    if metadata.get("general.architecture") != "gpt2":
        return None
    said = _Said(metadata, "gpt2")
    width = said.whole("embedding_length")
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "vocab_size": _rows(shapes, "token_embd.weight"),
        "n_positions": _rows(shapes, "position_embd.weight"),
        "n_embd": width,
        "n_layer": said.whole("block_count"),
        "n_head": said.whole("attention.head_count"),
        "n_inner": said.whole("feed_forward_length", 4 * width),
        "layer_norm_epsilon": said.number("attention.layer_norm_epsilon", 1e-5),
    }
    return GgufLayout(config, {name: _gpt2_place(name) for name in shapes})


_GPT2_ENDS = {
    "token_embd.weight": "wte.weight",
    "position_embd.weight": "wpe.weight",
    "output_norm.weight": "ln_f.weight",
    "output_norm.bias": "ln_f.bias",
}
_GPT2_PARTS = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}


def _gpt2_place(name: str) -> GgufPlacement | None:
    if name == "output.weight":  # a copy of the token embedding, which GPT-2's head is tied to
        return None
    if name in _GPT2_ENDS:
        return GgufPlacement(_GPT2_ENDS[name])
    match = _BLOCK.fullmatch(name)
    if match is None or match[2] not in _GPT2_PARTS:
        raise _unknown(name, "GPT-2")
    is_map = match[3] == "weight" and not match[2].endswith("norm")
    return GgufPlacement(f"h.{match[1]}.{_GPT2_PARTS[match[2]]}.{match[3]}", transpose=is_map)


def llama_from_gguf(metadata: Mapping[str, Any], shapes: Shapes) -> GgufLayout | None:
    """The layout of a Llama, Qwen2 or Qwen3; None for another architecture.

    Raises WeightsError for a mixture of experts, for stretched rotary positions (GGUF does not keep how they were
    made) and for tensors that these models do not have.
    """
    kind = metadata.get("general.architecture")
    if kind not in ("llama", "qwen2", "qwen3"):
        return None
    said = _Said(metadata, kind)
    scaling = metadata.get(f"{kind}.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in shapes:
        raise WeightsError(
            "its rotary positions are stretched, and GGUF does not keep by which rule",
            hint="take the model's safetensors from the Hub instead",
        )
    if said.whole("expert_count", 0):
        raise WeightsError("it is a mixture of experts, which is not built here")
    heads = said.whole("attention.head_count")
    key_heads = said.whole("attention.head_count_kv", heads)
    width = said.whole("embedding_length")
    config = {
        "model_type": kind,
        "architectures": [{"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[kind] + "ForCausalLM"],
        "hidden_act": "silu",
        "vocab_size": _rows(shapes, "token_embd.weight"),
        "max_position_embeddings": said.whole("context_length"),
        "hidden_size": width,
        "intermediate_size": said.whole("feed_forward_length"),
        "num_hidden_layers": said.whole("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "head_dim": said.whole("attention.key_length", width // heads if heads else 0),
        "rms_norm_eps": said.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": said.number("rope.freq_base", 10000.0),
        "tie_word_embeddings": "output.weight" not in shapes,
    }
    if kind == "llama":
        config["attention_bias"] = "blk.0.attn_q.bias" in shapes
    reordered = {"attn_q": heads, "attn_k": key_heads} if kind == "llama" else {}
    return GgufLayout(config, {name: _llama_place(name, reordered) for name in shapes})


_LLAMA_ENDS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LLAMA_PARTS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _llama_place(name: str, reordered: Mapping[str, int]) -> GgufPlacement:
    if name in _LLAMA_ENDS:
        return GgufPlacement(_LLAMA_ENDS[name])
    match = _BLOCK.fullmatch(name)
    if match is None or match[2] not in _LLAMA_PARTS:
        raise _unknown(name, "Llama")
    stored = f"model.layers.{match[1]}.{_LLAMA_PARTS[match[2]]}.{match[3]}"
    return GgufPlacement(stored, rotary_heads=reordered.get(match[2], 0))


def _unknown(name: str, model: str) -> WeightsError:
    return WeightsError(f"it has the tensor {name}, which is not part of a {model}")


def _rows(shapes: Shapes, name: str) -> int:
    shape = shapes.get(name, ())
    if len(shape) != 2:
        raise WeightsError(f"its {name} has shape {list(shape)}, but must be a matrix")
    return shape[0]


class _Said:
    """The numbers that a file's metadata says of its architecture. Raises WeightsError for absent or odd ones."""

    def __init__(self, metadata: Mapping[str, Any], architecture: str) -> None:
        self._metadata = metadata
        self._architecture = architecture

    def whole(self, name: str, default: int | None = None) -> int:
        value = self._value(name, default)
        if type(value) is not int or not 0 <= value < 1 << 31:
            raise self._refused(name, value, "a whole number")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self._value(name, default)
        if not isinstance(value, float) or not 0 < value < 1e12:
            raise self._refused(name, value, "a positive number")
        return value

    def _value(self, name: str, default: float | None) -> Any:
        return self._metadata.get(f"{self._architecture}.{name}", default)

    def _refused(self, name: str, value: object, wanted: str) -> WeightsError:
        return WeightsError(f"its {self._architecture}.{name} is {str(value)[:40]!a}, but must be {wanted}")
