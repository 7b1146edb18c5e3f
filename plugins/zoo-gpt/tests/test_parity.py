"""The models compute what transformers computes from the same files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file

import zoo
from zoo.errors import TensorsError
from zoo.modality.text import TextControls
from zoo.modality.token_probabilities import told
from zoo.noise import Noise
from zoo_gpt.plugin import GPT2

GREEDY = TextControls(greedy=True, max_tokens=64)


def prompt(length: int, *, seed: int = 1, vocabulary: int = 211) -> list[int]:
    return torch.randint(vocabulary, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def continuation(network: Any, tokens: list[int]) -> list[int]:
    return [step[0] for step in network.sample([tokens], Noise(0), GREEDY)]


def transformers_continuation(model: Any, tokens: list[int], count: int) -> list[int]:
    out = model.generate(
        torch.tensor([tokens]), max_new_tokens=count, do_sample=False, pad_token_id=0, eos_token_id=None
    )
    return out[0, len(tokens) :].tolist()


@torch.inference_mode()
def test_logits_are_those_of_transformers(pair):
    theirs, ours = pair
    tokens = torch.tensor([prompt(100), prompt(100, seed=2)])
    expected = theirs(tokens).logits
    assert expected.std() > 0.5  # else agreement would say little
    torch.testing.assert_close(ours(tokens), expected, atol=1e-4, rtol=0)


class Letters:
    """A tokenizer of one letter a token."""

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(chr(0x100 + token) for token in tokens)


@torch.inference_mode()
@pytest.mark.parametrize("most", [0, 1, 5, 1000])
def test_log_probabilities_of_a_sample_are_those_of_transformers(pair, most):
    theirs, ours = pair
    given, tokens = prompt(9), prompt(30, seed=2)
    found = told(ours, Letters(), given, tokens, most)
    logits = theirs(torch.tensor([[*given, *tokens]])).logits[0, 8:-1]
    expected = logits.double().log_softmax(-1)  # (N, V)
    best = expected.topk(min(most, 211), dim=-1)
    assert [place.token for place in found] == tokens
    assert "".join(place.text for place in found) == Letters().decode(tokens)
    for at, place in enumerate(found):
        assert place.log_prob == pytest.approx(float(expected[at, tokens[at]]), abs=1e-4)
        values = [other.log_prob for other in place.top]
        assert values == pytest.approx(best.values[at].tolist(), abs=1e-4)
        assert values == sorted(values, reverse=True)
        assert all(
            other.log_prob == pytest.approx(float(expected[at, other.token]), abs=1e-4)
            and other.text == chr(0x100 + other.token)
            for other in place.top
        )


def test_greedy_continuations_are_those_of_transformers(pair):
    theirs, ours = pair
    expected = transformers_continuation(theirs, prompt(9), 64)
    assert len(set(expected)) > 3
    assert continuation(ours, prompt(9)) == expected


def test_prompts_of_different_lengths_continue_in_a_batch_as_each_does_alone(pair):
    theirs, ours = pair
    prompts = [prompt(length, seed=length) for length in (1, 30, 7)]
    steps = list(ours.sample(prompts, Noise(0), GREEDY))
    for row, tokens in enumerate(prompts):
        assert [step[row] for step in steps] == transformers_continuation(theirs, tokens, 64)


@torch.inference_mode()
def test_steps_through_the_cache_give_the_logits_of_one_pass(pair):
    _, ours = pair
    tokens = torch.tensor([prompt(40), prompt(40, seed=2)])
    whole = ours(tokens)
    cache = ours.new_cache(2, 64)
    pieces = [ours.step(tokens[:, :11], cache), ours.step(tokens[:, 11:16], cache)]
    pieces += [ours.step(tokens[:, at : at + 1], cache) for at in range(16, 40)]
    expected = whole[:, [10, 15, *range(16, 40)]]
    torch.testing.assert_close(torch.stack(pieces, dim=1), expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_bfloat16_is_as_near_to_float32_as_transformers_is(pair):
    theirs, ours = pair
    tokens = torch.tensor([prompt(50)])
    exact = theirs(tokens).logits
    their_error = (theirs.bfloat16()(tokens).logits - exact).abs().mean()
    our_error = (ours.bfloat16()(tokens) - exact).abs().mean()
    assert our_error < 1.3 * their_error


def test_training_lowers_the_loss_through_every_parameter(pair):
    _, ours = pair
    for weight in ours.parameters():
        weight.requires_grad_()
    batch = torch.tensor([prompt(20)])
    before = ours.loss(batch)
    before.backward()
    for name, weight in ours.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0 or name.endswith("k.bias"), (
            name
        )  # softmax ignores a shift of all keys
        weight.data -= 1e-3 * weight.grad
    assert ours.loss(batch) < before


def test_gpt2_small_loads_from_a_file_with_every_quirk_of_the_hub(tmp_path, make_model, load_saved):
    theirs = make_model(transformers.GPT2Config())
    stored = {
        f"transformer.{name.removeprefix('transformer.')}": t for name, t in theirs.state_dict().items()
    }
    del stored["transformer.lm_head.weight"]  # the same memory as the embedding: a file cannot hold both
    for layer in range(12):
        stored[f"transformer.h.{layer}.attn.bias"] = torch.ones(1024, 1024).tril().view(1, 1, 1024, 1024)
        stored[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    stored["lm_head.weight"] = stored["transformer.wte.weight"].clone()
    save_file(stored, tmp_path / "model.safetensors")
    theirs.config.save_pretrained(tmp_path)
    ours = load_saved(GPT2, tmp_path)
    assert sum(weight.numel() for weight in ours.parameters()) == 124_439_808
    tokens = prompt(12, vocabulary=50257)
    with torch.inference_mode():
        expected = theirs(torch.tensor([tokens])).logits
        torch.testing.assert_close(ours(torch.tensor([tokens])), expected, atol=1e-4, rtol=0)
    assert continuation(ours, tokens) == transformers_continuation(theirs, tokens, 64)
    (tmp_path / "model.safetensors").unlink()  # half a gigabyte


def test_a_head_that_is_missing_is_named_as_its_file_would_name_it(tmp_path):
    config = transformers.LlamaConfig(
        vocab_size=11,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=False,
    )
    stored = transformers.LlamaForCausalLM(config).state_dict()
    del stored["lm_head.weight"]
    save_file(stored, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    with pytest.raises(TensorsError, match=r"1 missing \(unembed\.weight\)") as refused:
        zoo.load(str(tmp_path), device="cpu")
    assert "no lm_head.weight, though config.json leaves tie_word_embeddings false" in refused.value.hint
    save_file({"model.norm.weight": torch.ones(8)}, tmp_path / "model.safetensors")
    with pytest.raises(TensorsError) as refused:
        zoo.load(str(tmp_path), device="cpu")
    assert "another model" in refused.value.hint
