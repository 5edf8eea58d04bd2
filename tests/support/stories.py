"""Logs made in memory: events of jobs at moments that a test chooses, decided as in a worker."""

from typing import Any

from queuectl import decisions
from queuectl.clock import SECOND
from queuectl.decisions import Outcome
from queuectl.engines.contents import Contents
from queuectl.queue import Queue
from tests.support import ends
from tests.support.engine_actions import policy
from tests.support.histories import BEGIN, World


class Story:
    """A log in memory. Its clock moves only when a method moves it; moments are seconds from its start."""

    def __init__(self) -> None:
        self._world = World()

    @property
    def begin(self) -> int:
        """µs UTC: 2027-01-15 08:00."""
        return BEGIN

    def wait(self, seconds: float) -> None:
        """Move the clock on without an event."""
        self._world.now += round(seconds * SECOND)

    def enqueue(self, *ids: str, delay: float = 0, **more: Any) -> None:
        """Jobs are added, due `delay` seconds later."""
        for id in ids:
            self._world.append(f"job:{id}", [policy(self._world.now + round(delay * SECOND), **more)])

    def claim(self, id: str, late: float = 0) -> None:
        """A worker takes it, `late` seconds after it was due (or now, where that is later)."""
        job = self._world.job(id)
        assert job is not None
        self._world.now = max(self._world.now, job.run_at + round(late * SECOND))
        self._world.append(f"job:{id}", decisions.claim(job, "w", self._world.now))

    def attempt(
        self, id: str, cause: str | None = None, *, seconds: float = 1, late: float = 0, code: int | None = None
    ) -> None:
        """An attempt: claimed, run for so long, ended; in failure, where there is a cause, with this exit code."""
        self.claim(id, late)
        self.wait(seconds)
        job = self._world.job(id)
        assert job is not None
        outcome = Outcome(cause=cause, run_seconds=None if cause == "lost" else seconds, exit_code=code)
        self._world.append(f"job:{id}", ends.report(job, decisions.lease(job), outcome, self._world.now, draw=0.999))

    def decide(self, id: str, decision: Any, *args: Any) -> None:
        """Append the events of one of `queuectl.decisions`."""
        self._world.append(f"job:{id}", decision(self._world.job(id), *args))

    def told(self, queue: Queue) -> Queue:
        """Load it into an empty queue, and return that."""
        queue.engine.load(Contents(self._world.log))
        return queue
