"""The relays of a worker: a chore for each outbox. What these need is loaded only where there is one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from queuectl.queue import Queue
from queuectl.workers.chores.chore import NEVER, ChoreHost, run_due
from queuectl.workers.journal import Journal

if TYPE_CHECKING:
    from queuectl.workers.chores.outboxes import OutboxChore


class Relays:
    """Moves the rows of outboxes, each as an `OutboxChore`."""

    def __init__(self, host: ChoreHost, queue: Queue, journal: Journal, urls: Sequence[str]) -> None:
        """Raises Invalid for a URL that names no outbox."""
        self._outboxes: Sequence[OutboxChore] = ()
        if urls:
            from queuectl.workers.chores.outboxes import OutboxChore as Outbox

            self._outboxes = [Outbox(host, queue, journal, url) for url in urls]

    @property
    def due(self) -> float:
        """See `Chore`."""
        return min((each.due for each in self._outboxes), default=NEVER)

    def run(self, now: float) -> None:
        """See `Chore`."""
        run_due(self._outboxes, now)

    @property
    def are_settled(self) -> bool:
        """Whether none of them gives a reason to wait for more."""
        return all(each.is_settled for each in self._outboxes)

    def stop(self) -> None:
        """Move nothing any more."""
        for each in self._outboxes:
            each.stop()
