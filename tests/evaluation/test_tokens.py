"""Windows over texts, and log-probabilities that do not depend on what is computed together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.errors import UsageError
from zoo.evaluation import tokens
from zoo.evaluation.tokens import Windows, log_probs, spans, windows


@pytest.mark.parametrize("inputs", [0, 1, 4, 7, 8, 9, 12, 15, 16, 17, 40])
@pytest.mark.parametrize(("size", "stride"), [(8, 8), (8, 4), (8, 1), (7, 3), (1, 1)])
@pytest.mark.parametrize("first", [0, 1, 10])
def test_each_token_is_predicted_once_and_sees_enough(inputs, size, stride, first):
    seen = {}
    for span in spans(inputs, Windows(size, stride), first):
        assert 0 <= span.start <= span.first < span.end <= inputs
        assert span.end - span.start <= size
        for at in range(span.first, span.end):  # the token at + 1 is predicted from span.start .. at
            assert at not in seen
            seen[at] = at - span.start + 1
    assert list(seen) == list(range(first, inputs))
    assert all(count >= min(at + 1, size - stride + 1) for at, count in seen.items())


def test_windows_are_the_context_and_overlap_by_half_unless_asked_otherwise():
    assert windows(64) == Windows(64, 32)
    assert windows(64, 10) == Windows(10, 5)
    assert windows(64, 1) == Windows(1, 1)
    assert windows(64, stride=64) == Windows(64, 64)


@pytest.mark.parametrize(
    ("size", "stride", "said"),
    [
        (0, None, "window is 0, but must be from 1 to the context of 64"),
        (65, None, "window is 65"),
        (None, 0, "stride is 0, but must be from 1 to the window of 64"),
        (10, 11, "stride is 11, but must be from 1 to the window of 10"),
    ],
)
def test_windows_that_miss_tokens_or_do_not_fit_are_refused(size, stride, said):
    with pytest.raises(UsageError, match=said):
        windows(64, size, stride)


def texts():
    """Of many lengths, some longer than the context, the first two of the same length; one token of each is given."""
    draw = np.random.default_rng(1)
    lengths = [30, 30, 2, 200, 64, 65, 66, 1, 7, 100]
    return [(draw.integers(256, size=length).tolist(), 1) for length in lengths]


def test_results_are_in_order_and_the_same_whatever_the_batch(tiny, monkeypatch):
    over = Windows(64, 32)
    alone = [next(log_probs(tiny.network, [text], over, batch_size=1)) for text in texts()]
    assert [len(values) for values in alone] == [len(ids) - 1 for ids, _ in texts()]
    monkeypatch.setattr(tokens, "_CHUNK", 50)
    for batch_size in (1, 2, 3, None):
        for pool in (2**16, 40):
            monkeypatch.setattr(tokens, "_POOL", pool)
            together = list(log_probs(tiny.network, texts(), over, batch_size=batch_size))
            for one, many in zip(alone, together, strict=True):
                np.testing.assert_allclose(many, one, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_token_is_predicted_from_all_before_it_in_its_window(tiny):
    [(ids, _)] = texts()[3:4]
    [found] = log_probs(tiny.network, [(ids, 1)], Windows(64, 32))
    for at in (1, 63, 64, 65, 95, 96, 97, 199):  # the windows begin at 0, 32, 64, ...
        start = max(0, 32 * ((at - 64 + 31) // 32))
        logits = tiny.network(torch.tensor([ids[start:at]]))[0, -1]
        assert found[at - 1] == pytest.approx(float(logits.log_softmax(-1)[ids[at]]), abs=1e-5)


def test_given_tokens_are_seen_and_not_predicted(tiny):
    [(ids, _)] = texts()[3:4]
    [whole] = log_probs(tiny.network, [(ids, 1)], Windows(64, 32))
    for given in (2, 64, 65, 150):
        [rest] = log_probs(tiny.network, [(ids, given)], Windows(64, 32))
        np.testing.assert_allclose(rest, whole[given - 1 :], rtol=0, atol=1e-5)


def test_texts_of_a_length_are_computed_together_and_no_row_is_longer_than_its_batch_needs(model):
    chain = model(context=8).network
    list(log_probs(chain, [([1] * length, 1) for length in (3, 9, 3, 9)], Windows(8, 4), batch_size=2))
    assert chain.seen == [(2, 8), (2, 2)]


def test_progress_is_told_in_tokens(tiny):
    told = []
    found = list(log_probs(tiny.network, texts(), Windows(64, 32), batch_size=4, report=told.append))
    assert told == sorted(told)
    assert told[-1] == sum(map(len, found))


def test_half_precision_sums_are_taken_in_single_precision(model):
    import copy

    network = copy.deepcopy(model(context=64).network).bfloat16()
    [found] = log_probs(network, [(list(range(60)), 1)], Windows(64, 32))
    exact = network.table.detach().double().log_softmax(-1)
    np.testing.assert_allclose(found, [float(exact[at, at + 1]) for at in range(59)], rtol=1e-6)
