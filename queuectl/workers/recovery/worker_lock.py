"""Lock files of workers: each worker holds an flock on its own, which the kernel releases when the worker dies.

The file is created under a dot name, locked, and only then linked to its name: locked after that, it would look like a
dead worker's for a moment. A recovery holds the dead worker's lock while it works (R19) and removes the file last.
"""

import fcntl
import os
from collections.abc import Callable
from typing import Self

from queuectl.errors import Invalid, NotFound
from queuectl.host.flock import locked
from queuectl.host.procfs import flock_owner


class NoLockFile(NotFound):
    """The worker has no lock file: it ended in good order, or was recovered."""


class WorkerLock:
    """A worker's lock file, held by this process: made by `take` or `try_lock`; a context manager."""

    __slots__ = ("_fd", "_owner", "path", "worker")

    def __init__(self, path: str, worker: str, fd: int) -> None:
        self.path = path
        self.worker = worker
        self._fd = fd
        self._owner = os.getpid()

    def close(self, *, keep: bool = False) -> None:
        """Remove the file, unless `keep` is set, and release the lock, in this order.

        In a forked child this closes the child's descriptor only.
        """
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        if not keep and self._owner == os.getpid() and _is_at(fd, self.path):
            _remove(self.path)
        os.close(fd)

    def replace(self, other: "WorkerLock") -> None:
        """Take over the descriptor of `other`, in place of a file that was removed; `other` is closed."""
        os.close(self._fd)
        self._fd, other._fd = other._fd, -1

    def fileno(self) -> int:
        """The descriptor that holds the lock."""
        return self._fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def take(folder: str, worker: str, fill: Callable[[int], None] | None = None) -> WorkerLock:
    """Create and lock the worker's lock file. Raises FileExistsError if the id is in use, OSError if it can't be made.

    `fill` is called with the descriptor, to write to the file before it gets its name.
    """
    path = _path(folder, worker)
    while True:
        draft = f"{folder}/.{worker}-{os.urandom(4).hex()}"
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)  # whatever the umask took away
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if fill is not None:
                fill(fd)
            os.link(draft, path)  # as rename, but never over another worker's
        except (BlockingIOError, FileNotFoundError):
            os.close(fd)  # `sweep` removed the draft before it was locked
            if not os.path.isdir(folder):
                raise
        except BaseException:
            os.close(fd)
            raise
        else:
            return WorkerLock(path, worker, fd)
        finally:
            _remove(draft)


def retake(held: WorkerLock, fill: Callable[[int], None]) -> bool:
    """Create the lock file of this process again, after it was removed or replaced by an unlocked copy.

    Returns False if another process holds the lock of that name: it is recovering this worker. Raises OSError if the
    file can't be made.
    """
    folder, worker = os.path.dirname(held.path), held.worker
    while True:
        try:
            new = take(folder, worker, fill)
        except FileExistsError:
            try:
                new = try_lock(folder, worker)
            except NoLockFile:
                continue
            if new is None:
                return False
            fill(new.fileno())
        held.replace(new)
        return True


def sweep(folder: str) -> None:
    """Remove the drafts of processes that died during `take`. Raises OSError if the folder can't be read."""
    for name in os.listdir(folder):
        if name[0] == "." and not locked(f"{folder}/{name}"):
            _remove(f"{folder}/{name}")


def try_lock(folder: str, worker: str) -> WorkerLock | None:
    """Lock the lock file of a dead worker; None if the worker, or a process that recovers it, holds the lock.

    Raises NoLockFile if there is no such file.
    """
    path = _path(folder, worker)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NoLockFile(f"worker {worker} has no lock file: it has ended, or was recovered") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:  # recovered and removed between open and flock
            raise NoLockFile(f"worker {worker} has just been recovered by another process")
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return WorkerLock(path, worker, fd)


def held(folder: str, worker: str) -> bool:
    """Whether the worker lives or is being recovered; False if it has no lock file."""
    return bool(locked(_path(folder, worker)))


def owner(folder: str, worker: str) -> int | None:
    """The pid of the process that holds the worker's lock, from /proc/locks; None if it lists none."""
    try:
        fd = os.open(_path(folder, worker), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return flock_owner(fd)
    finally:
        os.close(fd)


def ids(folder: str) -> list[str]:
    """The ids of workers with a lock file, dead or alive, in no order. Raises OSError if the folder can't be read."""
    return [name for name in os.listdir(folder) if name[0] != "."]


def _path(folder: str, worker: str) -> str:
    if not worker or worker[0] == "." or "/" in worker or "\0" in worker:
        raise Invalid(f"{worker!r} is no worker id: see `queuectl worker list`")
    return f"{folder}/{worker}"


def _is_at(fd: int, path: str) -> bool:
    """Whether the open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # removed by another process, perhaps with its folder
