"""The doorbell: how one process wakes others at once, without their polling (a FIFO for each who listens).

A bell carries no message: it says "look". It may be rung once for many things, or for nothing, and a ring that could
not be delivered is lost; what counts stands in the log.
"""

import errno
import os
import select
from collections.abc import Container, Sequence
from typing import Self

from queuectl.host.folder_watch import FolderWatch

FLAGS = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW


class Bell:
    """The listener's end, made by `listen`; a context manager. It can stand in a selector by its `fileno()`."""

    __slots__ = ("_fd", "_owner", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._owner = os.getpid()

    def fileno(self) -> int:
        """The descriptor that is readable once the bell was rung."""
        return self._fd

    def clear(self) -> bool:
        """Forget the rings so far; whether there were any. Clear first and look then, or a ring between is lost."""
        rung = False
        while True:
            try:
                rung = bool(os.read(self._fd, 65536)) or rung
            except BlockingIOError:
                return rung

    def wait(self, timeout: float | None) -> bool:
        """Sleep until rung (then clear) or until `timeout` seconds passed (None: for ever); whether it was rung."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000)) and self.clear()

    def close(self) -> None:
        """Listen no more, and remove the FIFO. In a forked child only the child's descriptor is closed."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        if self._owner == os.getpid():
            _remove(self.path)
        os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def listen(folder: str, kind: str) -> Bell:
    """Hang up a bell of this kind in the folder. Raises OSError where that is impossible.

    It is made under a dot name and renamed when it is open: seen earlier, it would look like a dead listener's.
    """
    while True:
        name = f"{kind}-{os.urandom(8).hex()}"
        draft, path = f"{folder}/.{name}", f"{folder}/{name}"
        fd = -1
        os.mkfifo(draft, 0o600)
        try:
            os.chmod(draft, 0o600)  # whatever the umask took away
            fd = os.open(draft, os.O_RDWR | FLAGS)  # a writer of our own: never an end of file
            os.rename(draft, path)
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
            _remove(draft)
            if isinstance(error, FileNotFoundError):
                continue  # a ring came before it was open, and took it for a dead listener's
            raise
        return Bell(path, fd)


class Bells:
    """The bells in a folder, for those that ring them often."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._watch = FolderWatch(folder)
        self._names: Sequence[str] = ()

    def ring(self, kinds: Container[str]) -> int:
        """Ring every bell of these kinds, remove those whose listener is dead, and return how many were rung.

        Never raises: it comes after the commit, and what was committed must not look failed because no listener could
        be woken.
        """
        try:
            if self._watch.changed():
                self._names = os.listdir(self._folder)
                self._watch.looked()
        except OSError:
            return 0
        rung = 0
        for name in self._names:
            if name.lstrip(".").rpartition("-")[0] in kinds:  # drafts too: they stay where a listener died early
                rung += _ring(f"{self._folder}/{name}")
        return rung


def ring(folder: str, kinds: Container[str]) -> int:
    """Ring once: see `Bells.ring`."""
    return Bells(folder).ring(kinds)


def silent(folder: str) -> int:
    """How many bells hang there whose listener is dead. Raises OSError where the folder can't be read."""
    return sum(not _is_heard(f"{folder}/{name}") for name in os.listdir(folder))


def _is_heard(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_WRONLY | FLAGS))
    except OSError as error:
        return error.errno != errno.ENXIO
    return True


def _ring(path: str) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO:  # no process has it open for reading
            _remove(path)
        return False
    try:
        os.write(fd, b"\0")
    except BlockingIOError:
        return True  # full of rings already
    except BrokenPipeError:
        return False  # closed since
    finally:
        os.close(fd)
    return True


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # another process did
