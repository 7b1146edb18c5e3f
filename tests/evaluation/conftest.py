"""The small things to train that three folders of tests share."""

from training_fixtures import letters, pairs, tokenizer, works

__all__ = ["letters", "pairs", "tokenizer", "works"]
