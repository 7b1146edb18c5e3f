"""The entry point of the plugin that tests install: two families of images."""

from __future__ import annotations

from zoo.family import Family
from zoo.plugins import hookimpl

zoo_api = (1, 1)


@hookimpl
def zoo_families() -> list[Family]:
    """A DCGAN and a WGAN-GP."""
    return [
        Family("tiny-dcgan", "image", "gan.dcgan:Config", "gan.dcgan:DCGAN", "gan.dcgan:Controls"),
        Family("tiny-wgan-gp", "image", "gan.dcgan:WGANGPConfig", "gan.dcgan:WGANGP", "gan.dcgan:Controls"),
    ]
