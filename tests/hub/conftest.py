"""The fixtures of the Hub's tests."""

from hub.fixtures import hub

__all__ = ["hub"]
