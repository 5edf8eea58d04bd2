"""Which processes belong to an attempt, found from outside of it, and how to end them without ever hitting a stranger.

A command leaves three traces (R18): the lock on its output file, which each process holds that inherited fd 1, 2 or the
extra one; a tag in the environment; and its session. A pid alone proves nothing, for it may be given away at any time:
whatever is ended here is first held by a pidfd, looked at again, and only then signalled. Zombies count as gone.
"""

import errno
import fcntl
import functools
import os
import select
import signal
import sys
from collections.abc import Callable, Container, Iterable, Iterator

from queuectl.liveness import boot_id as boot_id
from queuectl.liveness import machine_id as machine_id
from queuectl.liveness import pid_namespace as pid_namespace

TAG = "QUEUECTL_TAG"
"""The environment variable that says which attempt a process belongs to: identity, job and lease."""

FREE = "none"
"""Its value for what belongs to none: a worker that was started by a job."""

Still = Callable[[int], bool]
"""Whether the process with this pid (still) is one of those that were looked for."""

_GONE = (FileNotFoundError, ProcessLookupError)


def pids() -> Iterator[int]:
    """All processes that can be seen here. Raises OSError where there is no /proc."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on (the third in proc(5)); [] where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read()
    except _GONE:
        return []
    return text[text.rfind(b")") + 2 :].split()


def _living(pid: int) -> list[bytes]:
    """The same; [] also of a process that has ended and was not reaped."""
    fields = _stat(pid)
    return fields if fields and fields[0] not in b"ZX" else []


def state(pid: int) -> str | None:
    """R, S, D, T (stopped), t (traced), Z (ended, not reaped), as /proc has it; None: there is no such process."""
    fields = _stat(pid)
    return fields[0].decode() if fields else None


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid it names a process. None: there is none."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def session(pid: int) -> int:
    """The session of a living process, which is the pid of who began it; 0: no such process, or begun outside of here.

    Outside is what this pid namespace doesn't see: whoever entered a container may have brought a session along.
    """
    fields = _living(pid)
    return int(fields[3]) if fields else 0


def in_group(pid: int, pgid: int) -> bool:
    """Whether the process lives and is in the process group."""
    fields = _living(pid)
    return bool(fields) and int(fields[2]) == pgid


def group(pgid: int) -> list[int]:
    """The living processes of a process group."""
    return [pid for pid in pids() if in_group(pid, pgid)]


def given_away(pid: int) -> bool:
    """Whether somebody has this pid. Of a leader that was reaped: then nothing is left of its group, for the kernel
    gives no number away that still names a group."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def is_tagged(pid: int, tag: str, database: str | None = None) -> bool:
    """Whether the process was started with this tag (and for this database), as far as we may read its environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            text = file.readall()
    except (*_GONE, PermissionError):
        return False
    wanted = [f"{TAG}={tag}", *([f"QUEUECTL_DB={database}"] if database is not None else [])]
    return all(os.fsencode(f"\0{each}\0") in b"\0" + text + b"\0" for each in wanted)


def is_hidden(pid: int) -> bool:
    """Whether the process lives and carries no tag at all, as far as we may read its environment."""
    if not _living(pid):
        return False
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            text = file.readall()
    except _GONE:
        return False
    except PermissionError:
        return True
    return f"\0{TAG}=".encode() not in b"\0" + text


def by_tag(tag: str) -> list[int]:
    """The living processes that were started with this tag."""
    return [pid for pid in pids() if is_tagged(pid, tag)]


def any_tagged(tags: Iterable[str]) -> str | None:
    """One of these tags that a living process was started with; None where there is none."""
    wanted = {tag.encode(): tag for tag in tags}
    for pid in pids():
        try:
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                text = b"\0" + file.readall()
        except (*_GONE, PermissionError):
            continue
        found = text.partition(f"\0{TAG}=".encode())[2].partition(b"\0")[0]
        if found in wanted:
            return wanted[found]
    return None


def lock_free(path: str) -> bool:
    """Whether nobody holds the lock on an output file (14 µs). Raises FileNotFoundError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two who ask don't mislead each other
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def is_writer(pid: int, path: str) -> bool:
    """Whether the process has this file open for writing: who only reads it (`tail -f`) is no part of a job."""
    name = os.path.basename(path)
    try:
        wanted = os.stat(path) if os.path.lexists(path) else None
        for fd in os.listdir(f"/proc/{pid}/fd"):
            link = f"/proc/{pid}/fd/{fd}"
            try:
                target = os.readlink(link)
                if name not in target:  # asked first: it touches no file system but /proc
                    continue
                if target == f"{path} (deleted)" and _writes(pid, fd):
                    return True
                if wanted is None:
                    continue
                found = os.stat(link)
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino) and _writes(pid, fd):
                    return True
            except _GONE:
                continue
    except (*_GONE, PermissionError):
        return False
    return False


def _writes(pid: int, fd: str) -> bool:
    with open(f"/proc/{pid}/fdinfo/{fd}", "rb", buffering=0) as file:
        text = file.read()
    flags = text.partition(b"flags:")[2].split(maxsplit=1)[0]
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def holders(path: str) -> list[int]:
    """The processes that have this file open for writing, as far as we may see their files."""
    return [pid for pid in pids() if is_writer(pid, path)]


def subreaper() -> bool:
    """Have orphans among our descendants fall to us instead of to init. False: this system has no such thing."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    set_child_subreaper = 36
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(set_child_subreaper, *map(ctypes.c_ulong, (1, 0, 0, 0))) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"can't become a subreaper: {os.strerror(number)}")
    return True


def children() -> list[int]:
    """Our main thread's children, adopted ones too (which fall to it), zombies too (1 us)."""
    fd = _children_of(os.getpid())
    if fd < 0:
        me = str(os.getpid()).encode()
        return [pid for pid in pids() if _stat(pid)[1:2] == [me]]
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


class Ending:
    """Processes being ended, each through its pidfd. Nothing here blocks; `fileno()` is readable when one has ended."""

    def __init__(self) -> None:
        self._fds: dict[int, int] = {}

    def add(self, pid: int, still: Still, number: int = signal.SIGTERM) -> bool:
        """Signal a process, if it then still is one of those meant. Never ourselves, our group, our parent, or init."""
        if pid in self._fds:
            return True
        if pid in (1, os.getpid(), os.getppid()):
            return False
        try:
            fd = os.pidfd_open(pid)
        except OSError as problem:
            if problem.errno in (errno.ESRCH, errno.EINVAL):
                return False
            raise
        try:
            spared = os.getpgid(pid) == os.getpgrp() or not still(pid)
        except ProcessLookupError:
            spared = True
        if spared:
            os.close(fd)
            return False
        self._fds[pid] = fd
        _send(fd, number)
        return True

    def signal(self, number: int) -> None:
        """Signal all that live."""
        for fd in self._fds.values():
            _send(fd, number)

    def living(self) -> list[int]:
        """The pids of those that have not ended yet."""
        if self._fds:
            for fd in wait(self._fds.values(), 0):
                pid = next(pid for pid, its in self._fds.items() if its == fd)
                os.close(self._fds.pop(pid))
        return list(self._fds)

    def fileno(self) -> int:
        """The pidfd of one that lives, -1 where none does."""
        return next(iter(self._fds.values()), -1)

    def close(self) -> None:
        """Let go of all, ended or not."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


def _send(pidfd: int, number: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
        if number == signal.SIGTERM:
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)  # a stopped process would not see the TERM
    except (ProcessLookupError, PermissionError):
        pass  # ended; or another user's, and then it stays among the living and is told of


def wait(pidfds: Iterable[int], seconds: float) -> list[int]:
    """Wait until at least one of these ends, at most so long. Returns those that have."""
    poll = select.poll()
    for fd in pidfds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)]
