"""The fixtures of the Hub's tests."""

from hub.fixtures import hub, waits

__all__ = ["hub", "waits"]
