"""Worker processes, as their supervisor spawns them and gives them orders."""

import os
import signal
import sys

import msgspec

from queuectl.events import encode
from queuectl.workers.start_options import WorkerOptions

ORDERS_FD = 3
"""The descriptor from which a worker reads its orders."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that stop workers, once their supervisor gets them."""


class WorkerProcess(msgspec.Struct):
    """A worker process that was spawned."""

    id: str
    pid: int
    pidfd: int
    orders: int
    """The pipe into which orders are written."""
    oom_kills: int | None
    """How many processes the kernel had killed for memory when this one was spawned."""
    successor: bool
    """Whether it replaces one that crashed."""

    def order(self, order: bytes, number: int) -> None:
        """Send an order, and the number of the signal that gave rise to it; does nothing where it has ended."""
        try:
            os.write(self.orders, order + bytes([number]))
        except BrokenPipeError:
            pass  # its pidfd tells so next


def spawn_worker(options: WorkerOptions, oom_kills: int | None, successor: bool) -> WorkerProcess:
    """Spawn a worker process. posix_spawn, never fork: this process may have the database open (R7)."""
    id = os.urandom(4).hex()
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    options = msgspec.structs.replace(options, worker=id, orders=ORDERS_FD)
    nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(
            sys.executable,
            command(options),
            os.environ,
            # Onto itself is fine as well: it takes close-on-exec away.
            file_actions=[(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, read_end, ORDERS_FD)],
            setpgroup=0,
            setsigmask=[],
        )
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
        os.close(nothing)
    return WorkerProcess(id, pid, os.pidfd_open(pid), write_end, oom_kills, successor)


def command(options: msgspec.Struct) -> list[str]:
    """The command line of a process with these options, a worker or a supervisor."""
    # -P: a module in the working directory is not ours, and must not be run for one of the same name.
    return [sys.executable, "-P", "-m", "queuectl.workers", encode(options).decode()]


def stop_signals() -> list[signal.Signals]:
    """The signals that stop workers, without those that were ignored when this process began (nohup)."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
