"""Hub checkpoints: what a config.json says in this plugin's terms, and where each stored tensor goes.

What a config asks for and these models do not do is refused: a model built without it would run and be wrong.
Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zoo.errors import UsageError
from zoo.weights.placement import Placement
from zoo_gpt.configs import GPT1Config, GPT2Config, LlamaConfig

_TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")


def gpt1_config(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """config.json of a GPT-1 -> the fields of `GPT1Config`; None when it is another family's. Raises UsageError."""
    if content.get("model_type") != "openai-gpt":
        return None
    _only(content, "afn", ("gelu", *_TANH_GELU))  # this family's "gelu" is the tanh approximation
    _only(content, "layer_norm_epsilon", (1e-5,))
    _only(content, "tie_word_embeddings", (True,))
    _only(content, "quantization_config", (None,))
    return _renamed(content, _GPT_FIELDS)


def gpt2_config(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """config.json of a GPT-2 -> the fields of `GPT2Config`; None when it is another family's. Raises UsageError."""
    if content.get("model_type") != "gpt2":
        return None
    _only(content, "activation_function", _TANH_GELU)
    _only(content, "layer_norm_epsilon", (1e-5,))
    width = content.get("n_embd", 768)
    _only(content, "n_inner", (None, 4 * width) if type(width) is int else (None,))
    _only(content, "scale_attn_weights", (True,))
    _only(content, "scale_attn_by_inverse_layer_idx", (False,))
    _only(content, "add_cross_attention", (False,))
    _only(content, "tie_word_embeddings", (True,))
    _only(content, "quantization_config", (None,))
    return _renamed(content, _GPT_FIELDS)


_GPT_FIELDS = {
    "vocab_size": "vocabulary",
    "n_positions": "context",
    "n_layer": "layers",
    "n_embd": "width",
    "n_head": "heads",
}


def llama_config(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """config.json of a Llama, Qwen2 or Qwen3 -> the fields of `LlamaConfig`; None when it is another family's.

    Raises UsageError for what is not built here: sliding windows, other activations, rope scalings and biases.
    """
    kind = content.get("model_type")
    if kind not in ("llama", "qwen2", "qwen3"):
        return None
    _only(content, "hidden_act", ("silu",))
    _only(content, "mlp_bias", (False,))
    _only(content, "attention_bias", (False,))
    _only(content, "rope_interleaved", (False, None))
    _only(content, "quantization_config", (None,))
    _refuse_windows(content)
    missing = [name for name in _LLAMA_FIELDS if name not in content]
    if missing:
        raise UsageError(f"config.json has no {', '.join(missing)}")
    heads = content["num_attention_heads"]
    fields = _renamed(content, _LLAMA_FIELDS) | {
        "key_value_heads": content.get("num_key_value_heads") or heads,
        "head_width": content.get("head_dim") or (128 if kind == "qwen3" else None),
        "norm_epsilon": content.get("rms_norm_eps", 1e-6),
        "qkv_bias": kind == "qwen2",
        "qk_norm": kind == "qwen3",
        "tied": content.get("tie_word_embeddings", False),
    }
    return fields | _rope(content)


_LLAMA_FIELDS = {
    "vocab_size": "vocabulary",
    "max_position_embeddings": "context",
    "num_hidden_layers": "layers",
    "hidden_size": "width",
    "num_attention_heads": "heads",
    "intermediate_size": "hidden",
}


def _rope(content: Mapping[str, Any]) -> dict[str, Any]:
    """Older files write rope_theta beside rope_scaling, newer ones both in rope_parameters."""
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        raise UsageError(f"config.json says rope_scaling is {_shown(rope)}, but must be a mapping")
    theta = rope.get("rope_theta", content.get("rope_theta", 10000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return {"rope_theta": theta}
    if kind != "llama3":
        raise UsageError(f"config.json asks for rope scaling {_shown(kind)}, but only 'llama3' is built here")
    missing = [name for name in _ROPE_FIELDS if name not in rope]
    if missing:
        raise UsageError(f"config.json asks for rope scaling 'llama3' without {', '.join(missing)}")
    return {"rope_theta": theta} | _renamed(rope, _ROPE_FIELDS)


_ROPE_FIELDS = {
    "factor": "rope_factor",
    "low_freq_factor": "rope_low",
    "high_freq_factor": "rope_high",
    "original_max_position_embeddings": "rope_original_context",
}


def _refuse_windows(content: Mapping[str, Any]) -> None:
    layers = content.get("layer_types") or []
    kinds = layers if isinstance(layers, list) else [layers]
    odd = sorted({_shown(kind) for kind in kinds if kind != "full_attention"})
    window = content.get("sliding_window") if content.get("use_sliding_window") else None
    if odd or (window is not None and window != content.get("max_position_embeddings")):
        asked = ", ".join(odd[:5]) or f"a sliding window of {_shown(window)} tokens"
        raise UsageError(f"config.json asks for {asked}, but only full attention is built here")


def _only(content: Mapping[str, Any], name: str, allowed: tuple[Any, ...]) -> None:
    """Refuse a config.json that sets `name` to anything else; absent means the first of them."""
    value = content.get(name, allowed[0])
    if value not in allowed:
        choices = " or ".join(repr(choice) for choice in allowed)
        raise UsageError(f"config.json says {name} is {_shown(value)}, but only {choices} is built here")


def _shown(value: Any) -> str:
    """A value of a stranger's file, for an error's line."""
    return ascii(value)[:80]


def _renamed(content: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {ours: content[theirs] for theirs, ours in names.items() if theirs in content}


_MASK = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")  # causal masks that older files carry
_GPT_BLOCK = re.compile(
    r"h\.(\d+)\.(ln_1|ln_2|attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.(weight|bias)"
)
_GPT_PARTS = {
    "ln_1": "norm_1",
    "ln_2": "norm_2",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "mlp.c_fc": "mlp.up",
    "mlp.c_proj": "mlp.down",
}
_GPT_ENDS = {
    "wte.weight": "tokens.weight",
    "wpe.weight": "positions.weight",
    "tokens_embed.weight": "tokens.weight",
    "positions_embed.weight": "positions.weight",
    "ln_f.weight": "norm.weight",
    "ln_f.bias": "norm.bias",
}


def gpt_place(stored: str, config: GPT1Config | GPT2Config) -> Placement | None:  # noqa: ARG001 - as Family.place says
    """Where a tensor of a GPT-1 or GPT-2 file goes; None for causal masks and the copy of the tied head.

    A name that is not known stays as it is, so that loading lists it as unexpected.
    """
    name = stored.removeprefix("transformer.")
    if name == "lm_head.weight" or _MASK.fullmatch(name):
        return None
    if name in _GPT_ENDS:
        return Placement(_GPT_ENDS[name])
    if match := _GPT_BLOCK.fullmatch(name):
        block, part, kind = match.groups()
        stored_inputs_first = kind == "weight" and not part.startswith("ln")  # its linear maps are [in, out]
        return Placement(f"blocks.{block}.{_GPT_PARTS[part]}.{kind}", transpose=stored_inputs_first)
    return Placement(stored)


_LLAMA_BLOCK = re.compile(r"layers\.(\d+)\.([a-z_.]+)\.(weight|bias)")
_LLAMA_PARTS = {
    "input_layernorm": "norm_1",
    "post_attention_layernorm": "norm_2",
    "self_attn.q_proj": "attention.q",
    "self_attn.k_proj": "attention.k",
    "self_attn.v_proj": "attention.v",
    "self_attn.o_proj": "attention.out",
    "self_attn.q_norm": "attention.q_norm",
    "self_attn.k_norm": "attention.k_norm",
    "mlp.gate_proj": "mlp.gate",
    "mlp.up_proj": "mlp.up",
    "mlp.down_proj": "mlp.down",
}


def llama_place(stored: str, config: LlamaConfig) -> Placement | None:
    """Where a tensor of a Llama or Qwen file goes; None for rotary tables and the copy of a tied head.

    A name that is not known stays as it is, so that loading lists it as unexpected.
    """
    name = stored.removeprefix("model.")
    if name == "lm_head.weight":
        return None if config.tied else Placement("unembed.weight")
    if name.endswith("rotary_emb.inv_freq"):
        return None
    if name in ("embed_tokens.weight", "norm.weight"):
        return Placement(name.replace("embed_tokens", "tokens"))
    match = _LLAMA_BLOCK.fullmatch(name)
    if match and match[2] in _LLAMA_PARTS:
        return Placement(f"blocks.{match[1]}.{_LLAMA_PARTS[match[2]]}.{match[3]}")
    return Placement(stored)
