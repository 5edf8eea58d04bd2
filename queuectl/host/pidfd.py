"""Processes that are signalled through pidfds, so that no signal reaches another process with the same pid."""

import errno
import os
import select
import signal
from collections.abc import Callable, Iterable

from queuectl.host.procfs import is_ignored

Still = Callable[[int], bool]
"""Whether the process with this pid (still) is one of those that are meant."""


class PidfdSet:
    """Processes being ended, each held by its pidfd. Nothing blocks.

    `fileno()` is readable when one has ended.
    """

    def __init__(self) -> None:
        self._fds: dict[int, int] = {}

    def add(self, pid: int, still: Still, number: int = signal.SIGTERM) -> bool:
        """Signal a process, if it then still is one of those meant; whether it was signalled.

        Where it ignores the signal, it is sent SIGTERM. Never this process, its group, its parent, or init. Raises
        OSError where no descriptor is left.
        """
        if pid in self._fds:
            return True
        fd = _open(pid, still)
        if fd < 0:
            return False
        self._fds[pid] = fd
        _send(fd, signal.SIGTERM if is_ignored(pid, number) else number)
        return True

    def signal(self, number: int) -> None:
        """Signal all that live."""
        for fd in self._fds.values():
            _send(fd, number)

    def living(self) -> list[int]:
        """The pids of those that have not ended yet."""
        if self._fds:
            for fd in wait(self._fds.values(), 0):
                pid = next(pid for pid, its in self._fds.items() if its == fd)
                os.close(self._fds.pop(pid))
        return list(self._fds)

    def fileno(self) -> int:
        """The pidfd of one that lives, -1 where none does."""
        return next(iter(self._fds.values()), -1)

    def close(self) -> None:
        """Close all descriptors, whether the processes have ended or not."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


def send(pid: int, still: Still, number: int) -> bool:
    """Signal a process as `PidfdSet.add` does, without keeping it."""
    fd = _open(pid, still)
    if fd < 0:
        return False
    try:
        _send(fd, number)
    finally:
        os.close(fd)
    return True


def _open(pid: int, still: Still) -> int:
    """The pidfd of a process that may be signalled and still is one of those meant; -1 where it is none."""
    if pid in (1, os.getpid(), os.getppid()):
        return -1
    try:
        fd = os.pidfd_open(pid)
    except OSError as problem:
        if problem.errno in (errno.ESRCH, errno.EINVAL):
            return -1
        raise
    try:
        spared = os.getpgid(pid) == os.getpgrp() or not still(pid)
    except ProcessLookupError:
        spared = True
    if spared:
        os.close(fd)
        return -1
    return fd


def _send(pidfd: int, number: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT):
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)  # a stopped process would not see it
    except (ProcessLookupError, PermissionError):
        pass  # it has ended; or it is another user's, and stays among the living


def wait(pidfds: Iterable[int], seconds: float) -> list[int]:
    """Wait until at least one of these processes ends, at most `seconds`. Returns the pidfds of those that have."""
    poll = select.poll()
    for fd in pidfds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)]
