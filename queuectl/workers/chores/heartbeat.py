"""The heartbeat: an event every few seconds while a worker holds jobs, so that one that hangs is found (R20)."""

from collections.abc import Callable

from queuectl.clock import monotonic
from queuectl.workers.chores.chore import NEVER

INTERVAL = 5.0
"""Seconds between two heartbeats."""


class HeartbeatChore:
    """Asks for a turn with a heartbeat in it: a transaction of its own would cost a second commit."""

    def __init__(self, holds: Callable[[], bool]) -> None:
        """`holds` returns whether the worker holds any job."""
        self.is_due = False
        """Whether the next turn is to write one."""
        self._holds = holds
        self._next = monotonic() + INTERVAL

    @property
    def due(self) -> float:
        """See `Chore`."""
        return NEVER if self.is_due or not self._holds() else self._next

    def run(self, now: float) -> None:
        """See `Chore`."""
        self.is_due = True

    def restart(self, now: float) -> None:
        """Count the interval from now: one was written, or nothing is held."""
        self.is_due = False
        self._next = now + INTERVAL
