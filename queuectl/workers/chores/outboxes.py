"""Outboxes: the jobs that an application has asked for in its own transactions are moved into the log.

What the application's database has to do with it may take long, where a network or a lock is in the way, so it is done
in a thread. What the queue has to do with it is done here, a transaction at a run.
"""

import hashlib
import os
from functools import partial

from queuectl.clock import monotonic
from queuectl.errors import Busy, Outdated, QueueError, Unusable
from queuectl.host.flock import FileLock
from queuectl.outbox.client import OutboxClient
from queuectl.outbox.delivery import Delivery
from queuectl.outbox.place import locate
from queuectl.outbox.table import Row
from queuectl.queue import Queue
from queuectl.workers.background_call import BackgroundCall
from queuectl.workers.chores.chore import NEVER, ChoreHost
from queuectl.workers.journal import Journal

POLL = 1.0
"""Seconds between two looks at an outbox in which there was nothing."""
RETRY = 5.0
"""Seconds between two tries to reach one that can't be used."""
PATIENCE = 0.05
"""Seconds that a run waits while others write, and between two tries."""
SHORTEST, LONGEST = 0.001, 0.1
"""Seconds between two looks whether the thread is done: twice as long each time."""


class OutboxChore:
    """Moves the rows of one outbox, if no other worker of this host does."""

    def __init__(self, host: ChoreHost, queue: Queue, journal: Journal, url: str) -> None:
        """Raises Invalid for a URL that names no outbox."""
        place = locate(url)
        self.due = monotonic()
        self.is_settled = False
        """Whether there is nothing to wait for: no row was left, or another worker moves them, or nobody can."""
        self._host, self._queue, self._journal = host, queue, journal
        self._name = place.name
        self._client = OutboxClient(place, queue.engine.owns)
        self._alone = f"outbox-{hashlib.sha256(os.fsencode(place.key)).hexdigest()[:16]}"
        self._lock: FileLock | None = None
        self._call: BackgroundCall[list[Row]] | None = None
        self._pause = SHORTEST
        self._delivery: Delivery | None = None
        self._is_stopped = False
        self._told = ""
        """What keeps the outbox from being used, as it was last told; empty: nothing."""

    def stop(self) -> None:
        """Move nothing any more: a worker that stops would not run it."""
        self._is_stopped, self.due = True, NEVER
        if self._call is None:
            self._client.close()
        if self._lock is not None:
            self._lock.close()

    def run(self, now: float) -> None:
        """See `Chore`."""
        try:
            if self._call is not None:
                self._await(self._call)
            elif self._delivery is not None:
                self._deliver(self._delivery, now)
            elif self._has_lock():
                self._begin(None)
            else:
                self._rest(POLL)
        except Outdated:
            raise
        except (QueueError, OSError) as error:
            self._fail(error)
        if self._is_stopped:
            self.due = NEVER

    def _has_lock(self) -> bool:
        """Whether this worker is the one that moves the rows: others would only do the same again."""
        if self._lock is None:
            self._lock = self._queue.engine.alone(self._alone)
        return self._lock is not None

    def _begin(self, done: Delivery | None) -> None:
        """Have the thread settle what was delivered, and read what comes next."""
        self._call = BackgroundCall(partial(self._client.turn, done))
        self._pause = SHORTEST
        self.due = monotonic() + SHORTEST

    def _await(self, call: BackgroundCall[list[Row]]) -> None:
        if not call.is_done:
            self._pause = min(2 * self._pause, LONGEST)
            self.due = monotonic() + self._pause
            return
        self._call = None
        rows = call.result()
        if self._told:
            self._journal.write([{"event": "outbox reached", "outbox": self._name}])
            self._told = ""
        if not rows:
            self._rest(POLL)
            return
        try:
            self._delivery = Delivery(self._queue, rows)
        except Outdated:
            raise
        except QueueError as error:
            raise Unusable(f"{self._name}: {error}") from error
        self.is_settled = False
        self.due = monotonic()

    def _deliver(self, delivery: Delivery, now: float) -> None:
        """Enqueue what comes next; when all is, have the rows settled."""
        try:
            if delivery.step(PATIENCE):
                self.due = monotonic()
                return
        except Outdated:
            raise
        except Busy:
            self.due = monotonic() + PATIENCE
            return
        except QueueError as error:
            self._host.pause(str(error), now)
            self.due = monotonic() + 1.0
            return
        self._delivery = None
        self._tell(delivery)
        self._begin(delivery)

    def _tell(self, delivery: Delivery) -> None:
        """Say what was done with the rows."""
        about = {"event": "relayed", "outbox": self._name, "rows": len(delivery.moved), "jobs": delivery.jobs}
        self._journal.write([about])
        for number, why in delivery.refused.items():
            self._host.warn(f"outbox {self._name}: row {number} is refused: {why}")

    def _rest(self, seconds: float) -> None:
        """There is nothing to do for so long."""
        self.due = monotonic() + seconds
        if not self.is_settled:
            self.is_settled = True
            self._host.request_turn()  # a worker that drains waits for it

    def _fail(self, error: Exception) -> None:
        """Say once why the outbox can't be used, and try again later."""
        self._delivery = None
        message = str(error)
        if message != self._told:
            self._told = message
            self._host.warn(f"outbox {message}; its rows wait, and are tried again every {RETRY:.0f} s")
        self._rest(RETRY)
