"""The search for all processes of one attempt, by its traces (R18)."""

import os
from collections.abc import Mapping, Sequence

from queuectl.home import stderr_of
from queuectl.host.processes import is_writer, session
from queuectl.host.procfs import Process, descendants, look, pids
from queuectl.workers.execution.traces import OrphanFinder, is_free, is_tagged, is_untagged


class AttemptSearch:
    """Finds the processes of an attempt, and what any of these has started without a tag.

    They carry its tag, have an output file of it open for writing, share a session with a tagged process, or are
    `orphans`. The process that searches is none.
    """

    def __init__(
        self,
        path: str,
        tag: str,
        *,
        orphans: OrphanFinder = tuple,
        database: str | None = None,
        below: int | None = None,
    ) -> None:
        """`path`: of the output file, beside which there may be one for stderr. `database`: count only tagged processes
        started for the queue at this path; a copy may use the same tags. `below`: look only at what has come from this
        process, a subreaper: everything of its attempts has, and the machine may have thousands of others."""
        self._paths = [each for each in (path, stderr_of(path)) if each == path or os.path.lexists(each)]
        self._tag, self._orphans, self._database = tag, orphans, database
        self._ancestor = below
        self._sessions: set[int] = set()

    def find(self) -> list[int]:
        """The processes that live now, children before their parents.

        One may fork meanwhile, so that only two searches in a row tell that none is.
        """
        candidates = pids() if self._ancestor is None else descendants(self._ancestor)
        everyone = {pid: process for pid in candidates if (process := look(pid)) is not None and process.lives}
        everyone.pop(os.getpid(), None)
        tagged = {pid for pid in everyone if self._is_tagged(pid)}
        self._sessions = {everyone[pid].session for pid in tagged} - {os.getsid(0), 0}
        found = [pid for pid in everyone if pid in tagged or self._has_traces(pid)]
        found += [pid for pid in self._orphans() if pid not in found]
        return [*_below(found, everyone), *found]

    def still(self, pid: int) -> bool:
        """Whether this process is one of them, asked again once its pid can't be given away any more."""
        return self._has_traces(pid) or pid in self._orphans() or self._is_below(pid)

    def _has_traces(self, pid: int) -> bool:
        in_session = bool(self._sessions) and session(pid) in self._sessions
        return in_session or self._is_tagged(pid) or any(is_writer(pid, path) for path in self._paths)

    def _is_tagged(self, pid: int) -> bool:
        return is_tagged(pid, self._tag, self._database)

    def _is_below(self, pid: int) -> bool:
        process = look(pid)
        if process is None or process.parent in (0, 1, os.getpid()) or not is_untagged(pid):
            return False
        return not is_free(process.parent) and self.still(process.parent)


def _below(found: Sequence[int], everyone: Mapping[int, Process]) -> list[int]:
    """What these have started, and that in its turn, without any trace; the last first."""
    known = {pid for pid in found if not is_free(pid)}
    below: list[int] = []
    while known:
        known = {
            pid
            for pid, process in everyone.items()
            if process.parent in known and pid not in found and pid not in below and is_untagged(pid)
        }
        below = [*known, *below]
    return below
