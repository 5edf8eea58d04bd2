"""Sealing: the log is sealed as often as the setting `seal-every` says.

The first worker to find that it is time does it, under a lock in the queue's folder, and a page of the log at each run,
so that no command waits for more than a few milliseconds.
"""

from collections.abc import Callable

from queuectl.audit.seal import Seal, Sealing, has_unsealed, last_seal
from queuectl.clock import SECOND, monotonic
from queuectl.errors import Busy, Outdated, QueueError
from queuectl.host.flock import FileLock
from queuectl.queue import Queue
from queuectl.workers.chores.checkpoint import Checkpoint
from queuectl.workers.chores.chore import NEVER, ChoreHost
from queuectl.workers.journal import Journal

LOOK = 1.0
"""Seconds between two looks at the time of the last seal."""
PAGE = 250
"""Events that one run reads: some 3 ms."""
PATIENCE = 0.02
"""Seconds that a run waits while others write."""
REST = 60.0
"""Seconds after a failure, which will hardly mend itself."""


class SealChore:
    """Seals the log as often as the setting says, while nothing else is to do."""

    def __init__(
        self,
        host: ChoreHost,
        queue: Queue,
        worker: str,
        journal: Journal,
        checkpoint: Checkpoint,
        is_undisturbed: Callable[[], bool],
    ) -> None:
        """`is_undisturbed` returns whether nothing would have to wait for a page."""
        self._next = NEVER
        self._host = host
        self._checkpoint = checkpoint
        self._is_undisturbed = is_undisturbed
        self._queue = queue
        self._actor = f"worker:{worker}"
        self._journal = journal
        self._every: float | None = None
        self._sealing: Sealing | None = None
        self._lock: FileLock | None = None
        self._last: Seal = Seal()
        self._due = monotonic()
        """When the next seal is to be made, by what is known of the last one."""

    @property
    def due(self) -> float:
        """See `Chore`."""
        return self._next if self._next == NEVER or self._is_undisturbed() else NEVER

    def set_interval(self, every: float | None) -> None:
        """Go by this setting from now on: seconds, or None for never."""
        if every != self._every:
            self._every = every
            self._last = Seal()
            self._due = monotonic()
            self._next = NEVER if every is None else self._due
            if every is None:
                self.close()

    def run(self, now: float) -> None:
        """See `Chore`: look whether it is time, or go on by a page."""
        try:
            if self._sealing is not None:
                self._go_on(self._sealing)
                self._checkpoint.written()
            elif self._is_time():
                self._begin()
            else:
                self._next = monotonic() + LOOK
        except Outdated:
            raise
        except Busy:
            self._next = monotonic() + PATIENCE
        except (QueueError, OSError) as error:
            self.close()
            self._next = monotonic() + REST
            self._host.warn(f"can't seal the log: {error}")

    def _is_time(self) -> bool:
        """Whether the last seal is old enough, and anything has happened since.

        A seal's age is taken by the clock when this worker first sees it, and counted monotonic from then on.
        """
        if self._every is None:
            return False
        with self._queue.engine.snapshot() as view:
            last = last_seal(view)
            found = has_unsealed(view, last)
        now = monotonic()
        if last.seq != self._last.seq:
            age = (self._queue.engine.now() - last.at) / SECOND
            self._last = last
            self._due = now + self._every - min(max(age, 0.0), self._every)
        return now >= self._due and found

    def _begin(self) -> None:
        self._lock = self._queue.engine.alone("sealing")
        if self._lock is None:  # another worker is at it
            self._next = monotonic() + LOOK
            return
        self._sealing = Sealing(self._queue, self._actor, PAGE, PATIENCE)
        self._next = monotonic()

    def _go_on(self, sealing: Sealing) -> None:
        made = sealing.step()
        self._queue.engine.checkpoint()
        if made is None:
            self._next = monotonic()
            return
        self.close()
        self._next = monotonic() + LOOK
        if made.seq > self._last.seq:
            self._journal.write([{"event": "sealed", "upto": made.upto, "events": made.events, "hash": made.hash}])

    def close(self) -> None:
        """Abandon the seal that is under way, which another worker may go on with."""
        self._sealing = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
