"""A GAN trained by `zoo train` on the built-in digits draws digits: measured against digits that it never saw."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch

from gan.dcgan import DCGAN, Config, Controls
from zoo.datasets.builtin import BUILT_IN
from zoo.datasets.split import split_rows
from zoo.noise import Noise
from zoo_cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread", "installed")

N = 500  # generated images
CONFIG = Config(latents=16, features=16)
PLAN = {
    "steps": 1200,
    "batch_size": 64,
    "seed": 0,
    "learning_rate": 1e-3,
    "beta_1": 0.5,
    "weight_decay": 0.0,
    "gradient_clip": 0.0,
    "warmup": 0,
    "schedule": "linear",
    "average": 0.99,
    "evaluate_every": 0,
    "checkpoint_every": 0,
    "preview_every": 300,
    "previews": 100,
}


def drawn(network):
    """N images as vectors of pixels, (N, 64)."""
    with torch.no_grad():
        *_, images = network.eval().sample(N, Noise(1), Controls())
    return images.flatten(1)


def energy_distance(first, second):
    """2 E|x - y| - E|x - x'| - E|y - y'|, zero for equal distributions (Szekely and Rizzo, 2013)."""
    between, within = torch.cdist(first, second).mean(), [torch.cdist(x, x).mean() for x in (first, second)]
    return float(2 * between - sum(within))


def nearest(images, real):
    """How far each image is from the nearest real one, and which that is."""
    return torch.cdist(images, real).min(dim=1)


@pytest.mark.slow
def test_a_gan_learns_to_draw_every_digit(tmp_path):
    """Thresholds for N = 500 and seed 0; the floor of each measure is that of the digits trained on."""
    stored = np.load(BUILT_IN["digits"].path())
    pixels, labels = torch.from_numpy(stored["images"]) / 127.5 - 1, torch.from_numpy(stored["labels"])
    seen, unseen = (pixels.flatten(1)[rows] for rows in split_rows(len(pixels), 0.25, 0))
    classes = labels[split_rows(len(pixels), 0.25, 0)[1]]
    untrained = drawn(DCGAN(CONFIG))

    folder = tmp_path / "run"
    words = [f"plan.{name}={value}" for name, value in PLAN.items()]
    words += [
        "data.held_out_share=0.25",
        f"config.latents={CONFIG.latents}",
        f"config.features={CONFIG.features}",
    ]
    command = ["train", "tiny-dcgan", "--data", "digits", "-o", str(folder), "--device", "cpu", "--quiet"]
    assert main([*command, *(part for word in words for part in ("--set", word))]) == 0
    network = DCGAN(CONFIG)
    network.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    images = drawn(network)

    print(energy_distance(images, unseen), energy_distance(untrained, unseen), energy_distance(seen, unseen))
    print(nearest(images, unseen).values.mean(), nearest(seen, unseen).values.mean())
    print(torch.bincount(classes[nearest(images, unseen).indices], minlength=10))
    assert energy_distance(images, unseen) < energy_distance(untrained, unseen) / 20
    distance, which = nearest(images, unseen)
    assert distance.mean() < 1.5 * nearest(seen, unseen).values.mean()
    drawn_classes = torch.bincount(classes[which], minlength=10)
    assert drawn_classes.min() >= N // 50
    assert len(list((folder / "previews").glob("*.png"))) == 4
