"""Load a model for a command: say what takes time, and show what is downloaded."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo_cli import progress, terminal

if TYPE_CHECKING:
    from zoo.targets import Target


def load(
    target: Target, *, device: str, dtype: str, offline: bool, compile_: bool = False, quiet: bool
) -> Any:
    """The loaded model of a found target. Raises what `zoo.api.load` raises; says what it warns of."""
    from zoo import api
    from zoo.errors import ZooWarning

    terminal.note(f"loading {target.name}", quiet=quiet or not terminal.is_terminal(sys.stderr))
    with warnings.catch_warnings(record=True) as caught, progress.downloads(quiet=quiet) as report:
        warnings.simplefilter("always", ZooWarning)
        model = api.load(target, device=device, dtype=dtype, offline=offline, compile=compile_, report=report)
    for warning in caught:
        terminal.warn(str(warning.message))
    return model


def random_seed() -> int:
    """A seed for a run that was given none; short enough to be typed again."""
    import random

    return random.SystemRandom().randrange(2**32)


@contextmanager
def warnings_shown(shown: bool = True) -> Iterator[None]:
    """What the zoo warns of, said as it comes; other warnings go where they always do."""
    from zoo.errors import ZooWarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, ZooWarning):
            if shown:
                terminal.warn(str(message))
        else:
            otherwise(message, category, *where, **more)

    with warnings.catch_warnings():
        otherwise = warnings.showwarning
        warnings.simplefilter("always", ZooWarning)
        warnings.showwarning = show
        yield
