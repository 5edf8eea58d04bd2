"""Self-fencing: a worker that is cut off from the database ends what it runs before other hosts run it again (R48)."""

import math

from queuectl.clock import boottime
from queuectl.host_lease import HostLease, Stage
from queuectl.units import span
from queuectl.workers.chores.chore import NEVER, ChoreHost
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.slots import Slots

LOOK = 0.5
"""Seconds between two looks while anything runs: after a suspend more of the lease has gone than was slept."""


class SelfFencing:
    """Counts the lease of this worker by CLOCK_BOOTTIME, from when its last confirmed turn was sent."""

    def __init__(self, worker: ChoreHost, slots: Slots, table: AttemptTable) -> None:
        """Does nothing before `begin`. `table` is where the parent sees by when all is to have ended."""
        self._worker = worker
        self._slots = slots
        self._table = table
        self._lease: HostLease | None = None
        self._confirmed = 0.0
        self._next = 0.0
        self._runs_out = NEVER
        """When to look though nothing runs, in monotonic seconds: then the parent need not act any more."""
        self._told = False

    def begin(self, seconds: float | None, sent: float, now: float) -> None:
        """Count a lease of so many seconds; None: other hosts can't reach the database. The rest as of `confirm`."""
        if seconds is not None:
            self._lease = HostLease(seconds)
            self.confirm(sent, now)

    def confirm(self, sent: float | None, now: float) -> None:
        """A turn was acknowledged, which was sent at `sent` (see `Turn.confirmed`). `now` is monotonic seconds."""
        if self._lease is None or sent is None:
            return
        self._confirmed = sent
        self._next = now + LOOK
        self._runs_out = now + max(0.0, sent + self._lease.kills_at - boottime())
        self._told = False
        self._table.set_deadline(sent + self._lease.parent_ends_at)

    @property
    def has_lease(self) -> bool:
        """Whether other hosts run what this worker held once it has been silent for long."""
        return self._lease is not None

    def may_start(self) -> bool:
        """Whether a command may be started."""
        return self._lease is None or self._lease.stage(boottime() - self._confirmed) is Stage.WORKS

    @property
    def due(self) -> float:
        """See `Chore`."""
        return self._next if self._slots and self._lease is not None else self._runs_out

    def run(self, now: float) -> None:
        """See `Chore`."""
        assert self._lease is not None, "it is due"
        self._next = now + LOOK
        age = boottime() - self._confirmed
        stage = self._lease.stage(age)
        if stage is Stage.WORKS:
            return
        self._slots.give_up_waiting(now)  # nothing starts once an earlier attempt has been ended
        if stage < Stage.TERMINATES:
            return
        if self._slots:
            why = f"its worker could not reach the database for {span(age)}, and other hosts may run it"
            self._slots.end(now, grace=max(0.0, self._lease.kills_at - age), error=why)
            if not self._told:
                self._told = True
                self._worker.warn(f"could not reach the database for {span(age)}: ends what it runs")
        else:
            self._table.set_deadline(math.inf)
            self._runs_out = NEVER
