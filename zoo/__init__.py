"""A zoo of generative models: one registry and one interface over every family.

The public names load their modules on use, so importing zoo imports neither torch nor huggingface_hub.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "list_models": "zoo.api",
    "info": "zoo.api",
    "pull": "zoo.api",
    "load": "zoo.api",
    "build": "zoo.api",
    "score": "zoo.evaluation.scoring",
    "evaluate": "zoo.evaluation.evaluating",
    "train": "zoo.training.api",
    "Plan": "zoo.training.plan",
    "FitPlan": "zoo.training.plan",
    "push": "zoo.publish.push",
}

__all__ = [
    "FitPlan",
    "Plan",
    "build",
    "evaluate",
    "info",
    "list_models",
    "load",
    "pull",
    "push",
    "score",
    "train",
]

if TYPE_CHECKING:
    from zoo.api import build, info, list_models, load, pull
    from zoo.evaluation.evaluating import evaluate
    from zoo.evaluation.scoring import score
    from zoo.publish.push import push
    from zoo.training.api import train
    from zoo.training.plan import FitPlan, Plan


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
