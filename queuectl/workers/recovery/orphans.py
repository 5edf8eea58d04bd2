"""Orphans of commands that carry no trace of an attempt, and are found only as adopted children.

A process may close its descriptors, begin a session of its own and clear its environment. When its parent ends, it is
adopted by the nearest subreaper: the worker, or the worker's parent once the worker is dead (R18, R15).
"""

from collections.abc import Collection

import msgspec

from queuectl.host import processes, subreaper
from queuectl.workers.execution import traces


class KeptOrphan(msgspec.Struct, frozen=True):
    """An orphan that is not to be ended."""

    start_time: int | None
    """In clock ticks since boot; together with the pid it identifies the process."""
    job: str | None
    """The job that left it: the orphan must be ended before this job runs again. None: of no job."""


class Orphans:
    """The orphans that this process has adopted."""

    def __init__(self) -> None:
        """Children that exist now belong to no command."""
        self._kept = {pid: KeptOrphan(processes.start_time(pid), None) for pid in subreaper.children()}
        self._blind = bool(self._kept)
        """Whether there are such children: their orphans can't be told from a command's, so that none is returned."""

    def find(self, mine: Collection[int]) -> list[int]:
        """Return the orphans among the children. `mine`: the main processes of running commands, or the workers.

        A child that started while one of `mine` was running is not returned: it may belong to that one.
        """
        others = [pid for pid in subreaper.children() if pid not in mine]
        if not others or self._blind:
            return []
        since = [began for pid in mine if (began := processes.start_time(pid)) is not None]
        first = min(since, default=None)
        return [pid for pid in others if self._is_orphan(pid, first)]

    def keep(self, mine: Collection[int], job: str) -> None:
        """Keep the orphans of an attempt that succeeded: a daemon that detaches this thoroughly is meant to stay."""
        for pid in self.find(mine):
            self._kept[pid] = KeptOrphan(processes.start_time(pid), job)

    def spare(self, pid: int) -> None:
        """Keep a child that belongs to no command."""
        self._kept[pid] = KeptOrphan(processes.start_time(pid), None)

    def release(self, job: str) -> None:
        """No longer keep the orphans of this job, which is about to run again."""
        self._kept = {pid: kept for pid, kept in self._kept.items() if kept.job != job}

    def _is_orphan(self, pid: int, first: int | None) -> bool:
        began = processes.start_time(pid)
        if began is None or (first is not None and began >= first) or not traces.is_untagged(pid):
            return False
        kept = self._kept.get(pid)
        return kept is None or kept.start_time != began
