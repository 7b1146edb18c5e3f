"""Every test has one thread a process: on two cores, two processes of two threads each are ten times slower."""

from __future__ import annotations

import os

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read when torch is first imported, here and in child processes
