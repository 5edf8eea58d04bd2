"""Waiting until jobs have ended."""

from collections.abc import Callable, Iterable, Sequence

from projections.jobs import FINAL, Job
from queuectl import enclosing_jobs
from queuectl.batches import get_batch
from queuectl.clock import monotonic
from queuectl.engines.view import View
from queuectl.errors import Deadline
from queuectl.flow_queries import FlowQueries
from queuectl.queries import get_job
from queuectl.rest import live_jobs, live_members
from queuectl.units import span

SECONDS = 5.0
"""How long one sleeps at most: what is at rest by the passing of time alone rings nothing."""


class WaitQueries(FlowQueries):
    """Waiting until jobs have ended. `Queue` has it."""

    def wait(
        self,
        *ids: str,
        batch: str | None = None,
        timeout: float | None = None,
        progress: Callable[[int, int], None] | None = None,
        meanwhile: Callable[[Iterable[Job]], None] | None = None,
    ) -> list[Job]:
        """Wait until these jobs have ended and return them; of a `batch`, those of its jobs that have ended.

        None named, and of a batch: until nothing is left to do but what waits for a person (R46). `timeout` is in
        seconds; `progress(ended, all)` is called whenever something changed, `meanwhile` about once a second with those
        of the named jobs that have ended by now. Within a job what can't end before that job is left out of all. Raises
        Deadline, NotFound, and Refused for a job that would wait for itself so.
        """
        inside = enclosing_jobs.inside(self._engine)
        with self._engine.snapshot() as view:
            for id in ids:
                enclosing_jobs.refuse_own(view, inside, id)
            if batch is not None:
                get_batch(view, batch)
        ended: dict[str, Job] = {}

        def left(view: View) -> int:
            for id in ids:
                if id not in ended and (job := get_job(view, id)).state in FINAL:
                    ended[id] = job
            if ids:
                return len(set(ids)) - len(ended)
            if batch is not None:
                return live_members(view, batch, enclosing_jobs.hosts(view, inside))
            return live_jobs(view, enclosing_jobs.waiting_inside(view, inside))

        self._until_none(
            left,
            lambda count: self._left(ids, batch, count),
            len(set(ids)),
            timeout,
            progress,
            (lambda: meanwhile(ended.values())) if meanwhile is not None else None,
        )
        if batch is None:
            return [ended[id] for id in dict.fromkeys(ids)]
        with self._engine.snapshot() as view:
            return view.members(batch, FINAL)

    def _until_none(
        self,
        left: Callable[[View], int],
        described: Callable[[int], str],
        most: int,
        timeout: float | None,
        progress: Callable[[int, int], None] | None,
        meanwhile: Callable[[], None] | None,
    ) -> None:
        """Return once nothing is left of what there are at least `most`.

        Raises Deadline, with what is left `described`.
        """
        deadline = monotonic() + timeout if timeout is not None else None
        bell = self._engine.listen("log")
        try:
            while True:
                with self._engine.snapshot() as view:
                    count = left(view)
                most = max(most, count)
                if progress is not None:
                    progress(most - count, most)
                if meanwhile is not None:
                    meanwhile()
                if count == 0:
                    return
                rest = deadline - monotonic() if deadline is not None else SECONDS
                if rest <= 0:
                    raise Deadline(f"after {span(timeout or 0)} still waiting for {described(count)}")
                bell.wait(min(rest, SECONDS if meanwhile is None else 1.0))
                bell.clear()
        finally:
            bell.close()

    def _left(self, ids: Sequence[str], batch: str | None, count: int) -> str:
        """What is left to wait for, in words: each of the named jobs, as far as there is room; else how many."""
        jobs = f"{count:,} job{'s' if count != 1 else ''}"
        if not ids:
            states = {state: n for state, n in self.status(batch=batch).counts.items() if n and state not in FINAL}
            if count != (total := sum(states.values())):  # the others wait for a person
                jobs = f"{count:,} of {total:,} jobs"
            return f"{jobs}: {', '.join(f'{n:,} {state}' for state, n in states.items())}"
        with self._engine.snapshot() as view:
            left = [job for id in dict.fromkeys(ids) if (job := get_job(view, id)).state not in FINAL]
        more = ", …" if len(left) > 5 else ""
        return f"{jobs}: {', '.join(f'{job.id} ({job.state})' for job in left[:5])}{more}"
