"""Cascades: the jobs that depend on one that has ended are looked at, where they were too many for its transaction."""

from queuectl import on_empty
from queuectl.clock import monotonic
from queuectl.errors import Busy, Outdated, QueueError
from queuectl.queue import Queue
from queuectl.workers.chores.chore import NEVER, ChoreHost

PATIENCE = 0.05
"""Seconds that a run waits while others write, and between two tries."""


class Cascades:
    """Goes on with what one transaction has left, so many jobs at a run, and lets others write in between."""

    def __init__(self, host: ChoreHost, queue: Queue, worker: str) -> None:
        self.due = NEVER
        self._host = host
        self._queue = queue
        self._actor = f"worker:{worker}"

    def begin(self, now: float) -> None:
        """Go on as soon as may be: a job was found that has ended, and not all that depend on it were looked at."""
        self.due = min(self.due, now)

    def run(self, now: float) -> None:
        """See `Chore`."""
        try:
            with self._queue.engine.transaction(PATIENCE) as tx, on_empty.coming_to_rest(tx, self._actor):
                left = tx.cascade(self._actor)
            self.due = monotonic() if left else NEVER
        except Outdated:
            raise
        except Busy:
            self.due = monotonic() + PATIENCE
        except QueueError as error:
            self._host.pause(str(error), now)
            self.due = monotonic() + 1.0
