"""The learning rate of each step, against torch's own schedule; the checks of a plan."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import UsageError, ZooWarning
from zoo.settings import make
from zoo.training.learner import Learner
from zoo.training.loop import train
from zoo.training.plan import Plan, learning_rate
from zoo.training.step import due as due_after


def test_the_rate_rises_in_a_line_to_its_largest():
    plan = Plan(steps=100, warmup=10, learning_rate=2.0)
    assert [learning_rate(plan, step) for step in (1, 5, 10)] == pytest.approx([0.2, 1.0, 2.0])


def test_after_the_warmup_the_rate_is_the_cosine_of_torch():
    plan = Plan(steps=50, warmup=10, learning_rate=0.3, floor=0.1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.03)
    for step in range(11, 51):
        optimizer.step()
        schedule.step()
        assert learning_rate(plan, step) == pytest.approx(schedule.get_last_lr()[0])


def test_without_warmup_the_first_step_is_already_on_the_cosine():
    plan = Plan(steps=2, warmup=0, learning_rate=1.0, floor=0.0)
    assert [learning_rate(plan, step) for step in (1, 2)] == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("cosine", [0.4, 0.8, 0.7121320, 0.5, 0.2]),
        ("linear", [0.4, 0.8, 0.65, 0.5, 0.2]),
        ("constant", [0.4, 0.8, 0.8, 0.8, 0.8]),
    ],
)
def test_each_schedule_after_the_same_warmup_by_hand(schedule, rates):
    plan = Plan(steps=6, warmup=2, learning_rate=0.8, floor=0.25, schedule=schedule)
    found = [learning_rate(plan, step) for step in (1, 2, 3, 4, 6)]
    assert found == pytest.approx(rates)


def test_a_warmup_longer_than_the_run_never_reaches_the_largest_rate():
    plan = Plan(steps=2, warmup=4, learning_rate=1.0)
    assert [learning_rate(plan, step) for step in (1, 2)] == [0.25, 0.5]


@pytest.mark.parametrize(
    ("epochs", "epoch", "rows_a_step", "steps"),
    [(1.0, 100, 10, 10), (1.0, 101, 10, 11), (2.5, 100, 10, 25), (0.001, 100, 10, 1), (None, 100, 10, 7)],
)
def test_epochs_become_the_steps_that_go_through_them_whole(epochs, epoch, rows_a_step, steps):
    counted = Plan(steps=7, epochs=epochs).counted(epoch, rows_a_step)
    assert (counted.steps, counted.epochs) == (steps, None)


@pytest.mark.parametrize(("every", "due"), [(0, [7]), (3, [3, 6, 7]), (7, [7])])
def test_what_is_done_every_so_many_steps_is_done_at_the_end_too(every, due):
    assert [step for step in range(1, 8) if due_after(every, step, final=step == 7)] == due


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"learning_rat": 1e-3}, "there is no setting 'learning_rat'; did you mean 'learning_rate'?"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, but must be above 0"),
        ({"steps": 0}, "steps is 0, but must be at least 1"),
        ({"precision": "float16"}, "precision is 'float16', but must be one of float32, bfloat16"),
        ({"average": 1.0}, "average is 1.0, but must be"),
        ({"schedule": "cosin"}, "schedule is 'cosin', but must be one of cosine, linear, constant"),
        ({"epochs": 0.0}, "epochs is 0.0, but must be above 0"),
        ({"accumulation": 0}, "accumulation is 0, but must be at least 1"),
        ({"keep": 0}, "keep is 0, but must be at least 1"),
        (
            {"save_dtype": "float64"},
            "save_dtype is 'float64', but must be one of auto, float32, float16, bfloat16",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_what_can(said, message):
    with pytest.raises(UsageError) as refused:
        make(Plan, said, what="plan")
    assert message in str(refused.value)


def test_an_unset_warmup_is_a_tenth_of_the_run_and_at_most_100_steps():
    for steps, expected in ((5, 0), (20, 2), (500, 50), (1000, 100), (9000, 100)):
        assert Plan(steps=steps).counted(26, 16).warmup == expected
    assert learning_rate(Plan(steps=20), 2) == 1e-3
    assert Plan(epochs=10.0).counted(26, 2).warmup == 13
    assert Plan(steps=20, warmup=7).counted(26, 16).warmup == 7


def test_a_warmup_longer_than_the_run_and_a_batch_larger_than_the_data_are_said(pairs, letters):
    plan = Plan(steps=2, warmup=4, batch_size=32)
    with pytest.warns(ZooWarning) as caught:
        list(train(Learner(pairs(), plan), letters, device="cpu"))
    assert [str(warning.message) for warning in caught] == [
        "plan.warmup is 4 steps, but the run has 2: the learning rate rises to its end and reaches 0.0005 of 0.001 "
        "(--set plan.warmup=0)",
        "a batch has 32 rows (--batch-size), but the data 26: a step goes through it 1.2 times",
    ]
    assert not list(Plan(steps=2, warmup=2, batch_size=26).warnings(26, 26))
