"""What workers would inherit from their starter, and is set right first: a job's traces, the limit of open files."""

import os
import resource

from queuectl.errors import Invalid
from queuectl.host import procfs
from queuectl.workers.execution import traces

FILES = 128
"""Descriptors that a worker needs for itself; commands have their lock on number 77."""
FILES_PER_SLOT = 4
"""Descriptors for each command: its pidfd, its output, and what the termination of its leftovers takes."""


def leave_job() -> None:
    """Where this process was started by a job: drop the job's tag and every descriptor above 2 (R17).

    Otherwise the job's leftovers would be found in everything that these workers run.
    """
    if os.environ.get(traces.TAG, traces.FREE) != traces.FREE:
        os.environ[traces.TAG] = traces.FREE
        os.closerange(3, max(procfs.open_descriptors()) + 1)


def raise_file_limit(slots: int) -> None:
    """See to it that a worker with so many slots may open enough files: raise the limit as far as that is ours.

    Raises Invalid where it can't be raised.
    """
    need = FILES + FILES_PER_SLOT * slots
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < need:
        if hard != resource.RLIM_INFINITY and hard < need:
            raise Invalid(f"--slots {slots} needs {need} open files, the limit is {hard}: ask for fewer, or raise it")
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
