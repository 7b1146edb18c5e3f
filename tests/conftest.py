"""What tests of several rooms share: an environment of their own, and a text model small enough for any of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """The same sums in the same order; and tensors of a test's size gain nothing from threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a GPT-2 of random weights, as the zoo saves one: context 64, a token a byte, end of text 256."""
    return make_tiny_gpt2(tmp_path_factory.mktemp("models") / "tiny-gpt2")


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_gpt2`, with a chat template and room for a conversation: context 256."""
    return make_tiny_gpt2(tmp_path_factory.mktemp("models") / "tiny-chat", context=256, chat_template=CHATML)


def make_tiny_gpt2(folder: Path, *, context: int = 64, chat_template: str = "") -> Path:
    """The weights depend on nothing but torch's generator with seed 0."""
    import torch

    from zoo.weights.save import save
    from zoo_gpt.configs import GPT2Config
    from zoo_gpt.gpt2 import build

    folder.mkdir(parents=True)
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    byte_tokenizer(folder / "tokenizer.json", specials)
    if chat_template:
        said = {"chat_template": chat_template, "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(said))
    config = GPT2Config(vocabulary=256 + len(specials), context=context, layers=2, width=16, heads=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(config)
        with torch.no_grad():
            network.tokens.weight *= 8  # from near-uniform to choices that depend on the text
    save(network, folder / "model.safetensors", family="gpt2", plugin="zoo-gpt", config=config)
    return folder


def byte_tokenizer(path: Path, specials: list[str]) -> None:
    """A tokenizer.json of one token a byte, then the special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet(), key=_byte_of)
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    tokenizer.save(str(path))


def _byte_of(letter: str) -> int:
    """The byte that GPT-2's table writes as this letter: itself if printable, the others follow from 256 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    code = ord(letter)
    return code if code < 256 else others[code - 256]
