"""Who is alive: each worker holds an flock on its lock file, and the kernel lets go of it when the worker is dead.

The file is made under a dot name, locked, and only then gets its name: created and then locked, it would look like a
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
    """There is no lock file of that worker: it ended in order, or has been recovered."""


class WorkerLock:
    """A worker's lock file, held by this process: made by `take` or `try_lock`; a context manager."""

    __slots__ = ("_fd", "_owner", "path", "worker")

    def __init__(self, path: str, worker: str, fd: int) -> None:
        self.path = path
        self.worker = worker
        self._fd = fd
        self._owner = os.getpid()

    def close(self, *, keep: bool = False) -> None:
        """Remove the file and let go of the lock, in this order; `keep` leaves the file (a recovery to be continued).

        In a forked child only the child's descriptor is closed: worker and lock live on in the parent.
        """
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        if not keep and self._owner == os.getpid() and _is_at(fd, self.path):
            _remove(self.path)
        os.close(fd)

    def become(self, other: "WorkerLock") -> None:
        """Hold another file in the place of this one, which was removed; `other` is used up."""
        os.close(self._fd)
        self._fd, other._fd = other._fd, -1

    def fileno(self) -> int:
        """The descriptor behind which the lock is held."""
        return self._fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def take(folder: str, worker: str, fill: Callable[[int], None] | None = None) -> WorkerLock:
    """Declare this process to be the worker. Raises FileExistsError where that id is in use, OSError where it can't.

    `fill` writes into the file (its descriptor) before others can see it.
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
            os.close(fd)  # `sweep` came before our lock
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
    """Make the lock file of this process again, where it was removed or replaced by a copy that nobody holds.

    False where somebody holds the lock of that name: he has declared this worker lost. Raises OSError where it can't be
    made.
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
        held.become(new)
        return True


def sweep(folder: str) -> None:
    """Remove the drafts of those who died while they took their lock. Raises OSError where the folder can't be read."""
    for name in os.listdir(folder):
        if name[0] == "." and not locked(f"{folder}/{name}"):
            _remove(f"{folder}/{name}")


def try_lock(folder: str, worker: str) -> WorkerLock | None:
    """Take over a dead worker's lock; None while the worker, or somebody who recovers it, holds it.

    Raises NoLockFile where there is no such file (any more).
    """
    path = _path(folder, worker)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NoLockFile(f"worker {worker} has no lock file: it has ended, or was recovered") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:  # recovered and removed between our open and our lock
            raise NoLockFile(f"worker {worker} has just been recovered by another process")
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return WorkerLock(path, worker, fd)


def held(folder: str, worker: str) -> bool:
    """Whether the worker lives (or is being recovered). False where it has no lock file."""
    return bool(locked(_path(folder, worker)))


def owner(folder: str, worker: str) -> int | None:
    """The pid of the process that holds the worker's lock, by the kernel's list; None where that tells of none."""
    try:
        fd = os.open(_path(folder, worker), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return flock_owner(fd)
    finally:
        os.close(fd)


def ids(folder: str) -> list[str]:
    """The workers that have a lock file, dead or alive, in no order. Raises OSError where the folder can't be read."""
    return [name for name in os.listdir(folder) if name[0] != "."]


def _path(folder: str, worker: str) -> str:
    if not worker or worker[0] == "." or "/" in worker or "\0" in worker:
        raise Invalid(f"{worker!r} is no worker id: see `queuectl worker list`")
    return f"{folder}/{worker}"


def _is_at(fd: int, path: str) -> bool:
    """Whether the file behind `fd` is the one at the path: it may have been removed, and the name be another's."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # somebody else did, or removed the whole folder: the aim is reached
