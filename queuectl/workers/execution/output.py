"""The output file of an attempt: its start token (R11), the lock that shows if anything of it lives (R18), its size.

A command appends to it by itself: nobody stands between it and the disk. What is too much is taken out of the middle:
the file keeps its size and has a hole there, which is how a reader knows what is missing.
"""

import fcntl
import os


class AlreadyStarted(Exception):
    """The output file exists: this attempt was started, or released by recovery, and is not ours to start (R11)."""


def create(path: str) -> int:
    """Make the file and open it for appending, mode 0600. Raises AlreadyStarted where the path is taken, or OSError."""
    umask = os.umask(0o077)  # the mode is to be 0600 whatever umask the worker has, which its jobs inherit
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AlreadyStarted(path) from None
    finally:
        os.umask(umask)
    if fd <= 2:  # a worker without stdin, stdout or stderr: the command's own go there
        low, fd = fd, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(low)
    return fd


def lock(fd: int) -> None:
    """Take the lock on a file that was just made, without waiting. Raises OSError where somebody keeps hold of it."""
    for _ in range(1000):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody asks just now whether it is free, which takes microseconds
            continue
        return
    raise OSError("somebody else holds the lock on the output file")


class Trim:
    """What is cut out of one output file so that it takes no more than about `limit` bytes of disk."""

    __slots__ = ("_begin", "_until")

    def __init__(self) -> None:
        self._begin = self._until = 0

    @property
    def cut(self) -> int:
        """Bytes cut out so far."""
        return self._until - self._begin

    def trim(self, fd: int, found: os.stat_result, limit: int) -> None:
        """Give back the blocks between the first and the last half limit. Raises OSError where that is not possible."""
        block = 4096
        size = found.st_size
        if size < self._until:  # the command has emptied its file and begun anew
            self._begin = self._until = 0
        begin = -(-(limit // 2) // block) * block
        until = (size - limit // 2) // block * block
        # Asked of the disk, not of what was cut before: a file may be emptied and grow again between two looks.
        if until > begin and found.st_blocks * 512 >= limit + max(block, limit // 16):
            _punch(fd, begin, until - begin)
            self._begin, self._until = begin, until


def _punch(fd: int, offset: int, length: int) -> None:
    import ctypes

    keep_size, punch_hole = 1, 2
    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = getattr(libc, "fallocate64", None) or libc.fallocate
    if fallocate(fd, ctypes.c_int(keep_size | punch_hole), ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def cut(path: str) -> tuple[int, int] | None:
    """Where the middle of an output file was cut out (begin and end, in bytes); None where it is whole."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        begin = file.seek(0, os.SEEK_HOLE) if size else 0
        if begin >= size:
            return None
        try:
            return begin, file.seek(begin, os.SEEK_DATA)
        except OSError:  # nothing but the hole up to the end
            return begin, size
