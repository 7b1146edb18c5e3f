"""A new byte-level byte-pair vocabulary, learned from text and written as a tokenizer.json.

Source: Sennrich et al. 2016; over bytes: Radford et al. 2019. Any text can be encoded: all 256 bytes are tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zoo.errors import MissingDependencyError

END = "<|end|>"
"""The token, id 0, that stands between documents."""


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
