"""The plugin: which families it brings. Imports no torch; references are resolved when a model is built."""

from __future__ import annotations

from zoo.family import Family
from zoo.plugins import hookimpl

zoo_api = (1, 1)

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "generation_config.json",
    "chat_template.jinja",
)
"""What `zoo_gpt.tokenizer` reads, beside config.json."""

GPT1 = Family(
    name="gpt1",
    modality="text",
    config="zoo_gpt.configs:GPT1Config",
    build="zoo_gpt.gpt1:build",
    controls="zoo.modality.text:TextControls",
    from_hub="zoo_gpt.hub:gpt1_config",
    place="zoo_gpt.hub:gpt_place",
    tokenizer="zoo_gpt.tokenizer:load",
    files=TOKENIZER_FILES,
)
GPT2 = Family(
    name="gpt2",
    modality="text",
    config="zoo_gpt.configs:GPT2Config",
    build="zoo_gpt.gpt2:build",
    controls="zoo.modality.text:TextControls",
    from_hub="zoo_gpt.hub:gpt2_config",
    place="zoo_gpt.hub:gpt_place",
    from_gguf="zoo_gpt.gguf:gpt2_from_gguf",
    tokenizer="zoo_gpt.tokenizer:load",
    files=TOKENIZER_FILES,
)
LLAMA = Family(
    name="llama",
    modality="text",
    config="zoo_gpt.configs:LlamaConfig",
    build="zoo_gpt.llama:build",
    controls="zoo.modality.text:TextControls",
    from_hub="zoo_gpt.hub:llama_config",
    place="zoo_gpt.hub:llama_place",
    from_gguf="zoo_gpt.gguf:llama_from_gguf",
    tokenizer="zoo_gpt.tokenizer:load",
    files=TOKENIZER_FILES,
)


@hookimpl
def zoo_families() -> list[Family]:
    return [GPT1, GPT2, LLAMA]
