"""Reaping: a worker is a subreaper, so processes that its commands left behind become its children."""

from collections.abc import Callable, Collection

from queuectl.clock import monotonic
from queuectl.host import subreaper

INTERVAL = 1.0
"""Seconds between two looks."""


class Reaping:
    """Reaps each second those that have ended."""

    def __init__(self, spared: Callable[[], Collection[int]]) -> None:
        """`spared` returns the pids that are reaped elsewhere: the main processes of the attempts that run."""
        self.due = monotonic() + INTERVAL
        self._spared = spared

    def run(self, now: float) -> None:
        """See `Chore`."""
        self.due = now + INTERVAL
        subreaper.reap(self._spared())
