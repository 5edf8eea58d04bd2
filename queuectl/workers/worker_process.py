"""One worker process, as its parent starts it and speaks to it."""

import os
import sys

import msgspec

from queuectl.events import encode
from queuectl.workers.start_options import WorkerOptions

ORDERS = 3
"""The descriptor on which a worker finds its orders."""


class WorkerProcess(msgspec.Struct):
    """One worker process of ours."""

    id: str
    pid: int
    pidfd: int
    orders: int
    """The pipe's end into which orders are written."""
    killings: int | None
    """How many processes the kernel had killed for memory when this one started."""
    successor: bool
    """Whether it stands in for one that crashed."""


def order(worker: WorkerProcess, order: bytes, number: int) -> None:
    """Tell a worker what to do, and by which signal; one that has ended is not told."""
    try:
        os.write(worker.orders, order + bytes([number]))
    except BrokenPipeError:
        pass  # it has ended, which we hear of next


def spawn_worker(options: WorkerOptions, killings: int | None, successor: bool) -> WorkerProcess:
    """Start a worker process. posix_spawn, never fork: this process may have the database open (R7)."""
    id = os.urandom(4).hex()
    hear, tell = os.pipe2(os.O_CLOEXEC)
    options = msgspec.structs.replace(options, worker=id, orders=ORDERS)
    nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(
            sys.executable,
            command(options),
            os.environ,
            # Onto itself is fine as well: it takes close-on-exec away.
            file_actions=[(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, hear, ORDERS)],
            setpgroup=0,
            setsigmask=[],
        )
    except BaseException:
        os.close(tell)
        raise
    finally:
        os.close(hear)
        os.close(nothing)
    return WorkerProcess(id, pid, os.pidfd_open(pid), tell, killings, successor)


def command(what: msgspec.Struct) -> list[str]:
    """The command line of a process that does what the document says."""
    # -P: what lies in the working directory is not ours, and not to be run for a module of that name.
    return [sys.executable, "-P", "-m", "queuectl.workers", encode(what).decode()]
