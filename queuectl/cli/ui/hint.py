"""The message that no worker takes the jobs of a queue, or that all of them hold back, for commands that wait."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from queuectl import clock
from queuectl.admission import start_worker
from queuectl.cli.ui import output

if TYPE_CHECKING:
    from queuectl.queue import Queue

PATIENCE = 3.0
"""Seconds between two checks, and before the first one: a worker may just start, or replace one that crashed."""


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
        for queue in sorted(self._q.unserved(self._ids).keys() - self._reported):
            self._reported.add(queue)
            self._write(f"no worker serves the queue {queue}; start one with `{start_worker(queue)}`")
        held_back = self._q.held_back(self._ids)
        for queue in sorted(held_back.keys() - self._reported):
            self._reported.add(queue)
            self._write(held_back[queue])
