"""What a plugin says about a family of models: a small frozen value whose references are resolved only on use.

A reference is text, "package.module:name". Stating a family therefore imports nothing: `zoo list` and
`zoo sample MODEL --help` never load torch.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from zoo.errors import PluginError
from zoo.modality import CODEC_FILE

CONFIG = "config.json"
"""What a model is, for who has not its weights: the Hub's words, or under the key `zoo` this house's."""

TOKENIZER_OF = "tokenizer_of"
"""In a pushed config.json: the model_type of the Hub model whose tokenizer's files a run began with."""

API_VERSION = 1
"""The plugin interface this core speaks. A plugin states the range it fits in `zoo_api`, such as (1, 1)."""


@dataclass(frozen=True)
class Family:
    """One family of generative models, such as gpt2 or dcgan.

    name: what registry files call it. modality: one of `zoo.modality.MODALITIES`.
    config: a frozen settings dataclass (see `zoo.settings`) that says what is built.
    build: a function from a config to an `nn.Module` with random weights; what the module can do, its methods say;
        a text family's is a `zoo.protocols.LanguageModel`.
    controls: a frozen settings dataclass that says what may be asked when sampling.
    from_hub: a function from the content of a Hub repo's config.json to this family's config as plain data, or None
        when the file describes something else. Empty: no Hub layout is known.
    place: a function (stored tensor name, config) -> `zoo.weights.placement.Placement` or None, which maps a Hub
        checkpoint's names and layouts to the built module's; None drops the tensor. Empty: names are its own.
    from_gguf: a function (metadata, {tensor name: shape}) of a GGUF file -> `zoo.weights.placement.GgufLayout`, or
        None when the file is of another architecture. Empty: no GGUF layout is known.
    tokenizer: for text, a function from {file name: path} to a `zoo.protocols.Tokenizer`, or None when the files
        hold none. It is given those of `companions`.
    files: the small files beside the weights that a model is read from, by their full names, besides config.json and
        its modality's own (`zoo.modality.CODEC_FILE`). No others are read, copied into a run, downloaded or pushed.
    plan: the settings class of a training run: `zoo.training.plan:Plan` for what learns by gradients,
        `zoo.training.plan:FitPlan` for a `zoo.protocols.Fittable`.
    describe: a function (network, names, mean, scale) -> `zoo.modality.description.Description`, which says in words
        and numbers what weights have learned. names: of the columns or symbols, in order; a column's value x
        reached the network as (x - mean) / scale. Empty: nothing is said.
    """

    name: str
    modality: str
    config: str
    build: str
    controls: str
    from_hub: str = ""
    place: str = ""
    from_gguf: str = ""
    tokenizer: str = ""
    files: tuple[str, ...] = ()
    plan: str = "zoo.training.plan:Plan"
    describe: str = ""

    @property
    def companions(self) -> frozenset[str]:
        """The names of all small files beside the weights that a model of this family is read from."""
        return frozenset(filter(None, (CONFIG, CODEC_FILE.get(self.modality), *self.files)))

    def resolve(self, field: str) -> Any:
        """The object that a reference field names. Raises PluginError when it cannot be imported."""
        reference: str = getattr(self, field)
        module, _, name = reference.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"family {self.name}: {field} = {reference!r} cannot be loaded: {error}"
            ) from error
