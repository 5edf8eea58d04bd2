"""The output file of an attempt: its start token (R11), the lock its processes hold (R18), and its size limit.

The command appends to the file directly. Past the limit, the middle of the file is cut out: the file keeps its size and
has a hole there, from which a reader knows what is missing. Where stderr is kept apart it has a second file, which is
locked and limited as the first one is, but is no start token.
"""

import fcntl
import os

from queuectl.home import stderr_of
from queuectl.host.flock import locked


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


def is_output_locked(path: str) -> bool:
    """Whether a process holds the lock on this output file, or on that for stderr beside it."""
    return bool(locked(path)) or bool(locked(stderr_of(path)))


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


class OutputFiles:
    """The output files of one attempt, open for its command: one, or a second one for stderr.

    They are created and locked. Raises AlreadyStarted if the path exists, or OSError.
    """

    __slots__ = ("_fds", "_paths", "_trims")

    def __init__(self, path: str, *, split: bool) -> None:
        self._paths = (path, stderr_of(path)) if split else (path,)
        self._trims = [Trim() for _ in self._paths]
        self._fds: list[int] = []
        try:
            for each in self._paths:
                self._fds.append(create(each))
                lock(self._fds[-1])
        except BaseException:
            self.close()
            raise

    @property
    def stdout(self) -> int:
        """The descriptor of the output file."""
        return self._fds[0]

    @property
    def stderr(self) -> int:
        """The descriptor of the file for stderr: the same, where it is not apart."""
        return self._fds[-1]

    def close(self) -> None:
        """Close the descriptors; those of the command hold the locks. Harmless when repeated."""
        while self._fds:
            os.close(self._fds.pop())

    @property
    def size(self) -> int:
        """How many bytes were written, without files that the command has removed."""
        return sum(found.st_size for found in self._found() if found is not None)

    @property
    def cut(self) -> int:
        """How many of these were cut out."""
        return sum(trim.cut for trim in self._trims)

    def exceed(self, limit: int) -> bool:
        """Whether one of the files has more bytes."""
        return any(found is not None and found.st_size > limit for found in self._found())

    def trim(self, limit: int) -> None:
        """Cut out the middle of each file that takes more. Raises OSError if that is not possible."""
        for place, found in enumerate(self._found()):
            if found is not None and found.st_size > limit:
                fd = self._fds[place] if self._fds else os.open(self._paths[place], os.O_WRONLY | os.O_CLOEXEC)
                try:
                    self._trims[place].trim(fd, found, limit)
                finally:
                    if not self._fds:
                        os.close(fd)

    def _found(self) -> list[os.stat_result | None]:
        return [os.fstat(fd) for fd in self._fds] or [_stat(path) for path in self._paths]


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


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
