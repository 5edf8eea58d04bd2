"""The commands about workers: whether they live, and to stop them."""

from collections.abc import Iterable

from projections.workers import Worker
from queuectl import enclosing_jobs
from queuectl.clock import monotonic
from queuectl.engines.view import View, Write
from queuectl.errors import Deadline, NotFound
from queuectl.events import StopRequested
from queuectl.flow_control import FlowControl
from queuectl.liveness import Life, any_lives, parents
from queuectl.units import span

PARTING = 2.0
"""Seconds that the parent of workers that were stopped is waited for: it may have others to recover."""


class WorkerControl(FlowControl):
    """The commands about workers. `Queue` has them."""

    def stop_workers(
        self, *ids: str, now: bool = False, reason: str | None = None, timeout: float | None = None
    ) -> list[str]:
        """Ask workers (all, where none is named) to stop, and wait until they are gone; returns the ids of those.

        Within a job its `hosting` workers are asked, and not waited for. `now` kills what they run. Raises NotFound
        for a worker that is not there, Deadline after `timeout` seconds.
        """
        with self._engine.transaction() as tx:
            live = {worker.id: worker for worker in tx.workers() if worker.slots > 0}
            for id in ids:
                if id not in live:
                    raise NotFound(f"no worker {id!r} is up; see `queuectl worker list`")
            chosen = list(dict.fromkeys(ids)) or list(live)
            ask = [StopRequested(now=now, reason=reason, inside=enclosing_jobs.inside(self._engine))]
            asked = [live[id] for id in chosen if live[id].state == "running" or now > live[id].stop_now]
            tx.append([Write(f"worker:{worker.id}", worker, ask) for worker in asked], self.actor)
            own = self._hosting(tx)
            chosen = [id for id in chosen if id not in own]
            others = parents([worker for id, worker in live.items() if id not in chosen], self._engine)
            above = parents([live[id] for id in chosen], self._engine)  # asked now: who has ended has no parent
        deadline = monotonic() + timeout if timeout is not None else None
        bell = self._engine.listen("log")
        try:
            while left := self._still_up([live[id] for id in chosen]):
                if deadline is not None and monotonic() >= deadline:
                    raise Deadline(f"still up after {span(timeout or 0)}: {', '.join(sorted(left))}")
                bell.wait(0.1 if left < set(chosen) else 0.5)
                bell.clear()
            above = {pid: started for pid, started in above.items() if pid not in others}
            until = monotonic() + PARTING
            while any_lives(above) and monotonic() < until:
                bell.wait(0.02)
        finally:
            bell.close()
        return chosen

    def refuse_own(self, id: str) -> None:
        """Raises Refused where this process runs inside of this job, or of one that it waits for."""
        with self._engine.snapshot() as view:
            enclosing_jobs.refuse_own(view, enclosing_jobs.inside(self._engine), id)

    def hosting(self) -> list[str]:
        """The workers that can't end before the job inside which this process runs; [] outside of a job."""
        with self._engine.snapshot() as view:
            return self._hosting(view)

    def _hosting(self, view: View) -> list[str]:
        hosts = enclosing_jobs.hosts(view, enclosing_jobs.inside(self._engine))
        return [host.worker for host in hosts if host.worker is not None]

    def _still_up(self, workers: Iterable[Worker]) -> set[str]:
        """Those whose processes live, whatever their files and the log say; of what can't be seen the log must do."""
        lives = {worker.id: self.liveness(worker) for worker in workers}
        unseen = {id for id, life in lives.items() if life is Life.UNKNOWN}
        unseen &= {worker.id for worker in self.workers()} if unseen else set()
        return unseen | {id for id, life in lives.items() if life is Life.LIVES}
