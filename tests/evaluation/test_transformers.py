"""Log-probabilities, perplexity and its windows, held against transformers' models with the same files."""

from __future__ import annotations

import copy
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import zoo
from zoo.evaluation.tokens import Windows, log_probs

CONTEXT = 48
TEXT = "Tomorrow, and tomorrow, and tomorrow, creeps in this petty pace from day to day – " * 3
SHAPES = {
    "gpt2": transformers.GPT2Config(
        vocab_size=259,
        n_positions=CONTEXT,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=256,
        eos_token_id=256,
    ),
    "llama": transformers.LlamaConfig(
        vocab_size=259,
        max_position_embeddings=CONTEXT,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=256,
        eos_token_id=256,
    ),
}


@pytest.fixture(scope="module", params=sorted(SHAPES))
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_gpt2: Path
) -> tuple[Any, Any]:
    """(transformers' model, the zoo's of the folder it saved), with random weights and a token a byte."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(3)
    theirs = transformers.AutoModelForCausalLM.from_config(SHAPES[request.param]).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight += 0.15 * torch.randn_like(weight)
    transformers.utils.logging.disable_progress_bar()
    theirs.save_pretrained(folder)
    shutil.copyfile(tiny_gpt2 / "tokenizer.json", folder / "tokenizer.json")
    return theirs, zoo.load(str(folder), device="cpu")


def ids_of(text: str) -> torch.Tensor:
    return torch.tensor([256, *text.encode()])


@torch.inference_mode()
def their_log_probs(model: Any, ids: torch.Tensor) -> np.ndarray:
    logits = model(ids[None, :-1]).logits[0]
    found: np.ndarray = logits.double().log_softmax(-1).gather(1, ids[1:, None])[:, 0].numpy()
    return found


def test_each_tokens_log_probability_is_theirs(both):
    theirs, ours = both
    texts = [TEXT[:47], TEXT[5:20], "x"]
    for item, text in zip(zoo.score(ours, texts).items, texts, strict=True):
        expected = their_log_probs(theirs, ids_of(text))[: item.tokens]
        assert len(expected) == 1 or expected.std() > 0.5  # else agreement would say little
        np.testing.assert_allclose(item.log_probs, expected, rtol=0, atol=1e-5)
        assert item.log_likelihood == pytest.approx(expected.sum(), abs=1e-4)


@torch.inference_mode()
def documented(model: Any, ids: torch.Tensor, max_length: int, stride: int) -> tuple[float, float]:
    """Nats a token by the windows of transformers' page on perplexity: with each token counted once, and as there.

    The page multiplies a window's mean loss by one token less than were predicted in every window but the first.
    """
    exact, weighed, before = [0.0, 0], [0.0, 0], 0
    for begin in range(0, len(ids), stride):
        end = min(begin + max_length, len(ids))
        inputs = ids[None, begin:end]
        labels = inputs.clone()
        labels[:, : -(end - before)] = -100
        loss = float(model(inputs, labels=labels).loss)
        for sums, count in (
            (exact, int((labels[:, 1:] != -100).sum())),
            (weighed, int((labels != -100).sum()) - 1),
        ):
            sums[0] += loss * count
            sums[1] += count
        before = end
        if end == len(ids):
            break
    assert exact[1] == len(ids) - 1
    return exact[0] / exact[1], weighed[0] / weighed[1]


@pytest.mark.parametrize(("window", "stride"), [(47, 24), (47, 47), (30, 7), (9, 1)])
def test_perplexity_is_that_of_their_documentation(both, window, stride):
    theirs, ours = both
    found = zoo.evaluate(ours, [TEXT], window=window, stride=stride)
    exact, weighed = documented(theirs, ids_of(TEXT), window + 1, stride)
    assert found.nats_per_token.value == pytest.approx(exact, abs=1e-5)
    assert found.perplexity.value == pytest.approx(math.exp(exact), rel=1e-5)
    if stride > 20:
        assert found.nats_per_token.value == pytest.approx(weighed, rel=0.01)


def test_in_double_precision_they_agree_to_all_digits_that_both_keep(both):
    theirs, ours = both
    ids = ids_of(TEXT[:47])
    network = copy.deepcopy(ours.network).double()
    [found] = log_probs(network, [(ids.tolist(), 1)], Windows(CONTEXT, CONTEXT))
    expected = their_log_probs(copy.deepcopy(theirs).double(), ids)
    single = ours.family.name == "llama"  # both compute RMSNorm in float32 whatever the weights are
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if single else 1e-10)
