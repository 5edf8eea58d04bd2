"""The watch over the load and the free memory of the host: `worker start --max-load`, `--min-free-memory`."""

from queuectl.host_limits import HostLimits
from queuectl.workers.chores.chore import NEVER, ChoreHost
from queuectl.workers.journal import Journal

LOOK = 5.0
"""Seconds between two looks while nothing is claimed. The kernel computes its load average as often."""


class HostWatch:
    """Keeps the worker from claiming while a limit is exceeded, and has it look for jobs once none is any more."""

    def __init__(self, worker: ChoreHost, limits: HostLimits, journal: Journal) -> None:
        self.due = NEVER
        """See `Chore`."""
        self._worker = worker
        self._limits = limits
        self._journal = journal
        self._told = False

    @property
    def holds_back(self) -> bool:
        """Whether a limit was exceeded when it looked last."""
        return self.due != NEVER

    def may_claim(self, now: float) -> bool:
        """Look whether a claim may be made now."""
        if self._limits and not self.holds_back and (why := self._limits.exceeded()) is not None:
            self.due = now + LOOK
            self._journal.write([{"event": "holds back", "why": why}])
            if not self._told:
                self._told = True
                self._worker.warn(f"claims nothing for now: {why} (said once)")
        return not self.holds_back

    def run(self, now: float) -> None:
        """See `Chore`."""
        if self._limits.exceeded() is not None:
            self.due = now + LOOK
        else:
            self.due = NEVER
            self._journal.write([{"event": "claims again"}])
            self._worker.request_turn()
