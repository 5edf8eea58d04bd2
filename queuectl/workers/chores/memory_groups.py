"""The control groups that keep the memory limits of attempts (R47): where they are made, and their removal."""

from queuectl.host import cgroup
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.execution import memory
from queuectl.workers.execution.memory import MemoryLimit

_SHORTEST, _LONGEST = 0.05, 60.0
"""Seconds between two tries."""


class MemoryGroups:
    """The groups of one worker's attempts; a chore that removes those of ended ones in which something still ran."""

    def __init__(self, base: str | None) -> None:
        """`base`: the group in which they are made (see `cgroup.delegated`); None: RLIMIT_AS is all there is."""
        self.base = base
        self.due = NEVER
        """See `Chore`."""
        self._is_ready = False
        self._used: list[MemoryLimit] = []
        self._pause = _SHORTEST

    def path(self, output: str) -> str | None:
        """The group to be made for the attempt with this output file; None where there can be none.

        The first time the base is made ready for it, which this worker may have to leave.
        """
        if self.base is not None and not self._is_ready:
            try:
                cgroup.prepare(self.base, memory.RESTING)
            except OSError:
                self.base = None
            self._is_ready = True
        return memory.group_of(self.base, output)

    def ended(self, limit: MemoryLimit, now: float) -> None:
        """An attempt with this limit has ended: remove its group, now or once its last process has gone."""
        if not memory.lift(limit):
            self._used.append(limit)
            self._pause = _SHORTEST
            self.due = now + self._pause

    def run(self, now: float) -> None:
        """See `Chore`."""
        self._used = [limit for limit in self._used if not memory.lift(limit)]
        self._pause = min(2 * self._pause, _LONGEST)  # what a job left running on purpose may stay for days
        self.due = now + self._pause if self._used else NEVER
