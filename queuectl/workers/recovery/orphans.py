"""What hides: orphans of commands that carry no trace of any attempt, and are known only by whose children they are.

A command may close its descriptors, begin a session of its own and clear its environment. When the process above it
ends, it falls to the nearest subreaper: to the worker, and to the worker's parent when that dies (R18, R15).
"""

from collections.abc import Collection

import msgspec

from queuectl.host import processes, subreaper
from queuectl.workers.execution import traces


class KeptOrphan(msgspec.Struct, frozen=True):
    """One that is left alone."""

    start_time: int | None
    """With the pid it names a process."""
    job: str | None
    """Whose it is: it must be gone before this job runs again."""


class Orphans:
    """Those that have fallen to this process, as far as they can be told from what is not to be ended."""

    def __init__(self) -> None:
        """What are our children by now are none of any command's."""
        self._kept = {pid: KeptOrphan(processes.start_time(pid), None) for pid in subreaper.children()}
        self._blind = bool(self._kept)
        """These may leave orphans as well, which nothing tells from a command's."""

    def find(self, mine: Collection[int]) -> list[int]:
        """The orphans among our children; `mine` are the main processes of what runs, or our workers.

        Of what began while something of `mine` was running already nobody knows whose it is: it is none of them.
        """
        others = [pid for pid in subreaper.children() if pid not in mine]
        if not others or self._blind:
            return []
        since = [began for pid in mine if (began := processes.start_time(pid)) is not None]
        first = min(since, default=None)
        return [pid for pid in others if self._is_orphan(pid, first)]

    def keep(self, mine: Collection[int], job: str) -> None:
        """Leave alone what an attempt that did what it should has left: whoever hides so thoroughly wants to stay."""
        for pid in self.find(mine):
            self._kept[pid] = KeptOrphan(processes.start_time(pid), job)

    def release(self, job: str) -> None:
        """The job is to run again: what it had left is a stray once more."""
        self._kept = {pid: kept for pid, kept in self._kept.items() if kept.job != job}

    def _is_orphan(self, pid: int, first: int | None) -> bool:
        began = processes.start_time(pid)
        if began is None or (first is not None and began >= first) or not traces.is_untagged(pid):
            return False
        kept = self._kept.get(pid)
        return kept is None or kept.start_time != began
