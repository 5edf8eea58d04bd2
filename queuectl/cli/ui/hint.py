"""What keeps those who wait for a job from waiting for ever: word that no worker serves its queue."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from queuectl import clock
from queuectl.cli.ui import output
from queuectl.queries import unserved

if TYPE_CHECKING:
    from queuectl.queue import Queue

PATIENCE = 1.0
"""Seconds after which it is said: a worker may just be starting."""


class UnservedHint:
    """To be called again and again while jobs are waited for; says it once for each queue."""

    def __init__(self, q: "Queue", ids: Sequence[str] = (), say: Callable[[str], None] = output.message) -> None:
        """`ids`: the jobs; none named, all there are."""
        self._q, self._ids, self._say = q, ids, say
        self._said: set[str] = set()
        self._at = clock.monotonic() + PATIENCE

    def __call__(self) -> None:
        """Say it where it is so, looking once a second at the most."""
        if clock.monotonic() < self._at:
            return
        self._at = clock.monotonic() + PATIENCE
        alone = self._q.unserved().keys() - self._said
        if alone and self._ids:
            waits = ("pending", "failed")
            alone &= {
                job.queue for job in map(self._q.job, self._ids) if job.state in waits and job.run_at <= clock.now()
            }
        for queue in sorted(alone):
            self._said.add(queue)
            self._say(unserved(queue))
