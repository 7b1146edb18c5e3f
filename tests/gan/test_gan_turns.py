"""What the loop promises of alternating objectives, on two real GANs: parts, gradients, optimizers, rows, epochs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gan.tiny import PLAN, dcgan, images, layer_norm_dcgan, trained, wgan_gp
from zoo.errors import PluginError
from zoo.training.learner import Learner
from zoo.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

both = pytest.mark.parametrize("make", [dcgan, wgan_gp])


def weights(network):
    """Every parameter of each part, copied."""
    return {
        turn: [weight.detach().clone() for weight in network.part(turn).parameters()]
        for turn in ("critic", "generator")
    }


def same(first, second):
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def watched(network):
    """Whenever the network's loss is asked: (turn, row numbers, latents, weights, names with gradients)."""
    seen = []
    loss = network.loss

    def watching(batch, turn, noise):
        left = [name for name, weight in network.named_parameters() if weight.grad is not None]
        numbers = (batch[:, 0, 0, 0] * 40).round().int().tolist()
        latents = noise.rows(len(batch), "latents").normal(1)[:, 0].tolist()
        seen.append((turn, numbers, latents, weights(network), left))
        return loss(batch, turn, noise)

    network.loss = watching
    return seen


@both
def test_a_turn_changes_its_part_and_nothing_else(make):
    network = make()
    seen = watched(network)
    trained(network)
    states = [state for *_, state, _ in seen] + [weights(network)]
    assert len(seen) == PLAN.steps * len(network.turns)
    for (turn, *_), before, after in zip(seen, states[:-1], states[1:], strict=True):
        other = {"critic": "generator", "generator": "critic"}[turn]
        assert same(before[other], after[other])
        moved = [not torch.equal(a, b) for a, b in zip(before[turn], after[turn], strict=True) if a.dim() > 1]
        assert all(
            moved
        )  # a bias may be without a gradient: WGAN's difference does not depend on the critic's


@both
def test_a_turn_computes_gradients_of_its_part_alone_and_leaves_none(make):
    network = make()
    seen = watched(network)
    found = set()
    for name, weight in network.named_parameters():
        weight.register_post_accumulate_grad_hook(
            lambda _, name=name: found.add((seen[-1][0], name.partition(".")[0]))
        )
    trained(network)
    assert found == {("critic", "critic"), ("generator", "generator")}
    assert all(left == [] for *_, left in seen)
    assert all(weight.grad is None for weight in network.parameters())


@both
def test_each_part_has_one_optimizer_which_counts_its_own_changes(make):
    learner, _ = trained(make())
    network = learner.network
    assert set(learner.optimizers) == {"critic", "generator"}
    for turn, optimizer in learner.optimizers.items():
        mine = {id(weight) for weight in network.part(turn).parameters()}
        assert {id(weight) for weight in optimizer.state} == mine
        counted = {int(memory["step"]) for memory in optimizer.state.values()}
        assert counted == {PLAN.steps * network.turns.count(turn)}


def test_losses_are_named_by_their_turn_and_what_is_beside_them():
    _, steps = trained(dcgan())
    assert list(steps[0].losses) == ["critic", "critic.real", "critic.fake", "generator"]
    assert steps[0].losses["critic"] == pytest.approx(
        steps[0].losses["critic.real"] + steps[0].losses["critic.fake"]
    )
    _, steps = trained(wgan_gp())
    assert list(steps[0].losses) == ["critic", "critic.distance", "critic.penalty", "generator"]


def test_a_turn_that_comes_again_sees_other_rows_and_another_turn_the_same_rows_and_noise():
    network = wgan_gp()
    seen = watched(network)
    trained(network)
    rows, at = images(), 0
    assert [turn for turn, *_ in seen] == ["critic", "critic", "generator"] * 5
    for first, second, generator in zip(seen[::3], seen[1::3], seen[2::3], strict=True):
        for asked in (first, second):
            assert asked[1] == (rows.rows(at, 8)[:, 0, 0, 0] * 40).round().int().tolist()
            at += 8
        assert generator[1:3] == first[1:3]
        assert not set(first[2]) & set(second[2])
    assert len({number for _, numbers, *_ in seen[:6] for number in numbers}) == 32  # none twice in an epoch


def test_an_epoch_is_over_when_every_row_was_seen_by_the_turn_that_sees_most():
    _, steps = trained(wgan_gp())
    assert [step.epoch for step in steps] == [0.4, 0.8, pytest.approx(1.2), 1.6, 2.0]
    _, steps = trained(dcgan())
    assert [step.epoch for step in steps] == [0.2, 0.4, pytest.approx(0.6), 0.8, 1.0]


def test_a_plan_of_epochs_counts_the_rows_of_repeated_turns():
    plan = dataclasses.replace(PLAN, epochs=2)
    assert [trained(make(), plan)[1][-1].epoch for make in (dcgan, wgan_gp)] == [2.0, 2.0]


def test_the_average_is_of_every_weight_as_its_formula_says():
    plan = dataclasses.replace(PLAN, average=0.3)
    learner = Learner(dcgan(), plan)
    expected = weights(learner.network)
    for step in train(learner, images(), device="cpu"):
        memory = min(0.3, step.step / (step.step + 9))
        for turn, values in weights(learner.network).items():
            expected[turn] = [
                memory * old + (1 - memory) * new for old, new in zip(expected[turn], values, strict=True)
            ]
        with learner.result() as network:
            for turn, values in weights(network).items():
                torch.testing.assert_close(values, expected[turn])


def test_accumulation_gives_the_steps_of_the_whole_batch():
    for make in (layer_norm_dcgan, wgan_gp):
        whole, in_parts = (
            trained(make(), dataclasses.replace(PLAN, accumulation=parts))[1] for parts in (1, 2)
        )
        for one, other in zip(whole, in_parts, strict=True):
            assert dict(other.losses) == pytest.approx(dict(one.losses), rel=1e-6, abs=1e-6)


def test_a_turn_may_learn_at_a_rate_of_its_own():
    plan = dataclasses.replace(PLAN, steps=1, weight_decay=0.0)
    plain, paced = dcgan(), dcgan()
    paced.rates = {"critic": 4.0}
    before = weights(plain)
    (_, [step]), (learner, [_]) = trained(plain, plan), trained(paced, plan)
    assert step.learning_rate == plan.learning_rate
    assert learner.optimizers["generator"].param_groups[0]["lr"] == plan.learning_rate
    for first, one, other in zip(
        before["critic"], weights(plain)["critic"], weights(paced)["critic"], strict=True
    ):
        torch.testing.assert_close(other - first, 4 * (one - first), rtol=1e-3, atol=1e-7)


def test_parts_that_share_a_parameter_are_the_plugins_mistake():
    network = dcgan()
    network.critic[0].weight = network.generator[-2].weight
    with pytest.raises(
        PluginError, match=r"the turns 'critic' and 'generator' both change generator\.\d\.weight"
    ):
        Learner(network, PLAN)
    network = dcgan()
    network.part = lambda turn: {"critic": dcgan().critic, "generator": network.generator}[turn]
    with pytest.raises(PluginError, match="the turn 'critic' changes a parameter that is not the network's"):
        Learner(network, PLAN)


@both
def test_mixed_precision_trains_both_parts_with_float32_weights(make):
    plan = dataclasses.replace(PLAN, precision="bfloat16")
    (learner, mixed), (_, full) = trained(make(), plan), trained(make())
    assert {weight.dtype for weight in learner.network.parameters()} == {torch.float32}
    assert dict(mixed[0].losses) == pytest.approx(dict(full[0].losses), rel=0.02, abs=0.02)
    assert dict(mixed[0].losses) != dict(full[0].losses)
