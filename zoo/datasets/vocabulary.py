"""A new byte-level byte-pair vocabulary, learned from text and written as a tokenizer.json.

Source: Sennrich et al. 2016; over bytes: Radford et al. 2019. Any text can be encoded: all 256 bytes are tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from zoo.datasets import kept, token_cache
from zoo.datasets.previews import write
from zoo.errors import MissingDependencyError

END = "<|end|>"
"""The token, id 0, that stands between documents."""


def learn_once(texts: Iterable[str], digest: str, vocabulary: int, path: Path) -> None:
    """As `learn`, but what was learned from the same texts before is taken from beside the token cache.

    digest: of the texts; they are gone through only when nothing is kept for it.
    """
    version = metadata.version("tokenizers") if find_spec("tokenizers") else ""
    key = token_cache.key("vocabulary 1", digest, str(vocabulary), version)
    place = token_cache.folder() / f"{key}.vocabulary"
    if (known := _kept(place)) is None:
        learn(texts, vocabulary, path)
        known = path.read_bytes()
        with token_cache.writing():
            place.parent.mkdir(parents=True, exist_ok=True)
            write(place, hashlib.sha256(known).hexdigest().encode() + b"\n" + known)
    else:
        path.write_bytes(known)
        kept.used(place)


def _kept(path: Path) -> bytes | None:
    """A file's content below the line with its sha256; None when it is not there as it was written."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest().encode() == digest else None


def learn(texts: Iterable[str], vocabulary: int, path: Path) -> None:
    """Learn `vocabulary` tokens, END and the bytes among them, and write them. The same texts give the same file.

    Raises MissingDependencyError without the package `tokenizers`.
    """
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError as error:
        raise MissingDependencyError(
            "learning a vocabulary needs the package tokenizers", hint="pip install tokenizers"
        ) from error
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    path.write_text(tokenizer.to_str(), encoding="utf-8")
