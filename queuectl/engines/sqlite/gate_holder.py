"""The holder of the gate: read, described for people, and ended where it is a stopped worker (R5).

The text that a holder writes into the gate's file may be stale (the lock decides), so before anybody is killed the
kernel's own list of locks is asked too.
"""

import os

import msgspec

from queuectl.clock import monotonic
from queuectl.errors import shown
from queuectl.host import procfs
from queuectl.host.procfs import flock_owner, look

NO_WORKER = "-"
"""The worker's id in the text of a holder that is none."""

STEP = 1.0
"""Seconds between two looks at the holder."""


class Holder(msgspec.Struct, frozen=True):
    """Who wrote itself into the gate: pid and start time (clock ticks since boot), pid namespace, worker id or "-"."""

    pid: int
    started: int
    namespace: int
    worker: str

    def text(self) -> bytes:
        """As it stands in the file, up to the line's end; what follows is older and longer."""
        return f"{self.pid} {self.started} {self.namespace} {self.worker}\n".encode()


def read_holder(fd: int) -> Holder | None:
    """The holder named in the gate's file; None where none is (legibly)."""
    fields = os.pread(fd, 512, 0).partition(b"\n")[0].decode(errors="replace").split(" ")
    if len(fields) == 4 and all(field.isdecimal() for field in fields[:3]):
        return Holder(int(fields[0]), int(fields[1]), int(fields[2]), fields[3])
    return None


def namespace() -> int:
    """The number of this process's pid namespace (pids of two namespaces can't be compared); 0 where unknown."""
    return int(procfs.pid_namespace().strip("pid:[]") or 0)


class HolderWatch:
    """What one who waits has seen of the holder; a judgement needs what itself saw, on its own monotonic clock."""

    def __init__(self, fd: int, stuck: float) -> None:
        self.fd = fd
        self.stuck = stuck
        self.step = min(STEP, stuck / 5)
        self.holder: Holder | None = None
        self.stopped = 0.0
        self.last = monotonic()

    def look(self) -> None:
        """Look once more; kill the holder where it is a worker that was seen stopped for `stuck` seconds throughout."""
        now = monotonic()
        since, self.last = min(now - self.last, 2 * self.step), now  # where we were stopped ourselves, we saw nothing
        before, self.holder = self.holder, read_holder(self.fd)
        if self.holder is None or self.holder != before or not self._is_stopped(self.holder):
            self.stopped = 0.0
            return
        self.stopped += since
        if self.stopped >= self.stuck:
            if self.holder.worker != NO_WORKER:
                self._kill(self.holder)
            self.stopped = 0.0

    def describe(self) -> str:
        """The holder for people: who it is, what it is doing, and what to do about it."""
        holder = read_holder(self.fd)
        pid = flock_owner(self.fd) or (holder.pid if holder else 0)
        process = look(pid) if pid else None
        if holder and holder.pid == pid and holder.namespace != namespace():
            return f"by process {pid} of another container: wait for it, or end it there"
        if not process or (holder and holder.pid == pid and holder.started != process.started):
            return "by a process that can't be seen from here: wait for it"
        who = f"by process {pid} ({_command(pid)})"
        if holder and holder.pid == pid and holder.worker != NO_WORKER:
            who = f"by worker {holder.worker}, process {pid} ({_command(pid)})"
        if process.state == "T":
            return f"{who}, which is stopped: continue it (kill -CONT {pid}) or end it"
        return f"{who}, which is busy: try again, or end it"

    def _is_stopped(self, holder: Holder) -> bool:
        process = look(holder.pid) if holder.namespace == namespace() else None
        return process is not None and process.started == holder.started and process.state == "T"

    def _kill(self, holder: Holder) -> None:
        import signal

        try:
            process = os.pidfd_open(holder.pid)
        except ProcessLookupError:
            return  # and its lock is free
        try:
            # From here on the pid can't be given away: is it the one we judged, and inside? Whether its lock file is
            # there does not matter: the process itself, known by its start, is what lives.
            if (
                read_holder(self.fd) == holder
                and self._is_stopped(holder)
                and flock_owner(self.fd) in (None, holder.pid)
            ):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        except PermissionError:
            pass  # another user's: it can only be waited for, and named
        except ProcessLookupError:
            pass  # ended by itself
        finally:
            os.close(process)


def _command(pid: int) -> str:
    """The command line of a process, short and printable."""
    words = procfs.command_line(pid)
    return shown(words if len(words) <= 80 else words[:79] + "…") or "?"
