"""The loop against torch's optimizer driven by hand, and its promises: same seed, same weights; nothing spoiled."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from zoo.errors import TrainingError, UsageError
from zoo.training.learner import Learner
from zoo.training.loop import train
from zoo.training.plan import Plan, learning_rate

PLAN = Plan(
    steps=5,
    batch_size=2,
    warmup=2,
    learning_rate=0.05,
    weight_decay=0.5,
    gradient_clip=0.1,
    evaluate_every=2,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def weights(network):
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def trained(network, letters, plan=PLAN, **given):
    learner = Learner(network, plan)
    return learner, list(train(learner, letters, device="cpu", **given))


def changed(**plan):
    return dataclasses.replace(PLAN, **plan)


def test_the_weights_are_those_of_adamw_by_hand(pairs, letters):
    network = pairs()
    _, steps = trained(network, letters)
    by_hand = pairs()
    optimizer = torch.optim.AdamW(
        [{"params": [by_hand.table], "weight_decay": 0.5}, {"params": [by_hand.shift], "weight_decay": 0.0}],
        betas=(0.9, 0.99),
    )
    for number, step in enumerate(steps, start=1):
        loss = by_hand.loss(letters.rows(2 * (number - 1), 2))
        loss.backward()
        norm = math.sqrt(sum(float(weight.grad.square().sum()) for weight in by_hand.parameters()))
        for weight in by_hand.parameters():
            weight.grad *= min(1.0, 0.1 / (norm + 1e-6))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PLAN, number)
        optimizer.step()
        optimizer.zero_grad()
        assert (step.step, step.learning_rate) == (number, learning_rate(PLAN, number))
        assert step.losses == {"loss": step.loss}
        assert (step.loss, step.gradient_norm) == pytest.approx((loss.item(), norm), rel=1e-5)
    torch.testing.assert_close(weights(network), weights(by_hand), rtol=1e-5, atol=1e-6)


def test_training_lowers_the_loss(pairs, letters):
    _, steps = trained(
        pairs(), letters, changed(steps=60, warmup=5, learning_rate=0.1, gradient_clip=1.0, weight_decay=0.0)
    )
    assert steps[0].loss > 5
    assert steps[-1].loss < 1


def test_the_same_seed_gives_the_same_weights_bit_for_bit(pairs, letters):
    first, again, other = pairs(0.5), pairs(0.5), pairs(0.5)
    trained(first, letters)
    torch.manual_seed(123)  # what else draws from torch's generator does not matter
    trained(again, letters)
    trained(other, letters, changed(seed=1))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_dropout_differs_from_step_to_step(pairs, letters):
    class Same(type(letters)):
        def rows(self, first, count):
            return torch.arange(9).expand(count, 9)

    _, (first, second) = trained(pairs(0.5), Same(), changed(steps=2, learning_rate=1e-9))
    assert first.loss != pytest.approx(second.loss, abs=1e-4)


def test_training_leaves_torchs_own_generator_as_it_was(pairs, letters):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trained(pairs(0.5), letters)
    assert torch.equal(torch.rand(3), expected)


def test_whoever_asks_decides_when_to_stop(pairs, letters):
    learner = Learner(pairs(), PLAN)
    steps = train(learner, letters, device="cpu")
    assert [next(steps).step, next(steps).step] == [1, 2]
    steps.close()
    assert learner.step == 2
    assert [step.step for step in train(learner, letters, device="cpu")] == [3, 4, 5]


def test_a_run_in_two_parts_ends_with_the_weights_of_one(pairs, letters):
    whole, parts = pairs(0.5), pairs(0.5)
    trained(whole, letters)
    learner = Learner(parts, PLAN)
    first = train(learner, letters, device="cpu")
    next(first)
    first.close()
    list(train(learner, letters, device="cpu"))
    assert torch.equal(weights(whole), weights(parts))


@pytest.mark.parametrize("spoiled", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(pairs, letters, spoiled):
    class Spoiled(pairs):
        def loss(self, batch, turn, noise):
            value = super().loss(batch, turn, noise)
            return value * spoiled if batch[0, 0] == letters.rows(4, 1)[0, 0] else value

    network = Spoiled()
    learner = Learner(network, PLAN)
    steps = train(learner, letters, device="cpu")
    next(steps)
    next(steps)
    before = weights(network).clone()
    said = r"step 3: loss (nan|inf), .* rate 0\.038.*, on rows 4 to 5; .* after step 2"
    with pytest.raises(TrainingError, match=said) as stop:
        next(steps)
    assert stop.value.hint == "try a lower rate: --set plan.learning_rate=0.02"
    assert learner.step == 2
    assert torch.equal(weights(network), before)


def test_a_finite_loss_with_a_gradient_that_is_not_stops_too(pairs, letters):
    class Steep(pairs):
        def loss(self, batch, turn, noise):
            return super().loss(batch, turn, noise) + (self.shift * 0).sqrt().sum()

    with pytest.raises(TrainingError, match=r"step 1: loss \d.*, gradient norm nan"):
        trained(Steep(), letters)


def test_measurements_are_of_the_network_in_evaluation_mode_when_due(pairs, letters):
    seen = []

    def evaluate(network):
        seen.append((network.training, torch.is_grad_enabled()))
        return {"letters": float(len(seen))}

    network = pairs(0.5)
    _, steps = trained(network, letters, evaluate=evaluate)
    assert [step.step for step in steps if step.results] == [2, 4, 5]
    assert [dict(step.results) for step in steps if step.results] == [{"letters": n} for n in (1.0, 2.0, 3.0)]
    assert seen == [(False, False)] * 3
    unmeasured = pairs(0.5)
    trained(unmeasured, letters)
    assert torch.equal(weights(network), weights(unmeasured))


def test_the_average_follows_the_weights_as_its_formula_says(pairs, letters):
    learner = Learner(pairs(), changed(average=0.3))
    expected = weights(learner.network).clone()
    for step in train(learner, letters, device="cpu"):
        memory = min(0.3, step.step / (step.step + 9))
        trained_on = weights(learner.network).clone()
        expected = memory * expected + (1 - memory) * trained_on
        with learner.result() as result:
            torch.testing.assert_close(weights(result), expected)
        assert torch.equal(weights(learner.network), trained_on)
    learner.take_average()
    torch.testing.assert_close(weights(learner.network), expected)


def test_the_average_and_not_the_weights_is_measured(pairs, letters):
    seen = []

    def evaluate(network):
        seen.append(weights(network).clone())
        return {"letters": 0.0}

    learner, _ = trained(pairs(), letters, changed(average=0.9, evaluate_every=0), evaluate=evaluate)
    with learner.result() as result:
        assert torch.equal(seen[-1], weights(result))
    assert not torch.equal(seen[-1], weights(learner.network))


def test_training_goes_the_same_way_with_an_average_beside_it(pairs, letters):
    with_average, without = pairs(), pairs()
    trained(with_average, letters, changed(average=0.9), evaluate=lambda network: {"letters": 0.0})
    trained(without, letters)
    assert torch.equal(weights(with_average), weights(without))


def test_without_an_average_the_network_itself_is_the_result(pairs):
    learner = Learner(pairs(), PLAN)
    with learner.result() as result:
        assert result is learner.network


def test_weights_that_were_loaded_without_gradients_are_trained(pairs, letters):
    network = pairs().requires_grad_(False).eval()
    before = weights(network).clone()
    trained(network, letters)
    assert not torch.equal(weights(network), before)


def test_bfloat16_products_keep_float32_weights(pairs, letters):
    from torch.nn import functional

    seen = set()

    class Mapped(pairs):
        """A matrix product, which is what precision is about, in place of the look-up in the table."""

        def forward(self, tokens):
            logits = functional.linear(functional.one_hot(tokens, 257).float(), self.table.T) + self.shift
            seen.add(functional.linear(self.shift, self.table).dtype)
            return logits

    exact, rough = Mapped(), Mapped()
    _, steps = trained(exact, letters)
    assert seen == {torch.float32}
    _, roughly = trained(rough, letters, changed(precision="bfloat16"))
    assert seen == {torch.float32, torch.bfloat16}
    assert {weight.dtype for weight in rough.parameters()} == {torch.float32}
    assert [step.loss for step in roughly] == pytest.approx([step.loss for step in steps], rel=1e-2)
    assert [step.loss for step in roughly] != [step.loss for step in steps]
    assert roughly[-1].loss < roughly[0].loss


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_gives_the_losses_and_weights_of_one_whole(pairs, letters, parts):
    whole, divided = pairs(), pairs()
    plan = changed(batch_size=8, steps=10)
    _, steps = trained(whole, letters, plan)
    seen = []

    class Seen(type(letters)):
        def rows(self, first, count):
            seen.append((first, count))
            return super().rows(first, count)

    _, again = trained(divided, Seen(), dataclasses.replace(plan, accumulation=parts))
    assert [step.loss for step in again] == pytest.approx([step.loss for step in steps], abs=1e-6)
    assert [step.gradient_norm for step in again] == pytest.approx(
        [step.gradient_norm for step in steps], abs=1e-6
    )
    torch.testing.assert_close(weights(divided), weights(whole), rtol=0, atol=1e-6)
    assert seen == [(row, 8 // parts) for row in range(0, 80, 8 // parts)]


def test_a_batch_that_cannot_be_divided_is_refused_before_the_first_step(pairs, letters):
    with pytest.raises(UsageError, match=r"batch_size is 2, but must be a multiple of 3: 1 processes x .* 3"):
        trained(pairs(), letters, changed(accumulation=3))


def test_epochs_are_gone_through_as_often_as_asked(pairs, letters):
    _, steps = trained(pairs(), letters, changed(epochs=1.5, batch_size=4))
    assert len(steps) == 10  # 1.5 x 26 letters in batches of 4
    assert [step.epoch for step in steps] == pytest.approx([4 * step.step / 26 for step in steps])


def test_what_a_network_says_beside_its_loss_is_passed_on_as_means_over_the_parts(pairs, letters):
    class Telling(pairs):
        def loss(self, batch, turn, noise):
            return {"loss": super().loss(batch, turn, noise), "first": batch[:, 0].float().mean()}

    _, (step,) = trained(Telling(), letters, changed(steps=1, warmup=1, batch_size=4, accumulation=2))
    assert list(step.losses) == ["loss", "first"]
    assert step.losses["first"] == letters.rows(0, 4)[:, 0].float().mean()


def test_each_part_of_a_batch_has_the_noise_of_its_own_rows(pairs, letters):
    seen = []

    class Drawing(pairs):
        def loss(self, batch, turn, noise):
            seen.append(noise.rows(len(batch), "test").uniform())
            return super().loss(batch, turn, noise)

    trained(Drawing(), letters, changed(steps=2, batch_size=4))
    whole = torch.cat(seen)
    seen.clear()
    trained(Drawing(), letters, changed(steps=2, batch_size=4, accumulation=2))
    assert torch.equal(torch.cat(seen), whole)


def test_speed_is_counted_in_the_units_of_the_rows(pairs, letters):
    _, steps = trained(pairs(), letters)
    assert {step.unit for step in steps} == {"letters"}
    assert all(step.speed > 0 for step in steps)
    assert [step.seconds for step in steps] == sorted(step.seconds for step in steps)


def test_a_device_the_loop_does_not_choose_is_refused(pairs, letters):
    with pytest.raises(UsageError, match="device is 'cuda:1', but must be one of auto, cpu"):
        list(train(Learner(pairs(), PLAN), letters, device="cuda:1"))
