"""Alternating objectives continued from any step reach the weights of a run never stopped, bit for bit."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gan.tiny import PLAN, dcgan, images, trained, wgan_gp
from zoo.datasets.arrays import Selection, held_out_loss
from zoo.training.learner import Learner
from zoo.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

AVERAGED = dataclasses.replace(PLAN, average=0.9, schedule="cosine", warmup=2)


def with_spectral_norm_and_dropout():
    """The power iteration's vectors are buffers that a forward pass changes; dropout draws from torch's generator."""
    network = dcgan()
    network.critic.append(nn.Dropout(0.5))
    for layer in network.critic:
        if isinstance(layer, nn.Conv2d):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(2)
                spectral_norm(layer)
    return network


every = pytest.mark.parametrize("make", [dcgan, wgan_gp, with_spectral_norm_and_dropout])


def require_same(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@every
def test_a_run_continued_from_any_step_ends_as_one_never_stopped(make):
    learner = Learner(make(), AVERAGED)
    kept, losses = [], []
    for step in train(learner, images(), device="cpu"):
        kept.append({name: value.clone() for name, value in learner.tensors().items()})
        losses.append(dict(step.losses))
    for done, tensors in enumerate(kept[:-1], start=1):
        again = Learner(make(), AVERAGED)
        again.restore(tensors, done)
        steps = list(train(again, images(), device="cpu"))
        assert [dict(step.losses) for step in steps] == losses[done:]
        require_same(again.tensors(), kept[-1])


@every
def test_what_is_stored_is_the_weights_their_average_and_the_memory_of_both_optimizers(make):
    learner, _ = trained(make(), AVERAGED)
    stored = learner.tensors()
    names = [name for name, _ in learner.network.named_parameters()]
    for kind in ("network", "average", "exp_avg", "exp_avg_sq"):
        assert {f"{kind}.{name}" for name in names} <= stored.keys()


@every
def test_measuring_between_steps_changes_nothing(make):
    rows = images()
    held_out = Selection(rows.selection.arrays, rows.selection.chosen[:6], rows.selection.prepare)
    plan = dataclasses.replace(AVERAGED, evaluate_every=1)
    measured, alone = Learner(make(), plan), Learner(make(), plan)
    found = [
        step.results
        for step in train(measured, rows, lambda network: held_out_loss(network, held_out, 0), device="cpu")
    ]
    assert [list(results) for results in found] == PLAN.steps * [["held_out_critic", "held_out_generator"]]
    list(train(alone, rows, device="cpu"))
    require_same(measured.tensors(), alone.tensors())


def test_stopping_and_going_on_in_one_process_is_the_same_too():
    learner = Learner(wgan_gp(), AVERAGED)
    for part in (2, 1, 2):
        steps = train(learner, images(), device="cpu")
        list(itertools.islice(steps, part))
        steps.close()
    whole, _ = trained(wgan_gp(), AVERAGED)
    require_same(learner.tensors(), whole.tensors())
