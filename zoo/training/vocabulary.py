"""The vocabulary's former place; it lives in `zoo.datasets.vocabulary`."""

from zoo.datasets.vocabulary import END, learn

__all__ = ["END", "learn"]
