"""Several processes of one command on this machine, through accelerate's launcher."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Sequence

from zoo_cli import streams
from zoo_cli.stopping import INTERRUPTED, TERMINATED


def launch(words: Sequence[str], processes: int, *, cpu: bool) -> int:
    """Run `zoo WORDS` in so many processes and return the exit code of the first that failed, 0 when none did.

    Accelerate's own configuration (`accelerate config`) decides on the rest: machines, FSDP, mixed precision.
    """
    os.environ.setdefault("LOGLEVEL", "CRITICAL")  # of torch's launcher, whose children say what failed
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    from accelerate.commands import launch as accelerate
    from accelerate.commands.config.config_args import default_config_file
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    if cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    options = ["--num_processes", str(processes)]
    if not os.path.isfile(default_config_file):  # noqa: PTH113 - accelerate's own constant is text
        options += ["--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        options += ["--main_process_port", "0"]  # any free one
    arguments = accelerate.launch_command_parser().parse_args([*options, "-m", "zoo_cli", *words])
    try:
        with warnings.catch_warnings(), streams.together():
            warnings.simplefilter("ignore")
            accelerate.launch_command(arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except SignalException as error:
        return TERMINATED if error.sigval == signal.SIGTERM else INTERRUPTED
    return 0
