"""The parent's fence: where a worker hangs past its lease, its parent ends it and what it runs (R48).

The worker says in its lock file by when that is to happen. So neither the worker nor the database is asked.
"""

import os
import signal
from collections.abc import Collection, Iterable
from contextlib import suppress

from queuectl.clock import boottime
from queuectl.home import Home
from queuectl.host.pidfd import send
from queuectl.host.processes import session
from queuectl.host.procfs import descendants
from queuectl.queue import Queue
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.execution import traces
from queuectl.workers.execution.traces import OrphanFinder
from queuectl.workers.recovery import attempt_table
from queuectl.workers.recovery.termination import Termination
from queuectl.workers.stderr import say
from queuectl.workers.worker_process import WorkerProcess

LOOK = 0.5
"""Seconds between two looks."""
AGAIN = 0.01
"""Seconds between two looks while anything is left of what is being ended."""
WHY = "was killed: it hung until its lease ran out"


class FencedAttempts:
    """What a worker ran whose lease has run out: all of it is killed, as far as it can be found."""

    def __init__(self, home: Home, worker: int, mains: Collection[int], orphans: OrphanFinder) -> None:
        """`worker` is its process, which still lives; `mains` are those that lead the sessions of its attempts."""
        members = [pid for pid in descendants(worker) if session(pid) in mains]
        self._sessions = {session(pid) for pid in members}
        tags = {tag for pid in members if (tag := traces.tag_of(pid)) not in (None, traces.FREE)}
        self._terminations = [
            Termination(_output(home, tag), tag, grace=0.0, number=signal.SIGKILL, orphans=orphans) for tag in tags
        ]

    def tick(self, now: float) -> bool:
        """Kill what is found. Returns True when nothing is left."""
        for pid in self._sessions:  # first: a shell would report that its command was killed
            send(pid, self._is_member, signal.SIGKILL)
        members = [pid for pid in descendants(os.getpid()) if self._is_member(pid)]
        for pid in members:
            send(pid, self._is_member, signal.SIGKILL)
        for each in [each for each in self._terminations if now >= each.next_tick and each.tick(now)]:
            each.close()
            self._terminations.remove(each)
        return not members and not self._terminations

    def _is_member(self, pid: int) -> bool:
        return session(pid) in self._sessions


class ParentFence:
    """Watches the deadlines of workers, where other hosts can reach their database."""

    def __init__(self, queue: Queue, orphans: OrphanFinder) -> None:
        """`orphans` finds untagged processes of a dead worker's commands."""
        self.due = 0.0 if queue.engine.many_hosts else NEVER
        """When to look next, in monotonic seconds."""
        self.ended: set[str] = set()
        """The ids of the workers that were ended."""
        self._home = queue.home
        self._orphans = orphans
        self._ending: list[FencedAttempts] = []

    def look(self, workers: Iterable[WorkerProcess], now: float) -> None:
        """End those that are past their deadlines. `now` is monotonic seconds."""
        for worker in workers:
            path = f"{self._home.workers}/{worker.id}"
            if worker.id not in self.ended and boottime() >= attempt_table.read_deadline(path):
                self._end(worker, path)
        self._ending = [each for each in self._ending if not each.tick(now)]
        self.due = now + (AGAIN if self._ending else LOOK)

    def _end(self, worker: WorkerProcess, path: str) -> None:
        mains = {entry.pid for entry in attempt_table.read(path)}
        if not mains:
            return  # it hangs, and nobody comes to harm by that
        self.ended.add(worker.id)
        with suppress(OSError):  # disk full: recovery will only not know why
            attempt_table.write_kill_reason(path, WHY)
        self._ending.append(FencedAttempts(self._home, worker.pid, mains, self._orphans))
        signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)
        say(f"worker {worker.id} hangs, and its lease runs out: it is ended with what it runs")


def _output(home: Home, tag: str) -> str:
    """The output file of the attempt with this tag."""
    identity, _, rest = tag.partition(":")
    job, _, lease = rest.rpartition(":")
    return home.output_of(identity, job, int(lease))
