"""Schedules: what has come of their moments is enqueued. Any worker does that, and the first one for all (R37).

A worker sleeps until the next moment by the database's clock, which it compares each time that it wakes. One that
is put forward or back is noticed within a second; that of a server, at the worker's next transaction.
"""

from queuectl.clock import SECOND, monotonic
from queuectl.errors import Busy, Invalid, Outdated, QueueError
from queuectl.queue import Queue
from queuectl.workers.chores.chore import NEVER, ChoreHost

PATIENCE = 0.05
"""Seconds that a run waits while others write, and between two tries."""
REST = 60 * SECOND
"""Microseconds until a schedule is looked at again whose moments can't be told here."""


class ScheduleChore:
    """Fires the schedules when their moments come. A private worker has none."""

    def __init__(self, host: ChoreHost, queue: Queue, *, is_private: bool) -> None:
        self._host = host
        self._queue = queue
        self._fires = not is_private
        self._next = 0 if self._fires else None
        """When to look again (µs UTC); None: nothing is scheduled."""
        self._looked_at = 0
        """When it was looked last (µs UTC)."""
        self._not_before = 0.0
        """When to try again (monotonic), after a run that failed."""
        self._events = 0

    @property
    def due(self) -> float:
        """See `Chore`."""
        if self._next is None:
            return NEVER
        now = self._queue.engine.now()
        if now >= self._next or now < self._looked_at:
            return self._not_before
        return max(self._not_before, monotonic() + (self._next - now) / SECOND)

    def follow(self, events: int | None) -> None:
        """Look at the schedules as soon as may be, if they have another number of events than before."""
        if events is not None and events != self._events and self._fires:
            self._events = events
            self._next = 0

    def stop(self) -> None:
        """Fire nothing any more: a worker that stops would not run it."""
        self._fires, self._next = False, None

    def run(self, now: float) -> None:
        """See `Chore`."""
        try:
            due = self._look()
            if due and self._queue.schedules.fire(*due, patience=PATIENCE):
                self._next = 0  # there may be more
        except Outdated:
            raise
        except Busy:
            self._not_before = monotonic() + PATIENCE
        except QueueError as error:
            self._host.pause(str(error), now)
            self._not_before = monotonic() + 1.0

    def _look(self) -> list[str]:
        """The names of the schedules that are due; notes when the next one is."""
        with self._queue.engine.snapshot() as view:
            found = view.schedules()
        self._looked_at = moment = self._queue.engine.now()
        dues: dict[str, int] = {}
        for schedule in found:
            from queuectl.decisions.schedule import next_look  # loads cronsim: only where there are any

            try:
                due = next_look(schedule, moment)
            except Invalid as error:
                self._host.warn(f"schedule {schedule.name}: {error}")
                due = moment + REST
            if due is not None:
                dues[schedule.name] = due
        self._next = min(dues.values(), default=None)
        return [name for name, due in dues.items() if due <= moment]
