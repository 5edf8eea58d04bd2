"""How far the jobs are that a command waits for, and when they should be done: told on the status line."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from projections.jobs import FINAL
from queuectl import clock
from queuectl.admission import first
from queuectl.cli.ui import output, progress, status_line

if TYPE_CHECKING:
    from queuectl.queue import Queue

DELAY = 0.3
"""Seconds before the line is drawn for the first time: what ends at once needs none."""
PAUSE = 0.5
"""Seconds between two looks."""
MOST = 20
"""Running jobs that are looked at."""


class WaitingLine:
    """Called repeatedly while a command waits for jobs; draws what can be told of them.

    A context, at whose end the line is removed.
    """

    def __init__(
        self,
        q: "Queue",
        ids: Sequence[str],
        hint: Callable[[], None],
        title: str = "",
        *,
        batch: str | None = None,
        sparse: bool = False,
    ) -> None:
        """`ids`: the jobs waited for, `batch`: those of a batch; none means all.

        `hint` is called each time as well: what it prints stays above the line. `title` names several jobs. `sparse`:
        nothing is drawn of a job of which no more is known than that it runs, or that no worker serves it.
        """
        self._q, self._ids, self._title, self._batch, self._sparse = q, ids, title, batch, sparse
        self._hint = hint
        self._counted = (0, 0)
        self._enabled = status_line.is_possible()
        self._next_look = clock.monotonic() + DELAY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        status_line.clear()

    def count(self, done: int, total: int) -> None:
        """Note how many of the jobs have ended."""
        self._counted = (done, total)

    def __call__(self) -> None:
        """Draw the line anew, at most twice a second."""
        self._hint()
        began = clock.monotonic()
        if not self._enabled or began < self._next_look:
            return
        text = self._of_one(self._ids[0]) if len(self._ids) == 1 else self._of_several()
        if text:
            status_line.draw(output.truncate(output.escape(text), status_line.width()))
        else:
            status_line.clear()
        now = clock.monotonic()
        self._next_look = now + max(PAUSE, 10 * (now - began))

    def _of_one(self, id: str) -> str:
        from queuectl.cli.ui import wording

        job = self._q.job(id)
        if job.state in FINAL:
            return ""
        forecast = self._q.forecasts()(job)
        if job.state == "processing":
            if self._sparse and job.suspended_at is None and not wording.progress(forecast):
                return ""
            return f"{id}: {wording.state_detail(job, forecast=forecast)}"
        facts = self._q.facts()
        reason = first(job, facts, self._q.engine.now())
        if self._sparse and (reason is None or reason.kind == "no_worker"):  # it starts, or the hint has told it
            return ""
        return f"{id}: {job.state}, {wording.state_detail(job, facts=facts)}"

    def _of_several(self) -> str:
        from queuectl.cli.ui import wording

        done, total = self._counted
        if 0 < total <= done:
            return ""
        forecasts = self._q.forecasts()
        running = self._q.jobs(state="processing", batch=self._batch, limit=MOST)
        told = [
            f"{job.id}: {words}"
            for job in running
            if (not self._ids or job.id in self._ids) and (words := wording.progress(forecasts(job)))
        ]
        return " · ".join([f"{self._title}{progress.counted(done, total)}", *told])
