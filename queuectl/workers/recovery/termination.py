"""Termination of all processes of one attempt, found by its traces, until none is left (R18)."""

import signal
from typing import NamedTuple

from queuectl.host.pidfd import PidfdSet
from queuectl.workers.execution.output import is_output_locked
from queuectl.workers.execution.search import AttemptSearch
from queuectl.workers.execution.traces import OrphanFinder

_IN_VAIN = 1.0
"""Seconds after a KILL before the remaining processes count as stuck."""


class Survivors(NamedTuple):
    """The processes that a termination has not ended yet. False if there are none."""

    pids: tuple[int, ...] = ()
    locked: bool = False
    """The output file is locked by a process that can't be found (another user's, or in another pid namespace)."""

    def __bool__(self) -> bool:
        return bool(self.pids) or self.locked


class Termination:
    """Ends all processes of one attempt without blocking: call `tick` at `next_tick` until it returns True.

    They get the stop signal, and after `grace` seconds a KILL. It is complete when two scans in a row found none of
    them and the lock on the output file is free.
    """

    def __init__(
        self,
        path: str,
        tag: str,
        *,
        grace: float,
        number: int = signal.SIGTERM,
        orphans: OrphanFinder = tuple,
        database: str | None = None,
    ) -> None:
        """See `AttemptSearch`; `grace` is in seconds, `number` is the stop signal."""
        self._path, self._grace, self._number = path, grace, number
        self._search = AttemptSearch(path, tag, orphans=orphans, database=database)
        self._ending = PidfdSet()
        self._kill_at: float | None = None
        self._pause = 0.0
        self._clean = 0
        self.next_tick = 0.0
        """When to call `tick` next, in monotonic seconds."""
        self.left = Survivors()
        """The survivors of the last scan."""

    def tick(self, now: float) -> bool:
        """Scan and signal. Returns True when nothing is left. `now` is monotonic seconds."""
        before = self.left
        if self._ending.living():  # these first: a scan of /proc costs milliseconds
            if self._kill_at is not None and now >= self._kill_at:
                self._ending.signal(signal.SIGKILL)
        else:
            self._scan(now)
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
        """Whether a process survived the KILL, or holds the lock and can't be found."""
        return self._kill_at is not None and self.next_tick > self._kill_at + _IN_VAIN and bool(self.left)

    def fileno(self) -> int:
        """A descriptor that is readable when a process has ended, for an early `tick`; -1 if there is none."""
        return self._ending.fileno()

    def close(self) -> None:
        """Close all descriptors; processes that still live are left as they are."""
        self._ending.close()

    def _scan(self, now: float) -> None:
        number = signal.SIGKILL if self._kill_at is not None and now >= self._kill_at else self._number
        for pid in self._search.find():
            self._ending.add(pid, self._search.still, number)

    def _is_locked(self) -> bool:
        return is_output_locked(self._path)
