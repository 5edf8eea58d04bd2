"""The search for all processes of one attempt, by its traces (R18)."""

import os

from queuectl.host.processes import is_writer, session
from queuectl.host.procfs import pids
from queuectl.workers.execution.traces import OrphanFinder, is_tagged


class AttemptSearch:
    """Finds the processes that carry an attempt's tag, have its output file open for writing, or share a session with
    a tagged process, and `orphans`."""

    def __init__(self, path: str, tag: str, *, orphans: OrphanFinder = tuple, database: str | None = None) -> None:
        """`path`: of the output file. `database`: count only tagged processes started for the queue at this path; a
        copy may use the same tags."""
        self._path, self._tag, self._orphans, self._database = path, tag, orphans, database
        self._sessions: set[int] = set()

    def find(self) -> list[int]:
        """The processes that live now; one may fork meanwhile, so that only two searches in a row tell that none is."""
        everyone = list(pids())
        tagged = {pid for pid in everyone if self._is_tagged(pid)}
        self._sessions = {session(pid) for pid in tagged} - {os.getsid(0), 0}
        found = [pid for pid in everyone if pid in tagged or self._has_traces(pid)]
        return [*found, *(pid for pid in self._orphans() if pid not in found)]

    def still(self, pid: int) -> bool:
        """Whether this process is one of them, asked again once its pid can't be given away any more."""
        return self._has_traces(pid) or pid in self._orphans()

    def _has_traces(self, pid: int) -> bool:
        in_session = bool(self._sessions) and session(pid) in self._sessions
        return in_session or self._is_tagged(pid) or is_writer(pid, self._path)

    def _is_tagged(self, pid: int) -> bool:
        return is_tagged(pid, self._tag, self._database)
