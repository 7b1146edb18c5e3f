"""Long sequences gone through in pieces give what the plain recursion gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo_classic import forward_backward as recursion
from zoo_classic import long_sequences as pieces
from zoo_classic.frame_sums import summed_products
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.packed import Packed, packs
from zoo_classic.sequences import batch_of


def drawn(lengths: tuple[int, ...], mask: tuple[str, ...] = ()) -> tuple[HMM, Packed, torch.Tensor]:
    random = np.random.default_rng(0)
    model = HMM(HMMConfig(states=3, columns=2, mask=mask))
    transition = model.transition.numpy() * random.uniform(0.01, 1, (3, 3))
    means = random.normal(scale=2, size=(3, 1, 2))
    model.assign(
        {
            "start": torch.tensor([0.7, 0.2, 0.1]),
            "transition": torch.tensor(transition / transition.sum(1, keepdims=True)),
            "emissions.means": torch.tensor(means),
        }
    )
    sequences = [torch.tensor(random.normal(size=(length, 2))) for length in lengths]
    [packed] = packs(batch_of(sequences), 10**6)
    likelihood, _ = model.emissions.likelihood(model.emissions.see(packed, model.emissions.shift()))
    return model, packed, likelihood


@pytest.mark.parametrize("lengths", [(1,), (2,), (50,), (49,), (51, 7, 1), (30, 30, 30), (10, 9, 8, 7, 1, 1)])
@pytest.mark.parametrize("mask", [(), ("110", "011", "001")])
def test_pieces_give_what_the_plain_recursion_gives(lengths: tuple[int, ...], mask: tuple[str, ...]) -> None:
    model, packed, likelihood = drawn(lengths, mask)
    found = pieces.scaled(model.start, model.transition, likelihood, packed)
    alpha, scale = pieces.filtered(model.start, model.transition, likelihood, packed) or ()
    plain = recursion.scaled_forward(model.start, model.transition, likelihood, packed.sizes)
    expected = recursion.scaled(model.start, model.transition, likelihood.clone(), packed)
    assert found is not None
    assert expected is not None
    torch.testing.assert_close(alpha, plain[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(scale, plain[1], rtol=1e-10, atol=0)
    torch.testing.assert_close(found.log_likelihood, expected.log_likelihood, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.posterior, expected.posterior, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.transitions, expected.transitions, rtol=1e-10, atol=1e-12)


def test_long_sequences_are_cut() -> None:
    _, packed, _ = drawn((3000, 2900))
    assert pieces.worthwhile(packed, states=3)
    assert not pieces.worthwhile(packed, states=100)
    assert len(pieces.cut(packed).sizes) < 60
    _, packed, _ = drawn((50, 49))
    assert not pieces.worthwhile(packed, states=3)


def test_two_chains_that_never_meet_are_left_to_log_space() -> None:
    model, packed, likelihood = drawn((40,), ("100", "010", "001"))
    likelihood[:20] = torch.tensor([1.0, 1e-50, 1e-300])
    likelihood[20:] = torch.tensor([1e-60, 1.0, 1e-300])
    found = pieces.scaled(model.start, model.transition, likelihood, packed)
    assert found is None
    assert recursion.scaled(model.start, model.transition, likelihood.clone(), packed) is None


@pytest.mark.parametrize("frames", [0, 3, 1024, 2500])
def test_sums_in_blocks_are_those_of_one_product(frames: int) -> None:
    left, right = torch.rand(frames, 3).double(), torch.rand(frames, 5).double()
    torch.testing.assert_close(summed_products(left, right), left.t() @ right)
