"""Why the jobs do not start that a command waits for: told once, and again where the reason becomes another."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from queuectl import clock, enclosing_jobs
from queuectl.cli.ui import output

if TYPE_CHECKING:
    from queuectl.queue import Queue
    from queuectl.waits import Wait

PATIENCE = 1.0
"""Seconds between two looks, and before the first one."""
PIPED = 3.0
"""The same without a terminal: a worker may just start, or replace one that crashed."""

_LASTING = ("no_worker", "host")
"""What is told without a terminal as well: without a worker the command would never end."""
_IN_LINE = ("busy", "priority")
"""What is not told of several jobs: that they run in turn."""


class WaitHint:
    """Called repeatedly while a command waits for jobs; prints why they do not start."""

    def __init__(
        self,
        q: "Queue",
        ids: Sequence[str] = (),
        write: Callable[[str], None] = output.message,
        *,
        batch: str | None = None,
        terminal: bool | None = None,
        has_worker: bool = False,
    ) -> None:
        """`ids`: the jobs waited for, `batch`: those of a batch; none means all.

        `terminal`: whether somebody looks on (None: at stderr).
        `has_worker`: the command runs the jobs itself where no worker serves their queue.
        """
        self._q, self._ids, self._batch, self._write = q, ids, batch, write
        self._terminal = output.stderr_is_terminal() if terminal is None else terminal
        self._tells_all = self._terminal or enclosing_jobs.inside(q.engine) is not None
        """Also into the output of a job, which may wait inside itself for what it holds."""
        self._has_worker = has_worker
        self._pause = PATIENCE if self._terminal else PIPED
        self._next_look = clock.monotonic() + self._pause
        self._seen: set[tuple[str | None, ...]] = set()
        """What the last look has found."""
        self._told: set[tuple[str | None, ...]] = set()

    def __call__(self) -> None:
        """Look for the reasons, at most once in so many seconds, and print what is new."""
        began = clock.monotonic()
        if began < self._next_look:
            return
        found = {wait.reason.key: wait for wait in self._waits() if self._matters(wait.reason.kind)}
        for key, wait in found.items():
            # A reason that follows another one may be of a moment, between two jobs that run in turn.
            if key not in self._told and (not self._told or key in self._seen):
                self._told = {*self._told, key} if len(self._ids) != 1 else {key}
                self._write(self._text(wait))
        self._seen = {*found}
        now = clock.monotonic()
        self._next_look = now + max(self._pause, 10 * (now - began))  # many jobs: a look takes its time

    def _waits(self) -> "Sequence[Wait]":
        if self._ids or self._batch is not None:
            return self._q.waits(*self._ids, batch=self._batch)
        return self._q.first_waits()

    def _matters(self, kind: str) -> bool:
        if kind == "no_worker" and self._has_worker:
            return False
        return kind in _LASTING or (self._tells_all and (len(self._ids) == 1 or kind not in _IN_LINE))

    def _text(self, wait: "Wait") -> str:
        from queuectl.cli.ui import wording

        one = len(self._ids) == 1
        jobs = "" if one else "1 job: " if wait.jobs == 1 else f"{wait.jobs:,} jobs: "
        frees = f"; `{wait.reason.frees}` frees {'it' if wait.jobs == 1 else 'them'}" if wait.reason.frees else ""
        return f"waiting: {jobs}{wording.reason_sentence(wait.reason, jobs=wait.jobs)}{frees}"
