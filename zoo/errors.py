"""Every error the zoo raises on purpose: one tree, each naming the value, what is allowed and what to do next.

The message is one line, meant for a person; `hint` is the next command or action, shown on its own line.
"""

from __future__ import annotations


class ZooError(Exception):
    """The root of the tree. `hint` says what to do next, or is empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(ZooError, ValueError):
    """What was asked for is not possible as asked: a bad value, an option of another model (exit code 2)."""


class RegistryError(ZooError):
    """A registry file does not follow its schema. The message starts with file, line and field."""


class UnknownModelError(ZooError, KeyError):
    """No model of this name. `near` holds the closest known names."""

    def __init__(self, message: str, *, near: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.near = near

    def __str__(self) -> str:  # KeyError would show the repr
        return str(self.args[0])


class AmbiguousModelError(UnknownModelError):
    """Two plugins bring a model of this name; `plugin/model` says which is meant."""


class PluginError(ZooError):
    """A plugin could not be loaded or broke its contract."""


class MissingDependencyError(ZooError, ImportError):
    """An optional package is needed for this; the hint is the pip line that brings it."""


class WeightsError(ZooError):
    """Weights are absent, unsafe, or do not fit the model."""


class IntegrityError(WeightsError):
    """Bytes are not the ones that were pinned. The message has the expected and the actual value."""


class TensorsError(WeightsError):
    """A safetensors file is malformed, or its tensors are not those of the built model."""


class HubError(WeightsError):
    """The Hub refused or failed; the message says what it answered."""


class OfflineError(HubError):
    """The file is not in the cache and the network may not be used."""


class DiskSpaceError(WeightsError):
    """The disk is too small for what would be written."""


class NoWeightsError(WeightsError):
    """The model is an architecture without published weights."""


class CapabilityError(ZooError):
    """The model cannot do this; the message lists what it can do."""


class DataError(ZooError):
    """Training or evaluation data cannot be read or used."""


class TrainingError(ZooError):
    """Training stopped because going on would lose or spoil something."""


class ZooWarning(UserWarning):
    """Something was asked for and cannot be had here; work goes on without it."""
