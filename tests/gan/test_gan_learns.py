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


def pixel_by_pixel(images):
    """N images with each pixel from an image of its own: right in every pixel alone, and no digits."""
    generator = torch.Generator().manual_seed(0)
    return torch.stack([pixel[torch.randint(len(pixel), (N,), generator=generator)] for pixel in images.T], 1)


@pytest.mark.slow
@pytest.mark.timeout(900)  # half a minute on a core of its own
def test_a_gan_learns_to_draw_every_digit(tmp_path):
    """By N = 500 images of seed 1 after training with seed 0. Energy distance to unseen digits: 6.2 untrained, 0.084
    pixel by pixel, 0.052 trained, 0.018 for the digits trained on; to the nearest unseen digit: -, 4.5, 3.2, 2.4.
    """
    stored = np.load(BUILT_IN["digits"].path())
    pixels, labels = (torch.from_numpy(stored[name]) for name in ("images", "labels"))
    train, held_out = split_rows(len(pixels), 0.25, 0)
    pixels = (pixels / 127.5 - 1).flatten(1)
    seen, unseen = pixels[train], pixels[held_out]
    torch.manual_seed(0)
    untrained, shuffled = drawn(DCGAN(CONFIG)), pixel_by_pixel(seen)

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

    assert energy_distance(images, unseen) < energy_distance(untrained, unseen) / 50
    assert energy_distance(images, unseen) < energy_distance(shuffled, unseen)
    distance, which = nearest(images, unseen)
    assert distance.mean() < 0.8 * nearest(shuffled, unseen).values.mean()
    classes = torch.bincount(labels[held_out][which].long(), minlength=10)
    assert classes.min() >= N // 50, "a digit is never drawn"
    assert len(list((folder / "previews").glob("*.png"))) == 4
