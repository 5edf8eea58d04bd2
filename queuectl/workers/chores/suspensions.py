"""Suspended attempts (R33): which they are, when a pause of theirs ends, that a stop of the worker waits for them."""

from queuectl.decisions import Lease
from queuectl.workers.chores.chore import NEVER, ChoreHost
from queuectl.workers.claims import Claims
from queuectl.workers.slots import Slots
from queuectl.workers.turn import Turn


class Suspensions:
    """Has slots and claims stop what the log says is suspended; asks for a look when a pause of these ends."""

    def __init__(self, worker: ChoreHost, slots: Slots, claims: Claims) -> None:
        self.due = NEVER
        self._worker = worker
        self._slots = slots
        self._claims = claims
        self._suspended: frozenset[Lease] = frozenset()
        self._told: frozenset[str] = frozenset()

    def run(self, now: float) -> None:
        """See `Chore`."""
        self.due = NEVER
        self._worker.request_turn()

    def follow(self, turn: Turn, now: float) -> None:
        """Do as a turn has found, where it has looked."""
        if turn.suspended is not None and (turn.suspended or self._suspended):
            self._suspended = turn.suspended
            self._claims.suspend(turn.suspended)
            self._slots.suspend(turn.suspended, now)
            self.due = now + turn.proceed_in if turn.proceed_in is not None else NEVER

    @property
    def leases(self) -> list[Lease]:
        """Of what is suspended."""
        return self._slots.suspended

    def tell(self) -> None:
        """Say which suspended jobs a worker waits for that stops, unless it has said so of all of them."""
        ids = frozenset(lease.job for lease in self.leases)
        if not ids <= self._told:
            names = ", ".join(sorted(ids))
            self._worker.warn(
                f"waits for what is suspended ({names}): `queuectl continue {' '.join(sorted(ids))}` lets it go on, "
                "a second order to stop ends it"
            )
        self._told = ids
