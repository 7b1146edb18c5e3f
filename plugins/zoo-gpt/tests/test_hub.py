"""A Hub config.json is read as it is meant, or refused: never built as something nearly right."""

from __future__ import annotations

from typing import Any

import pytest

from zoo import settings
from zoo.errors import UsageError
from zoo.weights.placement import Placement
from zoo_gpt.configs import GPT1Config, GPT2Config, LlamaConfig
from zoo_gpt.hub import gpt1_config, gpt2_config, gpt_place, llama_config, llama_place

GPT2_MEDIUM = {
    "model_type": "gpt2",
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 1024,
    "n_layer": 24,
    "n_head": 16,
}
SMOL = {
    "model_type": "llama",
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000,
    "tie_word_embeddings": True,
}
LLAMA_3_SCALING = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def llama(**changes: Any) -> LlamaConfig:
    return settings.make(LlamaConfig, llama_config(SMOL | changes), what="config.json")


def test_each_family_leaves_the_configs_of_others_alone():
    for content in (GPT2_MEDIUM, SMOL, {"model_type": "openai-gpt"}, {"model_type": "bert"}, {}):
        read = [read(content) is not None for read in (gpt1_config, gpt2_config, llama_config)]
        assert read == [content.get("model_type") == kind for kind in ("openai-gpt", "gpt2", "llama")]


def test_shapes_come_from_the_file():
    assert settings.make(GPT2Config, gpt2_config(GPT2_MEDIUM), what="") == GPT2Config(
        width=1024, layers=24, heads=16
    )
    assert settings.make(GPT1Config, gpt1_config({"model_type": "openai-gpt"}), what="") == GPT1Config()
    assert llama() == LlamaConfig()  # its defaults are SmolLM2-135M


def test_missing_key_value_heads_are_as_many_as_the_query_heads():
    content = {name: value for name, value in SMOL.items() if name != "num_key_value_heads"}
    assert llama_config(content)["key_value_heads"] == 9


def test_both_ways_of_writing_the_rotary_base_are_read():
    assert llama(rope_theta=5e5).rope_theta == 5e5
    assert llama(rope_parameters={"rope_type": "default", "rope_theta": 1e6}).rope_theta == 1e6


@pytest.mark.parametrize("where", ["rope_scaling", "rope_parameters"])
def test_llama_3_scaling_is_read(where):
    config = llama(**{where: LLAMA_3_SCALING})
    assert (config.rope_factor, config.rope_low, config.rope_high) == (32, 1, 4)
    assert config.rope_theta == 100000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope scaling 'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "rope scaling 'linear'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "without low_freq_factor"),
        ({"rope_scaling": 4}, "must be a mapping"),
        ({"use_sliding_window": True, "sliding_window": 4096}, "sliding window of 4096 tokens"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "'sliding_attention'"),
        ({"layer_types": [{}]}, "asks for {}, but only full attention"),
        ({"layer_types": 5}, "asks for 5, but only full attention"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_a_llama_that_is_not_built_here_is_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        llama_config(SMOL | changes)


def test_a_sliding_window_that_is_switched_off_or_as_long_as_the_context_is_no_obstacle():
    assert llama(model_type="qwen2", sliding_window=4096, use_sliding_window=False).qkv_bias
    assert llama(model_type="qwen2", sliding_window=8192, use_sliding_window=True).qkv_bias


def test_a_llama_file_without_its_shape_is_refused_by_name():
    with pytest.raises(UsageError, match="has no hidden_size"):
        llama_config({name: value for name, value in SMOL.items() if name != "hidden_size"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"activation_function": "gelu"}, "activation_function is 'gelu'"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06"),
        ({"n_inner": 1000}, "n_inner is 1000"),
        ({"n_inner": 1000, "n_embd": None}, "n_inner is 1000"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
    ],
)
def test_a_gpt2_that_is_not_built_here_is_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        gpt2_config(GPT2_MEDIUM | changes)
    gpt2_config(GPT2_MEDIUM | {"n_inner": 4096, "activation_function": "gelu_pytorch_tanh"})


@pytest.mark.parametrize(
    ("config", "changes", "said"),
    [
        (GPT1Config, {"width": 10, "heads": 3}, "heads is 3, but must divide width, 10"),
        (GPT2Config, {"width": 10, "heads": 3}, "heads is 3, but must divide width, 10"),
        (LlamaConfig, {"heads": 9, "key_value_heads": 2}, "key_value_heads is 2, but must divide heads, 9"),
        (LlamaConfig, {"width": 27}, "the width of a head is 3, but rotary positions need an even one"),
    ],
)
def test_heads_that_do_not_fit_are_refused(config, changes, said):
    with pytest.raises(UsageError, match=said):
        config(**changes)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (kind, setting.name)
        for kind in (GPT1Config, GPT2Config, LlamaConfig)
        for setting in settings.fields(kind)
        if setting.kind is int
    ],
)
def test_a_billion_of_anything_is_refused_before_anything_is_built(config, name):
    with pytest.raises(UsageError, match=f"{name} is 1000000000, but must be at least [12] and at most"):
        settings.make(config, {name: 1_000_000_000}, what="config.json")


def test_a_long_value_of_a_strangers_file_is_cut_short():
    with pytest.raises(UsageError) as caught:
        llama_config(SMOL | {"hidden_act": "x" * 10_000})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_gpt2_masks_are_dropped_and_biases_kept(prefix):
    def place(name: str) -> Placement | None:
        return gpt_place(prefix + name, GPT2Config())

    assert place("h.11.attn.bias") is None
    assert place("h.11.attn.masked_bias") is None
    assert place("h.11.attn.c_attn.bias") == Placement("blocks.11.attention.qkv.bias")


def test_gpt2_matrices_are_stored_inputs_first_and_nothing_else_is():
    assert gpt_place("h.0.mlp.c_fc.weight", GPT2Config()) == Placement(
        "blocks.0.mlp.up.weight", transpose=True
    )
    for name in ("h.0.ln_1.weight", "wte.weight", "wpe.weight", "h.0.mlp.c_fc.bias", "ln_f.weight"):
        assert not gpt_place(name, GPT2Config()).transpose


def test_a_second_copy_of_a_tied_head_is_dropped_and_an_untied_one_kept():
    assert gpt_place("lm_head.weight", GPT2Config()) is None
    assert llama_place("lm_head.weight", LlamaConfig(tied=True)) is None
    assert llama_place("lm_head.weight", LlamaConfig(tied=False)) == Placement("unembed.weight")


def test_llama_tensors_are_found_with_and_without_their_prefix():
    for prefix in ("", "model."):
        placed = llama_place(f"{prefix}layers.3.self_attn.q_norm.weight", LlamaConfig())
        assert placed == Placement("blocks.3.attention.q_norm.weight")
    assert llama_place("model.layers.0.self_attn.rotary_emb.inv_freq", LlamaConfig()) is None


def test_an_unknown_tensor_keeps_its_name_so_that_loading_reports_it():
    assert gpt_place("h.0.adapter.weight", GPT2Config()) == Placement("h.0.adapter.weight")
    assert llama_place("model.layers.0.adapter.weight", LlamaConfig()) == Placement(
        "model.layers.0.adapter.weight"
    )
