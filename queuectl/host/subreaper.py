"""Orphans among a process's descendants: adopted instead of by init, listed, reaped (prctl(2))."""

import functools
import os
from collections.abc import Container

from queuectl.host.procfs import look, pids

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Have orphans among this process's descendants become its children. Raises OSError where that is refused."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0))) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"can't become a subreaper: {os.strerror(number)}")


def children() -> list[int]:
    """The children of the main thread, to which adopted ones fall, zombies too (1 µs)."""
    fd = _children_of(os.getpid())
    if fd < 0:
        me = os.getpid()
        return [pid for pid in pids() if (found := look(pid)) and found.parent == me]
    text = b""
    while piece := os.pread(fd, 1 << 16, len(text)):
        text += piece
    return [*map(int, text.split())]


@functools.cache
def _children_of(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return -1


def reap(known: Container[int]) -> list[tuple[int, int]]:
    """Reap the children that have ended, but those `known` (they are waited for elsewhere): pids and wait statuses."""
    ended: list[tuple[int, int]] = []
    for pid in children():
        if pid not in known:
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            if found:
                ended.append((pid, status))
    return ended
