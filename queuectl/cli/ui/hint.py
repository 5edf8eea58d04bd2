"""The message that no worker serves a queue, for commands that wait for its jobs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from queuectl import clock
from queuectl.cli.ui import output
from queuectl.served_queues import unserved

if TYPE_CHECKING:
    from queuectl.queue import Queue

PATIENCE = 1.0
"""Seconds between two checks, and before the first one: a worker may just be starting."""


class UnservedHint:
    """Called repeatedly while a command waits for jobs; prints the message once for each queue."""

    def __init__(self, q: "Queue", ids: Sequence[str] = (), write: Callable[[str], None] = output.message) -> None:
        """`ids`: the jobs waited for; none means all."""
        self._q, self._ids, self._write = q, ids, write
        self._reported: set[str] = set()
        self._next_check = clock.monotonic() + PATIENCE

    def __call__(self) -> None:
        """Check the queues, at most once in `PATIENCE` seconds, and print the message for new ones."""
        if clock.monotonic() < self._next_check:
            return
        self._next_check = clock.monotonic() + PATIENCE
        alone = self._q.unserved().keys() - self._reported
        if alone and self._ids:
            waits = ("pending", "failed")
            alone &= {
                job.queue for job in map(self._q.job, self._ids) if job.state in waits and job.run_at <= clock.now()
            }
        for queue in sorted(alone):
            self._reported.add(queue)
            self._write(unserved(queue))
