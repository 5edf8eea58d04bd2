"""The output file of an attempt: its start token (R11), the lock its processes hold (R18), and its size limit.

The command appends to the file directly. Past the limit, the middle of the file is cut out: the file keeps its size and
has a hole there, from which a reader knows what is missing.
"""

import fcntl
import os


class AlreadyStarted(Exception):
    """The output file exists: the attempt was already started, or released by recovery (R11)."""


def create(path: str) -> int:
    """Create the file with mode 0600, open for appending. Raises AlreadyStarted if the path exists, or OSError."""
    umask = os.umask(0o077)  # mode 0600 whatever the worker's umask, which its jobs inherit
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AlreadyStarted(path) from None
    finally:
        os.umask(umask)
    if fd <= 2:  # a worker without standard streams: 0 to 2 are the command's
        low, fd = fd, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(low)
    return fd


def lock(fd: int) -> None:
    """Lock a file that was just created, without waiting. Raises OSError if another process holds the lock."""
    for _ in range(1000):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process tests the lock, which takes microseconds
            continue
        return
    raise OSError("another process holds the lock on the output file")


class Trim:
    """Cuts out the middle of one output file, so that it takes about `limit` bytes of disk at most."""

    __slots__ = ("_begin", "_until")

    def __init__(self) -> None:
        self._begin = self._until = 0

    @property
    def cut(self) -> int:
        """Number of bytes cut out."""
        return self._until - self._begin

    def trim(self, fd: int, found: os.stat_result, limit: int) -> None:
        """Free the blocks between the first and the last `limit // 2` bytes. Raises OSError if that is not possible."""
        block = 4096
        size = found.st_size
        if size < self._until:  # the command has truncated its file
            self._begin = self._until = 0
        begin = -(-(limit // 2) // block) * block
        until = (size - limit // 2) // block * block
        # By the blocks on disk, not by the last cut: a file may be truncated and grow again between two calls.
        if until > begin and found.st_blocks * 512 >= limit + max(block, limit // 16):
            from queuectl.host.fallocate import punch_hole  # ctypes is needed by few workers

            punch_hole(fd, begin, until - begin)
            self._begin, self._until = begin, until


def cut(path: str) -> tuple[int, int] | None:
    """The part of an output file that was cut out (begin and end, in bytes); None if it is complete."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        begin = file.seek(0, os.SEEK_HOLE) if size else 0
        if begin >= size:
            return None
        try:
            return begin, file.seek(begin, os.SEEK_DATA)
        except OSError:  # the hole reaches to the end
            return begin, size
