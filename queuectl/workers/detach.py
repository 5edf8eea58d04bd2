"""`worker start --detach`: a supervisor in a session of its own, out of reach of the terminal."""

import os
import sys

import msgspec

from queuectl.errors import QueueError, shown
from queuectl.events import encode
from queuectl.host.notify_socket import without
from queuectl.workers import worker_process
from queuectl.workers.journal import open_log_file
from queuectl.workers.start_options import READY, SupervisorOptions
from queuectl.workers.stderr import say

READY_FD = 9
"""The descriptor to which the supervisor writes that it is ready."""


def detached(options: SupervisorOptions, logs: str) -> int:
    """Start a supervisor whose messages go to `worker.log` in this folder, and wait until it has spawned its workers.

    Returns the exit code. Raises QueueError where it has ended before.
    """
    log = f"{logs}/worker.log"
    out = open_log_file(logs, "worker.log")
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    given = worker_process.options_file(encode(msgspec.structs.replace(options, ready=READY_FD)))
    pid = os.posix_spawn(
        sys.executable,
        worker_process.command(worker_process.SUPERVISOR_ROLE, "--db", options.worker.url),
        # Inside of no job: a command that detaches workers does not wait for them.
        {name: value for name, value in without(os.environ).items() if name != "QUEUECTL_JOB_ID"},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, nothing, 0),
            (os.POSIX_SPAWN_DUP2, out, 1),
            (os.POSIX_SPAWN_DUP2, out, 2),
            (os.POSIX_SPAWN_DUP2, write_end, READY_FD),
            (os.POSIX_SPAWN_DUP2, given, worker_process.ORDERS_FD),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=worker_process.stop_signals(),
    )
    for fd in (write_end, out, nothing, given):
        os.close(fd)
    with open(read_end, "rb") as answer:
        is_ready = answer.read() == READY
    if not is_ready:
        _, status = os.waitpid(pid, 0)
        problem = QueueError(f"the workers could not be started; see {shown(log)}")
        problem.exit_code = 4 if os.waitstatus_to_exitcode(status) == 4 else 1
        raise problem
    say(f"workers run in the background (process {pid}), log in {shown(log)}")
    return 0
