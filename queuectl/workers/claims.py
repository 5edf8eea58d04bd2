"""Claiming ahead (R10): how many jobs a worker holds beside those that run.

Short jobs must not wait for a commit, so a worker claims a few jobs more than it has slots: as many as it will start
within about 20 ms by the run times it has just seen, and none when jobs are long.
"""

from collections import deque
from collections.abc import Collection

import msgspec

from queuectl.clock import monotonic
from queuectl.decisions import Lease
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.execution.attempt import Start
from queuectl.workers.pending_reports import PendingReports
from queuectl.workers.slots import Slots
from queuectl.workers.turn import Claim, Turn

AHEAD = 0.020
"""Seconds of work that may be claimed ahead."""
MOST_AHEAD = 64
"""Jobs that may be claimed ahead."""
GIVE_BACK = 0.100
"""Seconds after which a claimed job that could not be started is given back."""
LOOK = 5.0
"""Seconds after which an idle worker looks for work, should a bell not have been rung (its ringer was killed)."""
PAUSE = 1.0
"""Seconds without a claim after nothing could be started."""
LONGEST_PAUSE = 30.0
"""Seconds that this pause grows to when that happens again and again."""


class Waiting(msgspec.Struct, eq=False):
    """A job that is claimed and not started."""

    claim: Claim
    since: float
    """The moment of its claim."""
    start: Start | None = None
    """How it starts, where that is worked out already."""


class Claims:
    """The jobs that are claimed and not started, oldest first; a chore that gives back those that wait too long."""

    def __init__(self, slots: Slots, pending: PendingReports, *, ahead: bool) -> None:
        """`ahead`: whether more may be claimed than there are free slots."""
        self._slots = slots
        self._pending = pending
        self._ahead = ahead
        self._waiting: deque[Waiting] = deque()
        self._suspended: deque[Waiting] = deque()
        """Those that are suspended: they neither start nor are given back, and wait for no slot."""
        self._next_claim = self._next_try = monotonic()
        """When there may be something to claim; and when to claim again after nothing could be started."""
        self._pause = PAUSE / 2
        self._may_claim_ahead = True
        self._closed = False
        """Whether the last claim has passed queues over that have reached a limit."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._suspended)

    @property
    def ready(self) -> int:
        """How many of them only wait for a slot."""
        return len(self._waiting)

    @property
    def leases(self) -> list[Lease]:
        """Of all of them."""
        return [waiting.claim.lease for waiting in (*self._waiting, *self._suspended)]

    @property
    def due(self) -> float:
        """See `Chore`."""
        return self._waiting[0].since + GIVE_BACK if self._waiting else NEVER

    def run(self, now: float) -> None:
        """See `Chore`."""
        while now >= self.due:
            self._pending.release(self._waiting.popleft().claim.lease, "not started in time", now)
            self._may_claim_ahead = False

    def start(self, now: float) -> None:
        """Start them as far as slots are free."""
        while self._waiting and self._slots.free >= self._waiting[0].claim.job.policy.slots:
            first = self._waiting.popleft()
            self._slots.start(first.claim, now, first.start)

    def prepare(self) -> None:
        """Work out how the first of them starts, so that it need not be done once a slot is free."""
        if self._waiting and self._waiting[0].start is None:
            self._waiting[0].start = self._slots.prepare(self._waiting[0].claim)

    @property
    def next_claim(self) -> float:
        """When to claim more, as far as any are wanted."""
        return max(self._next_claim, self._next_try)

    def may_claim(self, now: float, *, rung: bool) -> bool:
        """Whether there may be something to claim, and it could be started."""
        return (rung or now >= self._next_claim) and now >= self._next_try

    @property
    def free(self) -> int:
        """How many slots no claimed job will take."""
        return max(0, self._slots.free - sum(each.claim.job.policy.slots for each in self._waiting))

    @property
    def wanted(self) -> int:
        """How many jobs to claim: for every free slot, and ahead what will start within about 20 ms."""
        free = self._slots.free - sum(each.claim.job.policy.slots for each in self._waiting)
        if self._ahead and self._may_claim_ahead and self._slots.run_time < AHEAD:
            free += min(MOST_AHEAD, int(AHEAD / self._slots.pace))
        return max(0, free)

    def claimed(self, turn: Turn, want: int, now: float) -> None:
        """Take over what a turn has claimed, where it wanted so many."""
        self._waiting.extend(Waiting(claim, now) for claim in turn.claims)
        if want > 0:
            full = turn.slots >= want or turn.slots_wanted
            self._closed = turn.closed
            if turn.slots_wanted:
                self._may_claim_ahead = False  # what is left is not claimed ahead: a slot has to be free
            self._next_claim = now + (0.0 if full else min(LOOK, turn.due_in if turn.due_in is not None else LOOK))

    def attempt_ended(self) -> None:
        """What was started has ended: claims may be made ahead, and without a pause."""
        self._may_claim_ahead = True
        if self._closed:
            self._next_claim = monotonic()  # the queue that has reached its limit may be its own
        self._pause = PAUSE / 2

    def back_off(self, now: float) -> None:
        """Nothing could be started, for want of disk, memory or descriptors: claim again, but ever more seldom."""
        if now >= self._next_try:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._next_try = now + self._pause

    def suspend(self, leases: Collection[Lease]) -> None:
        """Keep the claims under these leases from starting, and let all others start."""
        known = [*self._waiting, *self._suspended]
        self._waiting = deque(each for each in known if each.claim.lease not in leases)
        self._suspended = deque(each for each in known if each.claim.lease in leases)

    def give_back_all(self, now: float) -> None:
        """Give back all of them, since the worker stops."""
        for lease in self.leases:
            self._pending.release(lease, "its worker stops", now)
        self._waiting.clear()
        self._suspended.clear()

    def cancel(self, id: str, now: float) -> None:
        """Give back a job that is to be cancelled."""
        for claims in (self._waiting, self._suspended):
            for waiting in [each for each in claims if each.claim.job.id == id]:
                claims.remove(waiting)
                self._pending.release(waiting.claim.lease, "cancelled before it started", now)
