"""Looks at a queue whenever something may have changed, and goes on by itself where the database was gone."""

import select
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from queuectl.clock import monotonic
from queuectl.errors import QueueError
from queuectl.overview import Overview, overview, refreshed

if TYPE_CHECKING:
    from queuectl.filters import Term
    from queuectl.queue import Queue

PAUSE = 0.5
"""Seconds between two looks, at least."""
TICK = 1.0
"""The same while something runs, whose progress is in no event, and between two tries after trouble."""
IDLE = 5.0
"""Seconds between two looks at all there is, at most: jobs become due and workers die without an event."""


class Doorbell(Protocol):
    """Rings when anything was appended."""

    def fileno(self) -> int:
        """For `poll`."""
        ...

    def clear(self) -> bool:
        """Forget the rings so far."""
        ...

    def close(self) -> None:
        """Listen no more."""
        ...


class QueueWatch:
    """A queue that is watched. All of it belongs to one thread, but for `terms`."""

    def __init__(self, connect: "Callable[[], Queue]", terms: "Sequence[Term]" = ()) -> None:
        """`connect` opens the queue, now and after trouble."""
        self.terms = terms
        """The filter of the jobs. Another one is taken at the next look."""
        self.trouble = ""
        """Why the last look has failed; empty: it has not."""
        self.seen: Overview | None = None
        """What was seen last, before any trouble."""
        self._connect = connect
        self._terms = terms
        self._url = ""
        self._q: Queue | None = None
        self._bell: Doorbell | None = None
        self._earliest = self._whole_at = 0.0
        """From when on it is looked again, and when all of it (monotonic seconds)."""

    @property
    def queue(self) -> "Queue | None":
        """The queue, where it is open."""
        return self._q

    def look(self) -> None:
        """Look at the queue: at all of it where that is due, or anything was appended. Sets `seen` or `trouble`."""
        began = monotonic()
        try:
            self._look(began)
            self.trouble = ""
        except (QueueError, OSError) as error:
            self.trouble = str(error).removeprefix(f"{self._url}: ")
            self._disconnect()
        ended = monotonic()
        self._earliest = ended + max(PAUSE, 10 * (ended - began))  # a look that takes its time leaves others theirs

    def _look(self, began: float) -> None:
        if self._q is None:
            self._q = self._connect()
            self._url = self._q.url
        if self._bell is None:
            self._bell = self._q.engine.listen("log")
        self._bell.clear()
        terms = self.terms
        if self.seen is None or terms is not self._terms or began >= self._whole_at:
            self.seen = overview(self._q, terms)
            self._whole_at = monotonic() + IDLE
        else:
            self.seen = refreshed(self._q, self.seen, terms)
        self._terms = terms

    def wait(self, waker: int) -> bool:
        """Sleep until the next look is due, or this descriptor is readable: then return true."""
        poll = select.poll()
        poll.register(waker, select.POLLIN)
        if poll.poll(max(0.0, self._earliest - monotonic()) * 1000):
            return True
        patience = TICK if self.trouble or (self.seen is not None and self.seen.running) else IDLE
        if self._bell is not None:
            poll.register(self._bell.fileno(), select.POLLIN)
        return any(fd == waker for fd, _ in poll.poll(patience * 1000))

    def close(self) -> None:
        """Let go of the queue."""
        self._disconnect()

    def _disconnect(self) -> None:
        bell, self._bell = self._bell, None
        q, self._q = self._q, None
        self._whole_at = 0.0
        if bell is not None:
            bell.close()
        if q is not None:
            q.close()
