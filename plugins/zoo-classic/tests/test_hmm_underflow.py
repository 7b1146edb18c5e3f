"""When the scaled recursion stands though the backward pass has large numbers, and when log space must do."""

from __future__ import annotations

import torch

from zoo_classic import forward_backward as recursion
from zoo_classic.denormals import flushed
from zoo_classic.packed import Steps, pack


def packed(frames: int, sequences: int = 1) -> Steps:
    lengths = torch.full((sequences,), frames)
    return pack(torch.zeros(sequences, frames), lengths).steps


def rare(kind: torch.dtype, least: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two states of which the second is hardly ever begun with, and alone explains the second frame."""
    start = torch.tensor([1 - least, least], dtype=kind)
    transition = torch.eye(2, dtype=kind)
    likelihood = torch.tensor([[1.0, 1.0], [least * 1e-6, 1.0], [1.0, 1.0]], dtype=kind)
    return start, transition, likelihood


def test_a_state_that_was_improbable_but_not_lost_needs_no_logarithms():
    start, transition, likelihood = rare(torch.float32, 1e-28)
    found = recursion.scaled(start, transition, likelihood.clone(), packed(3))
    exact = recursion.logarithmic(start.double(), transition.double(), likelihood.double().log(), packed(3))
    assert found is not None
    for own, theirs in zip(found, exact, strict=True):
        assert torch.allclose(own.double(), theirs, rtol=1e-5)


def test_a_state_that_was_lost_is_left_to_log_space():
    start, transition, likelihood = rare(torch.float32, 1e-42)
    likelihood[1, 0] = 1e-37
    assert recursion.scaled(start, transition, likelihood, packed(3)) is None


def test_a_backward_pass_that_overflows_is_left_to_log_space():
    beta = torch.tensor([[1.0, float("inf")]])
    assert not recursion.certain(beta, torch.ones(1, 2))
    assert not recursion.certain(torch.tensor([[1.0, float("nan")]]), torch.ones(1, 2))


def test_numbers_below_the_smallest_normal_one_are_zero_inside_and_as_before_afterwards():
    small = torch.tensor([1e-30])
    with flushed():
        assert float((small * 1e-10).item()) == 0.0
        with flushed():
            pass
        assert float((small * 1e-10).item()) == 0.0
    assert float((small * 1e-10).item()) > 0.0
