"""The plugin: which families it brings. Imports no torch; references are resolved when a model is built."""

from __future__ import annotations

from zoo.family import Family
from zoo.plugins import hookimpl

zoo_api = (1, 1)

GPT2 = Family(
    name="gpt2",
    modality="text",
    config="zoo_gpt.configs:GPT2Config",
    build="zoo_gpt.gpt2:build",
    controls="zoo.modality.text:TextControls",
    from_hub="zoo_gpt.hub:gpt2_config",
    place="zoo_gpt.hub:gpt2_place",
    tokenizer="zoo_gpt.tokenizer:load",
)


@hookimpl
def zoo_families() -> list[Family]:
    return [GPT2]
