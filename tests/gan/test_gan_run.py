"""Two families of a plugin, trained by `zoo train` on the built-in digits: what alternating turns leave behind."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from gan.dcgan import DCGAN, Config, Controls
from zoo.noise import Noise
from zoo.training import recipe, resuming, run
from zoo.weights.tensors import read_header, zoo_metadata
from zoo_cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread", "installed")

SMALL = ["--batch-size", "8", "--set", "config.features=4", "--set", "config.latents=3", "--device", "cpu"]
SMALL += ["--set", "plan.warmup=0", "--quiet"]


def trained(family, folder, *words):
    """`zoo train` on the digits; the lines of metrics."""
    assert main(["train", family, "--data", "digits", "-o", str(folder), *SMALL, *words]) == 0
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder):
    return safetensors.torch.load_file(folder / "model.safetensors")


def test_a_run_has_the_losses_of_both_objectives_previews_and_weights(tmp_path, capsys):
    folder = tmp_path / "run"
    lines = trained("tiny-wgan-gp", folder, "--steps", "4", "--set", "plan.preview_every=2")
    assert {"critic", "critic.distance", "critic.penalty", "generator"} <= lines[0].keys()
    assert {"held_out_critic", "held_out_generator"} <= lines[-1].keys()
    assert lines[-1]["images_per_second"] > 0
    assert lines[-1]["epoch"] == pytest.approx(4 * 5 * 8 / 1707, abs=1e-6)
    assert capsys.readouterr().out == f"{folder}: 4 steps\n"
    previews = sorted((folder / "previews").iterdir())
    assert [path.name for path in previews] == ["step-00000002.png", "step-00000004.png"]
    found = zoo_metadata(folder / "model.safetensors")
    assert (found.plugin, found.family) == ("zoo-tiny-gan", "tiny-wgan-gp")
    assert {"critic_turns": 5, "height": 8, "channels": 1}.items() <= found.config.items()


def test_a_preview_is_a_grid_of_what_the_kept_generator_draws(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    folder = tmp_path / "run"
    plan = ["plan.preview_every=1", "plan.previews=9", "plan.average=0.5", "plan.learning_rate=0.1"]
    trained("tiny-dcgan", folder, "--steps", "2", *(word for one in plan for word in ("--set", one)))
    with image_module.open(folder / "previews" / "step-00000002.png") as file:
        shown = np.asarray(file)
    network = DCGAN(Config(features=4, latents=3)).eval()
    network.load_state_dict(weights(folder))
    with torch.no_grad():
        *_, drawn = network.sample(9, Noise(0), Controls())
    expected = np.full((32, 32), 255)  # three by three, of 8 pixels, with 2 pixels between
    for place, image in enumerate(((drawn[:, 0] + 1) * 127.5).round().numpy()):
        top, left = 2 + 10 * (place // 3), 2 + 10 * (place % 3)
        expected[top : top + 8, left : left + 8] = image
    np.testing.assert_array_equal(shown, expected)


def test_adversaries_losses_choose_no_best_so_the_weights_are_the_newest(tmp_path):
    folder = tmp_path / "run"
    lines = trained("tiny-dcgan", folder, "--steps", "6", "--set", "plan.evaluate_every=2")
    measured = [line["held_out_critic"] for line in lines if "held_out_critic" in line]
    assert len(measured) == 3
    assert read_header(folder / "model.safetensors").metadata["step"] == "6"
    newest = folder / "checkpoints" / "step-00000006" / "model.safetensors"
    assert weights(folder).keys() == safetensors.torch.load_file(newest).keys()
    again = resuming.resume(folder, device="cpu")
    assert (again.best, again.measure) == (float("inf"), "")


def test_a_run_that_was_stopped_is_resumed_to_the_same_files(tmp_path, capsys):
    words = ["--set", "plan.average=0.9", "--set", "plan.checkpoint_every=2", "--steps", "5"]
    whole = trained("tiny-wgan-gp", tmp_path / "whole", *words)
    stopped = tmp_path / "stopped"
    begun = run.begin(recipe_of(tmp_path / "whole"), stopped, device="cpu")
    steps = run.steps(begun)
    assert [next(steps).step for _ in range(3)] == [1, 2, 3]
    steps.close()
    assert main(["train", "--resume", "-o", str(stopped), "--device", "cpu", "--quiet"]) == 0
    assert (stopped / "model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    timed = ("images_per_second", "seconds")
    lines = [json.loads(line) for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    for one, other in zip(lines, whole, strict=True):
        assert {k: v for k, v in one.items() if k not in timed} == {
            k: v for k, v in other.items() if k not in timed
        }


def recipe_of(folder):
    return recipe.read(folder / "recipe.yaml")


def test_the_average_is_what_is_kept_with_the_newest_running_statistics(tmp_path):
    folder = tmp_path / "run"
    trained("tiny-dcgan", folder, "--steps", "3", "--set", "plan.average=0.9")
    again = resuming.resume(folder, device="cpu")
    kept, network = weights(folder), again.learner.network
    parameters = {name for name, _ in network.named_parameters()}
    for name, value in network.state_dict().items():
        assert torch.equal(kept[name], value) == (name not in parameters)


def test_a_run_begins_again_from_another_runs_weights(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    trained("tiny-dcgan", first, "--steps", "1")
    network = DCGAN(Config(features=4, latents=3))
    network.load_state_dict(weights(first))
    trained(str(first), second, "--steps", "1", "--set", "plan.learning_rate=1e-9")
    for name, value in network.named_parameters():
        torch.testing.assert_close(weights(second)[name], value.detach(), rtol=0, atol=1e-7)
