"""Which processes belong to an attempt, found from outside of it, and how to end them without ever hitting a stranger.

A command leaves three traces (R18): the lock on its output file, which each process holds that inherited fd 1, 2 or the
extra one; a tag in the environment; and its session. A pid alone proves nothing, for it may be given away at any time:
whatever is ended here is first held by a pidfd, looked at again, and only then signalled. Zombies count as gone.
"""

import errno
import fcntl
import os
import select
import signal
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from typing import NamedTuple

from queuectl import clock

TAG = "QUEUECTL_TAG"
"""The environment variable that says which attempt a process belongs to: identity, job and lease."""

_IN_VAIN = 1.0
"""Seconds after a KILL when what still lives counts as something that can't be ended."""

Still = Callable[[int], bool]
"""Whether the process with this pid (still) is one of those that were looked for."""

_GONE = (FileNotFoundError, ProcessLookupError)


class Left(NamedTuple):
    """What a hunt could not end. False where nothing is left."""

    pids: tuple[int, ...] = ()
    locked: bool = False
    """The output file is locked, though nobody who holds it may be found (another user's, another pid namespace's)."""

    def __bool__(self) -> bool:
        return bool(self.pids) or self.locked


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


def state(pid: int) -> str | None:
    """R, S, D, T (stopped), t (traced), Z (ended, not reaped), as /proc has it; None: there is no such process."""
    fields = _stat(pid)
    return fields[0].decode() if fields else None


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid it names a process. None: there is none."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def session(pid: int) -> int:
    """The session of a living process, which is the pid of who began it; 0 where there is no such process."""
    fields = _stat(pid)
    return int(fields[3]) if fields and fields[0] not in b"ZX" else 0


def in_group(pid: int, pgid: int) -> bool:
    """Whether the process lives and is in the process group."""
    fields = _stat(pid)
    return bool(fields) and int(fields[2]) == pgid and fields[0] not in b"ZX"


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


def is_tagged(pid: int, tag: str) -> bool:
    """Whether the process was started with this tag, as far as we may read its environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            text = file.readall()
    except (*_GONE, PermissionError):
        return False
    return f"\0{TAG}={tag}\0".encode() in b"\0" + text + b"\0"


def by_tag(tag: str) -> list[int]:
    """The living processes that were started with this tag."""
    return [pid for pid in pids() if is_tagged(pid, tag)]


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
        wanted = os.stat(path)
        for fd in os.listdir(f"/proc/{pid}/fd"):
            link = f"/proc/{pid}/fd/{fd}"
            try:
                if name not in os.readlink(link):  # asked first: it touches no file system but /proc
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
    """Our children, adopted ones too, zombies too."""
    try:
        found: list[int] = []
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children", "rb", buffering=0) as file:
                found += map(int, file.readall().split())
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN, or a thread that has just ended
        me = str(os.getpid()).encode()
        return [pid for pid in pids() if _stat(pid)[1:2] == [me]]
    return found


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

    def wait(self, seconds: float) -> None:
        """Wait until one of them ends, at most so long."""
        wait(self._fds.values(), seconds)

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


def end(these: Iterable[int], grace: float, still: Still, *, patience: float = 2.0) -> list[int]:
    """TERM these processes, KILL them after `grace` seconds, and return those that live `patience` seconds later."""
    ending = Ending()
    try:
        for pid in these:
            ending.add(pid, still)
        for seconds, number in ((grace, signal.SIGKILL), (patience, None)):
            until = clock.monotonic() + seconds
            while ending.living() and (rest := until - clock.monotonic()) > 0:
                ending.wait(rest)
            if number is not None:
                ending.signal(number)
        return ending.living()
    finally:
        ending.close()


class Hunt:
    """Ends everything of one attempt, step by step, for a loop that must not wait: call `tick` at `next_tick`.

    What has the tag or the open output file, and what shares a session with a tagged process, gets a TERM, and after
    `grace` seconds a KILL. It is over when two looks in a row found nothing and the lock on the output file is free.
    """

    def __init__(self, path: str, tag: str, *, grace: float = 5.0) -> None:
        self._path, self._tag, self._grace = path, tag, grace
        self._ending = Ending()
        self._sessions: set[int] = set()
        self._kill_at: float | None = None
        self._pause = 0.0
        self._clean = 0
        self.next_tick = 0.0
        """When to look again, in monotonic seconds."""
        self.left = Left()
        """What was left at the last look."""

    def tick(self, now: float) -> bool:
        """Look, signal; True when nothing is left. `now` is monotonic seconds."""
        before = self.left
        if self._ending.living():  # these first: to look through all of /proc costs milliseconds
            if self._kill_at is not None and now >= self._kill_at:
                self._ending.signal(signal.SIGKILL)
        else:
            self._look(now)
        living = tuple(self._ending.living())
        self.left = Left(living, not living and self._is_locked())
        if self._kill_at is None and self.left:
            self._kill_at = now + self._grace
        self._clean = 0 if self.left else self._clean + 1
        self._pause = min(self._pause * 2, 0.25) if self.left and self.left == before else 0.005
        self.next_tick = now + self._pause
        return self._clean >= 2

    @property
    def stuck(self) -> bool:
        """Whether something lives on though it was killed, or can't be found though it has the lock."""
        return self._kill_at is not None and self.next_tick > self._kill_at + _IN_VAIN and bool(self.left)

    def fileno(self) -> int:
        """Readable when one of the processes has ended, which is worth a `tick` before its time; -1: there is none."""
        return self._ending.fileno()

    def close(self) -> None:
        """Let go of all, ended or not."""
        self._ending.close()

    def _look(self, now: float) -> None:
        everyone = list(pids())
        tagged = {pid for pid in everyone if is_tagged(pid, self._tag)}
        self._sessions = {session(pid) for pid in tagged} - {os.getsid(0), 0}
        number = signal.SIGKILL if self._kill_at is not None and now >= self._kill_at else signal.SIGTERM
        for pid in everyone:
            if pid in tagged or self._is_ours(pid):
                self._ending.add(pid, self._is_ours, number)

    def _is_ours(self, pid: int) -> bool:
        in_session = bool(self._sessions) and session(pid) in self._sessions
        return in_session or is_tagged(pid, self._tag) or is_writer(pid, self._path)

    def _is_locked(self) -> bool:
        try:
            return not lock_free(self._path)
        except FileNotFoundError:
            return False


def hunt(path: str, tag: str, deadline: float, *, grace: float = 5.0) -> Left:
    """End everything of one attempt (`Hunt`), waiting until `deadline` (monotonic seconds). Returns what is left."""
    hunting = Hunt(path, tag, grace=grace)
    try:
        while not hunting.tick(now := clock.monotonic()):
            if now >= deadline:
                return hunting.left
            pause = max(0.0, min(hunting.next_tick, deadline) - now)
            wait([hunting.fileno()] if hunting.fileno() >= 0 else [], pause)
        return Left()
    finally:
        hunting.close()
