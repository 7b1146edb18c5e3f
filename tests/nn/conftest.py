"""Every test here computes in one thread: what other work holds the cores makes no difference then."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def small(one_thread: None) -> None:
    """See `one_thread`."""
