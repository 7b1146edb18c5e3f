"""Load a model for a command: say what takes time, and show what is downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from zoo_cli import progress, terminal

if TYPE_CHECKING:
    from zoo.targets import Target

T = TypeVar("T")


def load(
    target: Target, *, device: str, dtype: str, offline: bool, compile_: bool = False, quiet: bool
) -> Any:
    """The loaded model of a found target. Raises what `zoo.api.load` raises; says what it warns of."""
    from zoo import api
    from zoo.errors import ZooWarning

    with (
        warnings.catch_warnings(record=True) as caught,
        terminal.meanwhile(f"loading {target.name}", quiet=quiet),
        progress.downloads(quiet=quiet) as report,
    ):
        warnings.simplefilter("always", ZooWarning)
        model = api.load(target, device=device, dtype=dtype, offline=offline, compile=compile_, report=report)
    for warning in caught:
        terminal.warn(str(warning.message))
    return model


def random_seed() -> int:
    """A seed for a run that was given none; short enough to be typed again."""
    import random

    return random.SystemRandom().randrange(2**32)


def chosen_seed(given: int | None, *, quiet: bool) -> tuple[int, Callable[[Iterable[T]], Iterator[T]]]:
    """The seed of a run, and a function that goes through what is drawn and says first which random seed it has.

    Nothing is said of a seed that was given, or when the drawing fails before it has brought anything.
    """
    seed = random_seed() if given is None else given

    def say(drawn: Iterable[T]) -> Iterator[T]:
        for number, each in enumerate(drawn):
            if number == 0:
                terminal.note(f"seed {seed}", quiet=quiet or given is not None)
            yield each

    return seed, say


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
