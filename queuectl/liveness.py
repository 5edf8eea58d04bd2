"""Whether a worker lives: one judgement for everybody who would recover it, stop it, or count on it (R42).

A worker holds the lock on its lock file as long as it lives, and the kernel lets go of it at its end. But a file can be
removed, and a folder replaced by a copy, while the worker goes on: so a lock that is missing or free proves nothing
alone. The process that `worker_started` recorded must be gone as well, wherever it can be looked at from here.
"""

import enum
import fcntl
import functools
import os
from collections.abc import Iterable, Mapping

import msgspec

from projections.workers import Worker
from queuectl.paths import Place, identity

ID = "/id"
"""The file of the queue's folder that makes its identity."""


class Life(enum.Enum):
    """What is known of a worker's process."""

    LIVES = "lives"
    """It is there, or somebody is recovering what it left."""
    GONE = "gone"
    UNKNOWN = "unknown"
    """It can't be seen from here (another pid namespace or machine): only its heartbeats tell."""


def liveness(worker: Worker, place: Place) -> Life:
    """Whether the worker's process lives. Looks at its lock, and where that is not held at the process itself."""
    path = f"{place.workers}/{worker.id}"
    if locked(path):
        return Life.LIVES
    if worker.boot_id == boot_id():
        if worker.pid_namespace == pid_namespace() and (life := _of_process(worker, place)) is not Life.UNKNOWN:
            return life
    elif worker.machine_id == machine_id():
        return Life.GONE  # the machine has been down since
    # Its pid tells nothing here. A lock file that it took itself, and that is free, is the kernel's word.
    return Life.GONE if os.path.lexists(path) and is_its_folder(worker, place) else Life.UNKNOWN


def is_its_folder(worker: Worker, place: Place) -> bool:
    """Whether the queue's folder is the one in which the worker began: not removed and made anew, nor a copy."""
    return os.path.lexists(place.folder + ID) and identity(place) == worker.identity


def parents(workers: Iterable[Worker], place: Place) -> dict[int, int]:
    """The processes that have started these workers and restart them, by pid, and when each started.

    Those that can be seen from here: they have the database open as well. The process that asks is none of them.
    """
    found: dict[int, int] = {}
    for worker in workers:
        if (worker.boot_id, worker.pid_namespace) == (boot_id(), pid_namespace()):
            process = look(worker.pid)
            if process is None or process.started != worker.start_ticks or process.parent in (*found, 0, os.getpid()):
                continue
            if (above := look(process.parent)) is not None and _uses(process.parent, place) is Life.LIVES:
                found[process.parent] = above.started
    return found


def any_lives(known: Mapping[int, int]) -> bool:
    """Whether any of these processes, by pid and start, is there."""
    return any(
        (now := look(pid)) and now.started == started and now.state not in "ZX" for pid, started in known.items()
    )


def _of_process(worker: Worker, place: Place) -> Life:
    process = look(worker.pid)
    if process is None or process.state in "ZX" or worker.start_ticks not in (None, process.started):
        return Life.GONE
    if worker.start_ticks is not None and is_its_folder(worker, place):
        return Life.LIVES
    # Either nobody recorded when it began, and the pid may have been given away; or the folder is another one, because
    # it was replaced under the worker, or because this queue is a copy of that worker's.
    return _uses(worker.pid, place)


def _uses(pid: int, place: Place) -> Life:
    """Whether the process has this queue's database open, by what /proc tells of its descriptors."""
    folder = f"/proc/{pid}/fd"
    names = (place.database, place.database + " (deleted)")
    try:
        ours = os.stat(place.database)
        for fd in os.listdir(folder):
            try:
                if os.readlink(f"{folder}/{fd}") in names:
                    return Life.LIVES
                found = os.stat(f"{folder}/{fd}")
            except FileNotFoundError:
                continue  # closed since
            if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                return Life.LIVES
    except (FileNotFoundError, ProcessLookupError):
        return Life.GONE
    except PermissionError:
        return Life.UNKNOWN
    return Life.GONE


# What the kernel tells.


def locked(path: str) -> bool:
    """Whether somebody holds an flock on the file; False where it does not exist.

    It tries a shared lock for a microsecond, which can make somebody's non-blocking attempt fail meanwhile.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class Process(msgspec.Struct, frozen=True):
    """What /proc says of a process: its state's letter, its parent, and its start time in clock ticks since boot."""

    state: str
    parent: int
    started: int


def look(pid: int) -> Process | None:
    """A process as it is now; None where there is none (or no /proc)."""
    text = proc(f"{pid}/stat")
    fields = text[text.rfind(b")") + 2 :].split()
    return Process(fields[0].decode(), int(fields[1]), int(fields[19])) if len(fields) > 19 else None


def proc(name: str) -> bytes:
    """A file of /proc, whole; empty where there is none: the process has ended, or this is not Linux."""
    try:
        with open(f"/proc/{name}", "rb", buffering=0) as file:
            return file.readall()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


@functools.cache
def boot_id() -> str:
    """A name of this run of the kernel; "" where there is none."""
    return _line("/proc/sys/kernel/random/boot_id")


def machine_id() -> str:
    """A name of this machine (or container); "" where there is none."""
    return _line("/etc/machine-id") or _line("/var/lib/dbus/machine-id")


def pid_namespace() -> str:
    """A name of the pid namespace, in which pids mean something; "" where there is none."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except FileNotFoundError:
        return ""


def _line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except (FileNotFoundError, PermissionError):
        return ""
