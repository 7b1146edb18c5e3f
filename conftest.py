"""What holds for every test: one thread a process, the same examples each time, a folder for the zoo's own files.

On two cores, two processes of two threads each are ten times slower. Both variables are read by child processes too.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import hypothesis

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported

_home = tempfile.mkdtemp(prefix="zoo-tests-home-")
os.environ["ZOO_HOME"] = _home
atexit.register(shutil.rmtree, _home, ignore_errors=True)

hypothesis.settings.register_profile("zoo", derandomize=True, database=None)
hypothesis.settings.load_profile("zoo")
