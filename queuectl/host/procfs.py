"""What the kernel tells of processes, locks and this machine, by /proc (proc(5)) and /etc/machine-id."""

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

SIGKILL = 9
"""(To import `signal` costs each command a millisecond.)"""


class Process(NamedTuple):
    """A process as /proc/PID/stat describes it."""

    state: str
    """R, S, D, T (stopped), t (traced), Z (ended, not reaped), X."""
    parent: int
    group: int
    session: int
    """The pid of the session's leader; 0 where it was begun outside of this pid namespace."""
    started: int
    """When it started, in clock ticks since boot: with the pid this names one process."""

    @property
    def lives(self) -> bool:
        """Whether it has not ended; a zombie has."""
        return self.state not in "ZX"


def look(pid: int) -> Process | None:
    """A process as it is now; None where there is none."""
    return _parsed(read(f"{pid}/stat"))


def look_at_thread(pid: int, thread: int | str) -> Process | None:
    """A thread of a process, as `look` has the process: its own are its state and its start."""
    return _parsed(read(f"{pid}/task/{thread}/stat"))


def _parsed(text: bytes) -> Process | None:
    fields = text[text.rfind(b")") + 2 :].split()  # the name in parentheses may hold anything
    if len(fields) < 20:
        return None
    return Process(fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def read(name: str) -> bytes:
    """A file of /proc, whole; empty where it is gone, or not for this user to read."""
    try:
        with open(f"/proc/{name}", "rb", buffering=0) as file:
            return file.readall()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def pids() -> Iterator[int]:
    """All processes of this pid namespace. Raises OSError where /proc can't be read."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def descendants(pid: int) -> list[int]:
    """The children of a process, theirs, and so on, zombies too. Some may be missing while others are reaped."""
    children = _listed_children if os.path.exists(f"/proc/{pid}/task/{pid}/children") else _all_children()
    found = children(pid)
    for each in found:
        found += children(each)  # what is added is visited as well
    return found


def _listed_children(pid: int) -> list[int]:
    """The children of each of its threads."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for thread in threads for child in read(f"{pid}/task/{thread}/children").split()]


def _all_children() -> Callable[[int], list[int]]:
    """The children of every process, for a kernel that does not list them (CONFIG_PROC_CHILDREN)."""
    everyone: dict[int, list[int]] = {}
    for pid in pids():
        if (process := look(pid)) is not None:
            everyone.setdefault(process.parent, []).append(pid)
    return lambda pid: [*everyone.get(pid, ())]


def open_descriptors() -> list[int]:
    """The descriptors of this process, and the one by which they were listed, which is closed; none without /proc."""
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return []


def is_kill_pending(pid: int) -> bool:
    """Whether a SIGKILL waits for the process: it is in an uninterruptible sleep, or frozen."""
    return _is_in("SigPnd|ShdPnd", pid, SIGKILL)


def is_stop_pending(pid: int) -> bool:
    """Whether a SIGSTOP waits for the process: it is in an uninterruptible sleep, and stops once it leaves it."""
    from signal import SIGSTOP  # its number depends on the processor

    return _is_in("SigPnd|ShdPnd", pid, SIGSTOP)


def is_ignored(pid: int, number: int) -> bool:
    """Whether the process ignores a signal, as what a shell starts in the background ignores SIGINT."""
    return _is_in("SigIgn", pid, number)


def _is_in(sets: str, pid: int, number: int) -> bool:
    """Whether a signal is in one of these signal sets of a process."""
    found = re.findall(rb"^(?:%b):\s*([0-9a-f]+)" % sets.encode(), read(f"{pid}/status"), re.MULTILINE)
    return any(int(signals, 16) >> number - 1 & 1 for signals in found)


def environment(pid: int) -> bytes:
    """The environment with which a process was started, each variable between two NULs.

    Empty where the process has ended, or is another user's.
    """
    text = read(f"{pid}/environ")
    return b"\0" + text + b"\0" if text else b""


def command_line(pid: int) -> str:
    """The command line of a process; empty where it has ended, or is hidden."""
    return read(f"{pid}/cmdline").decode(errors="replace").rstrip("\0").replace("\0", " ")


def flock_owner(fd: int) -> int | None:
    """The pid that holds an flock on the file behind `fd`; None where the kernel's list names none."""
    name = _lock_name(os.fstat(fd))
    for line in read("locks").splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[1] == b"FLOCK" and fields[5] == name:  # one that waits has "->" as second field
            return int(fields[4])
    return None


def read_locks(path: str, region: range) -> list[int]:
    """The pids that hold a shared POSIX lock on a file beginning at one of the bytes of `region`. Raises OSError."""
    return _posix_locks(path, region, b"READ")


def write_locks(path: str, region: range) -> list[int]:
    """The pids that hold an exclusive one. Raises OSError."""
    return _posix_locks(path, region, b"WRITE")


def _posix_locks(path: str, region: range, kind: bytes) -> list[int]:
    name = _lock_name(os.stat(path))
    found: set[int] = set()
    for line in read("locks").splitlines():
        fields = line.split()  # 1: POSIX ADVISORY READ 4711 fe:00:123 124 124
        if fields[1:4:2] == [b"POSIX", kind] and fields[5] == name and int(fields[6]) in region:
            found.add(int(fields[4]))
    return sorted(pid for pid in found if pid > 0)


def _lock_name(file: os.stat_result) -> bytes:
    return f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}".encode()


def umask() -> int:
    """This process's umask.

    Where it has one thread it is set for an instant (4 µs), all in one call of C code, so that no signal handler comes
    between. Other threads could make files meanwhile: then it is read (20 µs), as long as the kernel tells it.
    """
    try:
        alone = os.stat("/proc/self/task").st_nlink == 3  # a folder for each thread
        if not alone and (found := _status_umask()) is not None:
            return found
    except OSError:
        pass
    asked, before = itertools.tee(map(os.umask, (0o077,)))
    [(_, umask)] = zip(map(os.umask, asked), before, strict=True)
    return umask


def _status_umask() -> int | None:
    fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _, found, rest = os.read(fd, 256).partition(b"\nUmask:")  # the second line
    finally:
        os.close(fd)
    return int(rest.partition(b"\n")[0], 8) if found else None


@functools.cache
def boot_id() -> str:
    """A name of this run of the kernel; "" where there is none."""
    return _line("/proc/sys/kernel/random/boot_id")


def machine_id() -> str:
    """A name of this machine (or container); "" where there is none."""
    return _line("/etc/machine-id") or _line("/var/lib/dbus/machine-id")


def pid_namespace() -> str:
    """A name of the pid namespace, in which pids mean something; "" where /proc is not there."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except (FileNotFoundError, PermissionError):
        return ""
