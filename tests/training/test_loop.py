"""The loop against torch's optimizer driven by hand, and its promises: same seed, same weights; nothing spoiled."""

from __future__ import annotations

import math

import pytest
import torch

from zoo.errors import TrainingError, UsageError
from zoo.training.loop import Learner, train
from zoo.training.plan import Plan, learning_rate

PLAN = Plan(steps=5, warmup=2, learning_rate=0.05, weight_decay=0.5, gradient_clip=0.1, evaluate_every=2)

pytestmark = pytest.mark.usefixtures("one_thread")


def weights(network):
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def trained(network, letters, plan=PLAN, **given):
    learner = Learner(network, plan)
    return learner, list(train(learner, letters, plan, device="cpu", **given))


def test_the_weights_are_those_of_adamw_by_hand(pairs, letters):
    network = pairs()
    _, steps = trained(network, letters)
    by_hand = pairs()
    optimizer = torch.optim.AdamW(
        [{"params": [by_hand.table], "weight_decay": 0.5}, {"params": [by_hand.shift], "weight_decay": 0.0}],
        betas=(0.9, 0.99),
    )
    for number, step in enumerate(steps, start=1):
        loss = by_hand.loss(letters.batch(number))
        loss.backward()
        norm = math.sqrt(sum(float(weight.grad.square().sum()) for weight in by_hand.parameters()))
        for weight in by_hand.parameters():
            weight.grad *= min(1.0, 0.1 / (norm + 1e-6))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PLAN, number)
        optimizer.step()
        optimizer.zero_grad()
        assert (step.step, step.learning_rate) == (number, learning_rate(PLAN, number))
        assert (step.loss, step.gradient_norm) == pytest.approx((loss.item(), norm), rel=1e-5)
    torch.testing.assert_close(weights(network), weights(by_hand), rtol=1e-5, atol=1e-6)


def test_training_lowers_the_loss(pairs, letters):
    _, steps = trained(pairs(), letters, Plan(steps=60, warmup=5, learning_rate=0.1))
    assert steps[0].loss > 5
    assert steps[-1].loss < 1


def test_the_same_seed_gives_the_same_weights_bit_for_bit(pairs, letters):
    first, again, other = pairs(0.5), pairs(0.5), pairs(0.5)
    trained(first, letters)
    torch.manual_seed(123)  # what else draws from torch's generator does not matter
    trained(again, letters)
    trained(other, letters, Plan(**{**vars(PLAN), "seed": 1}))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_dropout_differs_from_step_to_step(pairs):
    class Same:
        predictions = 8

        def batch(self, step):
            return torch.arange(9)[None]

    plan = Plan(steps=2, learning_rate=1e-9)
    _, (first, second) = trained(pairs(0.5), Same(), plan)
    assert first.loss != pytest.approx(second.loss, abs=1e-4)


def test_training_leaves_torchs_own_generator_as_it_was(pairs, letters):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trained(pairs(0.5), letters)
    assert torch.equal(torch.rand(3), expected)


def test_whoever_asks_decides_when_to_stop(pairs, letters):
    learner = Learner(pairs(), PLAN)
    steps = train(learner, letters, PLAN, device="cpu")
    assert [next(steps).step, next(steps).step] == [1, 2]
    steps.close()
    assert learner.step == 2
    assert [step.step for step in train(learner, letters, PLAN, device="cpu")] == [3, 4, 5]


def test_a_run_in_two_parts_ends_with_the_weights_of_one(pairs, letters):
    whole, parts = pairs(0.5), pairs(0.5)
    trained(whole, letters)
    learner = Learner(parts, PLAN)
    first = train(learner, letters, PLAN, device="cpu")
    next(first)
    first.close()
    list(train(learner, letters, PLAN, device="cpu"))
    assert torch.equal(weights(whole), weights(parts))


@pytest.mark.parametrize("spoiled", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(pairs, letters, spoiled):
    class Spoiled(pairs):
        def loss(self, batch, turn="main"):
            value = super().loss(batch, turn)
            return value * spoiled if batch[0, 0] == 97 + 3 else value

    network = Spoiled()
    learner = Learner(network, PLAN)
    steps = train(learner, letters, PLAN, device="cpu")
    next(steps)
    next(steps)
    before = weights(network).clone()
    with pytest.raises(TrainingError, match=r"step 3: loss (nan|inf), .* rate 0\.038.* after step 2") as stop:
        next(steps)
    assert stop.value.hint == "try a lower rate: --set plan.learning_rate=0.02"
    assert learner.step == 2
    assert torch.equal(weights(network), before)


def test_a_finite_loss_with_a_gradient_that_is_not_stops_too(pairs, letters):
    class Steep(pairs):
        def loss(self, batch, turn="main"):
            return super().loss(batch, turn) + (self.shift * 0).sqrt().sum()

    with pytest.raises(TrainingError, match=r"step 1: loss \d.*, gradient norm nan"):
        trained(Steep(), letters)


def test_measurements_are_of_the_network_in_evaluation_mode_when_due(pairs, letters):
    seen = []

    def evaluate(network):
        seen.append((network.training, torch.is_inference_mode_enabled()))
        return {"letters": float(len(seen))}

    network = pairs(0.5)
    _, steps = trained(network, letters, evaluate=evaluate)
    assert [step.step for step in steps if step.results] == [2, 4, 5]
    assert [dict(step.results) for step in steps if step.results] == [{"letters": n} for n in (1.0, 2.0, 3.0)]
    assert seen == [(False, True)] * 3
    unmeasured = pairs(0.5)
    trained(unmeasured, letters)
    assert torch.equal(weights(network), weights(unmeasured))


def test_the_average_follows_the_weights_as_its_formula_says(pairs, letters):
    plan = Plan(**{**vars(PLAN), "average": 0.3})
    learner = Learner(pairs(), plan)
    expected = weights(learner.network).clone()
    for step in train(learner, letters, plan, device="cpu"):
        memory = min(0.3, step.step / (step.step + 9))
        expected = memory * expected + (1 - memory) * weights(learner.network)
        torch.testing.assert_close(weights(learner.result), expected)
    assert learner.result is not learner.network


def test_without_an_average_the_network_itself_is_the_result(pairs):
    learner = Learner(pairs(), PLAN)
    assert learner.result is learner.network


def test_weights_that_were_loaded_without_gradients_are_trained(pairs, letters):
    network = pairs().requires_grad_(False).eval()
    before = weights(network).clone()
    trained(network, letters)
    assert not torch.equal(weights(network), before)


def test_bfloat16_products_keep_float32_weights(pairs, letters):
    network = pairs()
    plan = Plan(**{**vars(PLAN), "precision": "bfloat16"})
    _, steps = trained(network, letters, plan)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert steps[-1].loss < steps[0].loss


def test_a_device_the_loop_does_not_choose_is_refused(pairs, letters):
    with pytest.raises(UsageError, match="device is 'cuda:1', but must be one of auto, cpu"):
        list(train(Learner(pairs(), PLAN), letters, PLAN, device="cuda:1"))
