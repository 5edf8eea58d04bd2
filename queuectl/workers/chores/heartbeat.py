"""The heartbeat: an event every few seconds while a worker holds jobs, so that one that hangs is found (R20)."""

from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec.structs import replace

from queuectl.clock import monotonic
from queuectl.decisions import Lease
from queuectl.events import Heartbeat, HeldAttempt
from queuectl.host_lease import HostLease
from queuectl.progress import JobProgress
from queuectl.workers.chores.chore import NEVER

INTERVAL = 5.0
"""Seconds between two heartbeats."""


def heartbeat_of(
    holding: Sequence[Lease], suspended: Collection[Lease] = (), progress: Mapping[Lease, JobProgress] = {}
) -> Heartbeat:
    """The heartbeat of a worker that holds these attempts.

    `suspended` are those whose processes are stopped, `progress` is how far those are that say it.
    """
    held = [HeldAttempt(each.job, each.attempt, each in suspended) for each in holding]
    for place, lease in enumerate(holding if progress else ()):
        if (said := progress.get(lease)) is not None:
            held[place] = replace(held[place], progress=said.percent, progress_text=said.text)
    return Heartbeat(attempts=held)


class HeartbeatChore:
    """Asks for a turn with a heartbeat in it: a transaction of its own would cost a second commit."""

    def __init__(self, holds: Callable[[], bool]) -> None:
        """`holds` returns whether the worker holds any job."""
        self.is_due = False
        """Whether the next turn is to write one."""
        self._holds = holds
        self._next = monotonic() + INTERVAL
        self._idle_interval = self._next_idle = NEVER

    def begin(self, lease: float | None, now: float) -> None:
        """Write one from time to time though nothing is held, where the worker has a lease (R48) of so many seconds."""
        if lease is not None:
            self._idle_interval = HostLease(lease).idle_heartbeat
            self._next_idle = now + self._idle_interval

    @property
    def due(self) -> float:
        """See `Chore`."""
        if self.is_due:
            return NEVER
        return self._next if self._holds() else self._next_idle

    def run(self, now: float) -> None:
        """See `Chore`."""
        self.is_due = True

    def is_wanted(self, now: float) -> bool:
        """Whether the turn that is taken now is to write one."""
        return self.is_due and (self._holds() or now >= self._next_idle)

    def restart(self, now: float, *, written: bool) -> None:
        """Count the interval from now: one was written, or nothing is held."""
        self.is_due = False
        self._next = now + INTERVAL
        if written:
            self._next_idle = now + self._idle_interval
