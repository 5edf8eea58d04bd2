"""Ending everything of one attempt, wherever it went (R18): looked for by its traces, again until nothing is found."""

import os
import signal
from collections.abc import Callable, Iterable
from typing import NamedTuple

from queuectl.host.flock import locked
from queuectl.host.pidfd import PidfdSet
from queuectl.host.processes import is_writer, session
from queuectl.host.procfs import pids
from queuectl.workers.execution.traces import is_tagged

GRACE = 5.0
"""Seconds between TERM and KILL."""
_IN_VAIN = 1.0
"""Seconds after a KILL when what still lives counts as something that can't be ended."""

OrphanFinder = Callable[[], Iterable[int]]
"""The processes that have no trace and have fallen to this process: see `workers.orphans`."""


class Survivors(NamedTuple):
    """What a termination could not end. False where nothing is left."""

    pids: tuple[int, ...] = ()
    locked: bool = False
    """The output file is locked, though nobody who holds it may be found (another user's, another pid namespace's)."""

    def __bool__(self) -> bool:
        return bool(self.pids) or self.locked


class Termination:
    """Ends everything of one attempt, step by step, for a loop that must not wait: call `tick` at `next_tick`.

    What has the tag or the open output file, what shares a session with a tagged process, and `orphans` get a TERM, and
    after `grace` seconds a KILL. It is over when two looks in a row found nothing and the lock on the output file is
    free.
    """

    def __init__(
        self, path: str, tag: str, *, grace: float = GRACE, orphans: OrphanFinder = tuple, database: str | None = None
    ) -> None:
        """`database`: only what was started for the queue at this path has the tag; another queue's may be the same."""
        self._path, self._tag, self._grace, self._orphans = path, tag, grace, orphans
        self.database = database
        self._ending = PidfdSet()
        self._sessions: set[int] = set()
        self._kill_at: float | None = None
        self._pause = 0.0
        self._clean = 0
        self.next_tick = 0.0
        """When to look again, in monotonic seconds."""
        self.left = Survivors()
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
        self.left = Survivors(living, not living and self._is_locked())
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
        tagged = {pid for pid in everyone if self._is_tagged(pid)}
        self._sessions = {session(pid) for pid in tagged} - {os.getsid(0), 0}
        number = signal.SIGKILL if self._kill_at is not None and now >= self._kill_at else signal.SIGTERM
        for pid in everyone:
            if pid in tagged or self._is_ours(pid):
                self._ending.add(pid, self._is_ours, number)
        for pid in self._orphans():
            self._ending.add(pid, self._is_orphan, number)

    def _is_ours(self, pid: int) -> bool:
        in_session = bool(self._sessions) and session(pid) in self._sessions
        return in_session or self._is_tagged(pid) or is_writer(pid, self._path)

    def _is_tagged(self, pid: int) -> bool:
        return is_tagged(pid, self._tag, self.database)

    def _is_orphan(self, pid: int) -> bool:
        return pid in self._orphans()

    def _is_locked(self) -> bool:
        return bool(locked(self._path))
