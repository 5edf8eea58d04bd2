"""The questions about what waits, and why."""

from collections import Counter
from collections.abc import Sequence

from projections.queues import ALL, QueueState
from queuectl import disk
from queuectl.admission import UNSTARTED, Facts, Reason, first, reasons
from queuectl.admission_facts import collect
from queuectl.clock import now
from queuectl.engines.base import Progress
from queuectl.job_graph import JobGraph, job_graph
from queuectl.queries import Queries, get_job
from queuectl.queue_summary import QueueSummary, summaries
from queuectl.units import Then
from queuectl.wait_history import WaitHistory, wait_history
from queuectl.waits import Wait, waits


class FlowQueries(Queries):
    """What can be asked of queues, and of the reasons why jobs wait."""

    def facts(self) -> Facts:
        """What `admission.reasons` has to know of the workers, to be asked of many jobs."""
        with self._engine.snapshot() as view:
            return collect(view, self._engine, None, now())

    def reasons(self, id: str) -> list[Reason]:
        """Every reason why a job does not start, in the order in which they have to go; none: it is to start.

        Raises NotFound, and Refused where the job does not wait.
        """
        with self._engine.snapshot() as view:
            moment, job = now(), get_job(view, id)
            facts = collect(view, self._engine, disk.space(self.home, self.settings(view)), moment, job)
            return reasons(job, facts, moment)

    def wait_history(self, id: str, progress: Progress | None = None) -> WaitHistory:
        """What a job has waited for, from the log alone: before each of its attempts, up to now.

        The log is folded up to the job's enqueue, and gone through from there to its last start, which takes a second
        for some 50,000 events; `progress` is called meanwhile. Raises NotFound, also for a job that was archived.
        """
        return wait_history(self._engine, id, progress)

    def waits(self) -> list[Wait]:
        """Why jobs wait, summed up by the first reason of each; the one that keeps most of them first."""
        return waits(self.jobs(state=UNSTARTED), self.facts(), now())

    def graph(self, ids: Sequence[str] = ()) -> JobGraph:
        """These jobs, all that they depend on and all that depend on them; none named: of all that are blocked.

        Raises NotFound.
        """
        with self._engine.snapshot() as view:
            return job_graph(view, ids)

    def unserved(self, ids: Sequence[str] = ()) -> dict[str, int]:
        """The queues with due jobs that no worker takes, and how many jobs (all, or of those named) wait in each."""
        facts, moment = self.facts(), now()
        with self._engine.snapshot() as view:
            if ids:
                jobs = [job for id in ids if (job := view.job(id)) is not None]
                return Counter(job.queue for job in jobs if facts.unserved(job, moment))
            return {
                queue: jobs
                for queue, jobs in view.waiting_by_queue().items()
                for first in view.due((queue,), 1, moment)
                if facts.unserved(first, moment)
            }

    def held_back(self, ids: Sequence[str] = ()) -> dict[str, str]:
        """The queues whose due jobs (all, or those named) wait for workers that hold back, each with why in words."""
        facts, moment = self.facts(), now()
        if not any(each.holds_back for each in facts.servers or ()):
            return {}
        with self._engine.snapshot() as view:
            if ids:
                jobs = [job for id in ids if (job := view.job(id)) is not None]
            else:
                jobs = [job for queue in view.waiting_by_queue() for job in view.due((queue,), 1, moment)]
        reasons = ((job.queue, first(job, facts, moment)) for job in jobs)
        return {queue: reason.text for queue, reason in reasons if reason is not None and reason.kind == "host"}

    def queues(self, *, then: Then | None = None, progress: Progress | None = None) -> list[QueueSummary]:
        """All queues that a job, a limit or a pause has named, as they are or as they were `then`, by name.

        First, with an empty name, what was said of all of them at once. Raises NotFound for a moment before the log
        began.
        """
        with self.as_of(then, ("jobs", "counts", "queues", "starts"), progress) as view:
            return summaries(view, now() if then is None else then.at or view.head()[1])

    def queue(self, name: str | None) -> QueueSummary:
        """One queue; None: what was said of all of them at once."""
        wanted = name or ALL
        with self._engine.snapshot() as view:
            moment = now()
            found = {each.name: each for each in summaries(view, moment)}
        return found.get(wanted) or QueueSummary(QueueState(wanted, 0), 0, 0, 0, 0, 0, None, moment)
