"""A sample is the same whatever it is drawn beside, in every batch and with compiled decoding."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.modality.text import TextControls
from zoo.nn import decode, fast
from zoo.noise import Noise
from zoo_gpt import gpt2, llama
from zoo_gpt.configs import GPT2Config, LlamaConfig

CONTROLS = {
    "plain": TextControls(max_tokens=24),
    "filtered": TextControls(max_tokens=24, temperature=0.8, top_k=30, top_p=0.9, repetition_penalty=1.2),
    "penalised": TextControls(max_tokens=24, frequency_penalty=0.7, presence_penalty=-0.4),
    "greedy": TextControls(max_tokens=24, greedy=True),
}
PROMPTS = [[5, 9, 2], [7], [3] * 11, [1, 2], [8, 8, 4, 1], [60], [5, 9, 2], [44, 2, 2, 1, 7]]


def network(kind: str, *, context: int = 64) -> Any:
    """A small random model whose next tokens are neither certain nor all alike."""
    torch.manual_seed(3)
    shape: dict[str, Any] = {"vocabulary": 61, "context": context, "layers": 2, "width": 32, "heads": 4}
    if kind == "llama":
        built: Any = llama.build(LlamaConfig(**shape, key_value_heads=2, hidden=48, tied=False))
    else:
        built = gpt2.build(GPT2Config(**shape))
    with torch.no_grad():
        for weight in built.parameters():
            if weight.dim() == 2:
                weight.mul_(12)
    return built.eval()


def drawn(
    network: Any, controls: TextControls, *, batch: int, start: int = 0, count: int = 8
) -> list[list[int]]:
    """Samples start to start + count, drawn in batches of at most this size."""
    texts: list[list[int]] = []
    for first in range(start, start + count, batch):
        rows = PROMPTS[first : min(first + batch, start + count)]
        steps = list(network.sample(rows, Noise(11, first), controls))
        texts += [[step[row] for step in steps if step[row] is not None] for row in range(len(rows))]
    return texts


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("controls", CONTROLS.values(), ids=CONTROLS)
def test_samples_are_the_same_in_batches_of_every_size(kind, controls):
    model = network(kind)
    alone = drawn(model, controls, batch=1)
    assert len({tuple(text) for text in alone}) > 5
    for batch in range(2, 9):
        assert drawn(model, controls, batch=batch) == alone
    assert drawn(model, controls, batch=3, start=2, count=3) == alone[2:5]


@torch.inference_mode()
@pytest.mark.parametrize(("frequency", "presence"), [(0.6, 0.0), (0.0, 2.0), (-0.5, 1.5)])
def test_penalties_are_those_of_openais_definition(frequency, presence):
    model = network("gpt2")
    controls = TextControls(
        max_tokens=24, greedy=True, frequency_penalty=frequency, presence_penalty=presence
    )
    found = drawn(model, controls, batch=8)
    for prompt, tokens in zip(PROMPTS, found, strict=True):
        for at, token in enumerate(tokens):
            scores = model(torch.tensor([[*prompt, *tokens[:at]]]))[0, -1].tolist()
            for seen in set(tokens[:at]):
                scores[seen] -= tokens[:at].count(seen) * frequency + presence
            assert token == scores.index(max(scores))
    assert found != drawn(model, CONTROLS["greedy"], batch=8)


def test_a_near_tie_is_decided_alike_in_every_batch(monkeypatch):
    """With a tolerance so wide that every choice is doubtful, each is made from the row alone."""
    monkeypatch.setattr(decode, "TOLERANCE", 1e3)
    model = network("gpt2")
    assert drawn(model, CONTROLS["plain"], batch=8) == drawn(model, CONTROLS["plain"], batch=1)
    monkeypatch.undo()
    assert drawn(model, CONTROLS["plain"], batch=8) == drawn(model, CONTROLS["plain"], batch=1)


def test_samples_in_bfloat16_are_the_same_in_every_batch_too():
    model = network("llama").bfloat16()
    assert drawn(model, CONTROLS["plain"], batch=8) == drawn(model, CONTROLS["plain"], batch=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler here")
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_compiled_decoding_draws_the_same_samples(kind, monkeypatch, home):
    monkeypatch.setenv("ZOO_HOME", str(home))
    fast._kernels.cache_clear()
    model = network(kind)
    plain = drawn(model, CONTROLS["plain"], batch=4)
    before = model.state_dict().keys()
    assert fast.compiled(model) == ""
    assert model.state_dict().keys() == before
    for batch in (1, 4, 8):
        assert drawn(model, CONTROLS["plain"], batch=batch) == plain
    fast._kernels.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_that_are_done_or_full_leave_the_others_as_they_were(dtype):
    model = network("gpt2", context=30).to(dtype)
    controls = TextControls(max_tokens=60)
    prompts = [[5, 9, 2], [3] * 29, [7] * 12, [60]]
    done: set[int] = set()
    texts: list[list[int]] = [[], [], [], []]
    for step in model.sample(prompts, Noise(11), controls, done):
        for row, token in enumerate(step):
            if token is not None and row not in done:
                texts[row].append(token)
        if len(texts[2]) == 4:
            done.add(2)
    for row, prompt in enumerate(prompts):
        alone = [step[0] for step in model.sample([prompt], Noise(11, row), controls)]
        assert texts[row] == (alone[:4] if row == 2 else alone)
        assert len(alone) == 30 - len(prompt)  # the context ends a text
    assert len(texts[0]) == 27


def test_a_short_row_may_go_on_long_after_a_long_one_met_the_context():
    """The cache's capacity is the longest row's, not the longest prompt's and the longest answer's together."""
    model = network("gpt2", context=64)
    controls = TextControls(max_tokens=60, greedy=True)
    steps = list(model.sample([[3] * 60, [5]], Noise(0), controls))
    alone = [step[0] for step in model.sample([[5]], Noise(0), controls)]
    assert [step[1] for step in steps] == alone


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_samples_of_one_prompt_are_those_of_each_alone(kind):
    model = network(kind)
    steps = list(model.sample([PROMPTS[0]] * 5, Noise(11), CONTROLS["plain"]))
    texts = [[step[row] for step in steps] for row in range(5)]
    alone = [
        [step[0] for step in model.sample([PROMPTS[0]], Noise(11, row), CONTROLS["plain"])]
        for row in range(5)
    ]
    assert texts == alone
    assert len(set(map(tuple, texts))) == 5


def test_one_prompt_for_all_samples_is_read_once(monkeypatch):
    model = network("gpt2")
    read = []
    step = model.step
    monkeypatch.setattr(
        model, "step", lambda tokens, *rest: read.append(tuple(tokens.shape)) or step(tokens, *rest)
    )
    list(model.sample([[5, 9, 2]] * 4, Noise(11), TextControls(max_tokens=3)))
    assert read == [(1, 3), (4, 1), (4, 1)]
