"""Worker processes, as their supervisor spawns them and gives them orders.

A worker process imports what it needs and then waits for its options, which come by the pipe of its orders: it is
spawned before they are known. What is imported here is little, so that this can be the first thing that a command does.
"""

import fcntl
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

from queuectl.host.notify_socket import without

ORDERS_FD = 3
"""The descriptor from which a worker reads its options, and then its orders."""
ORDER_STOP = b"s"
ORDER_KILL = b"k"
_SIZE = 4
"""Bytes before the options that say how long they are."""

ROLE = "worker"
"""The first argument of a process that is to read its options there. What follows only shows what it is for."""
SUPERVISOR_ROLE = "supervisor"
"""The same of a supervisor in the background."""
RETENTION_ROLE = "retention"
"""The same of a process that archives what has been kept for long enough."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that stop workers, once their supervisor gets them."""

CANT_WRITE = 75
"""The exit code of a worker that could not start because the database or its folder could not be used just then:
EX_TEMPFAIL. Only supervisors see it."""


class WorkerProcess:
    """A worker process that was spawned."""

    def __init__(self, pid: int, orders: int) -> None:
        self.id = os.urandom(4).hex()
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.orders = orders
        """The pipe into which its options and orders are written."""
        self.oom_kills: int | None = None
        """How many processes the kernel had killed for memory when this one began."""
        self.successor = False
        """Whether it replaces one that crashed."""

    def begin(self, options: bytes) -> None:
        """Give it its options, the document of `WorkerOptions`; does nothing where it has ended."""
        left = memoryview(len(options).to_bytes(_SIZE) + options)
        with suppress(BrokenPipeError):  # its pidfd tells so next
            while left:
                left = left[os.write(self.orders, left) :]

    def order(self, order: bytes, number: int) -> None:
        """Send an order, and the number of the signal that gave rise to it; does nothing where it has ended."""
        with suppress(BrokenPipeError):
            os.write(self.orders, order + bytes([number]))

    def discard(self) -> None:
        """End and reap one that was given no options: it has done nothing yet."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        os.close(self.orders)


_ahead: list[WorkerProcess] = []
"""Spawned, and not yet asked for."""


@contextmanager
def one_ahead(*words: str) -> Generator[None]:
    """A context for which a worker process is spawned before it is known whether one is wanted.

    It is what `spawn_worker` returns first; where nobody asks for it, it is discarded. `words` as of `spawn_worker`.
    """
    _ahead.append(_spawn(words))
    try:
        yield
    finally:
        while _ahead:
            _ahead.pop().discard()


def spawn_worker(*words: str) -> WorkerProcess:
    """Spawn a worker process, which waits for its options. `words` stand on its command line, for people to see."""
    return _ahead.pop() if _ahead else _spawn(words)


def _spawn(words: tuple[str, ...]) -> WorkerProcess:
    # posix_spawn, never fork: this process may have the database open (R7).
    nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)  # first: where stdin is closed, the pipe must not be 0
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(
            sys.executable,
            command(ROLE, *words),
            without(os.environ),
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
    return WorkerProcess(pid, write_end)


def options_file(options: bytes) -> int:
    """A file without a name that holds options as `read_options` reads them; the descriptor is the caller's to close.

    On a command line every user of the machine could read them. The descriptor is none of those that a process of ours
    is spawned with.
    """
    low = os.memfd_create("options", os.MFD_CLOEXEC)
    fd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 16)
    os.close(low)
    left = memoryview(len(options).to_bytes(_SIZE) + options)
    while left:
        left = left[os.write(fd, left) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read_options() -> bytes | None:
    """The options of this process, once its starter has written them; None where that has ended instead."""
    size = int.from_bytes(_read(_SIZE))
    options = _read(size)
    return options if size and len(options) == size else None


def _read(size: int) -> bytes:
    """So many bytes of what the supervisor writes: fewer only at the end of it."""
    read = b""
    while len(read) < size and (more := os.read(ORDERS_FD, size - len(read))):
        read += more
    return read


def command(*words: str) -> list[str]:
    """The command line of a process of `queuectl.workers`, a worker or a supervisor."""
    # -P: a module in the working directory is not ours, and must not be run for one of the same name.
    return [sys.executable, "-P", "-m", "queuectl.workers", *words]


def stop_signals() -> list[signal.Signals]:
    """The signals that stop workers, without those that were ignored when this process began (nohup)."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
