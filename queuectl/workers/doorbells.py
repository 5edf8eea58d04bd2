"""The doorbells of one worker: others ring them where they have written something that may be of interest to it."""

import select

from queuectl.engines.base import Listener
from queuectl.queue import Queue


class Doorbells:
    """One for new work, and while the worker has nothing but to wait for others, one for every event."""

    def __init__(self, queue: Queue, poll: select.poll) -> None:
        """Their descriptors are registered with `poll`."""
        self.has_rung = True
        """Whether the next turn is to look for what others want."""
        self._queue = queue
        self._poll = poll
        self._log: Listener | None = None
        self.work = self._listen("work")

    def clear(self) -> None:
        """Take in that one of them has rung."""
        self.has_rung = True
        self.work.clear()
        if self._log is not None:
            self._log.clear()

    def renew(self) -> None:
        """Make another doorbell in the place of one that was removed."""
        self.ignore_log()
        self._close(self.work)
        self.work = self._listen("work")

    def hear_log(self) -> None:
        """Be rung by every event from now on."""
        if self._log is None:
            self._log = self._listen("log")
            self.has_rung = True

    def ignore_log(self) -> None:
        """Be rung by new work alone."""
        if self._log is not None:
            self._close(self._log)
            self._log = None

    def close(self) -> None:
        """Remove them."""
        self.ignore_log()
        self._close(self.work)

    def _listen(self, kind: str) -> Listener:
        bell = self._queue.engine.listen(kind)
        self._poll.register(bell.fileno(), select.POLLIN)
        return bell

    def _close(self, bell: Listener) -> None:
        self._poll.unregister(bell.fileno())
        bell.close()
