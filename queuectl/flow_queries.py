"""The questions about what waits, and why."""

from collections.abc import Iterable, Sequence

from projections.jobs import Job
from projections.queues import ALL, QueueState
from queuectl import batch_summary, disk
from queuectl.admission import UNSTARTED, Facts, Reason, first, reasons
from queuectl.admission_facts import collect
from queuectl.batch_summary import BatchSummary
from queuectl.batches import get_batch
from queuectl.engines.base import Progress
from queuectl.engines.dependants import cancelled_because
from queuectl.engines.view import View
from queuectl.job_graph import JobGraph, job_graph
from queuectl.queries import Queries, get_job
from queuectl.queue_summary import QueueSummary, summaries
from queuectl.units import Then
from queuectl.wait_history import WaitHistory, wait_history
from queuectl.waits import Wait, first_waits, waits


class FlowQueries(Queries):
    """What can be asked of queues, and of the reasons why jobs wait."""

    def facts(self) -> Facts:
        """What `admission.reasons` has to know of the workers, to be asked of many jobs."""
        with self._engine.snapshot() as view:
            return collect(view, self._engine, None, self._engine.now())

    def reasons(self, id: str) -> list[Reason]:
        """Every reason why a job does not start, in the order in which they have to go; none: it is to start.

        Raises NotFound, and Refused where the job does not wait.
        """
        with self._engine.snapshot() as view:
            moment, job = self._engine.now(), get_job(view, id)
            return reasons(job, self._facts(view, moment, job), moment)

    def wait_history(self, id: str, progress: Progress | None = None) -> WaitHistory:
        """What a job has waited for, from the log alone: before each of its attempts, up to now.

        The log is folded up to the job's enqueue, and gone through from there to its last start, which takes a second
        for some 50,000 events; `progress` is called meanwhile. Raises NotFound, also for a job that was archived.
        """
        return wait_history(self._engine, id, progress)

    def waits(self, *ids: str, batch: str | None = None) -> list[Wait]:
        """Why jobs wait (these, those of a batch, or all), summed up by the first reason of each.

        The one that keeps most of them comes first. Those of these jobs that are gone are left out.
        """
        moment = self._engine.now()
        with self._engine.snapshot() as view:
            named = [job for id in ids if (job := view.job(id)) is not None]
            facts = self._facts(view, moment, named[0] if len(named) == 1 else None)
        return waits(named if ids else self.jobs(state=UNSTARTED, batch=batch), facts, moment)

    def first_waits(self, queue: str | None = None) -> list[Wait]:
        """The same of the first job of each queue, or of one, however many wait there: all are counted with it."""
        moment = self._engine.now()
        with self._engine.snapshot() as view:
            return first_waits(view, self._facts(view, moment), moment, queue)

    def _facts(self, view: View, moment: int, about: Job | None = None) -> Facts:
        """All facts that hold for many jobs, or those about one."""
        return collect(view, self._engine, disk.space(self.home, self.settings(view)), moment, about)

    def graph(self, ids: Sequence[str] = ()) -> JobGraph:
        """These jobs, all that they depend on and all that depend on them; none named: of all that are blocked.

        Raises NotFound.
        """
        with self._engine.snapshot() as view:
            return job_graph(view, ids)

    def cancelled_because(self, ids: Iterable[str]) -> list[str]:
        """The ids of those jobs that were cancelled because these had ended as they did, or because of them in turn."""
        with self._engine.snapshot() as view:
            return [job.id for job in cancelled_because(view, [get_job(view, id) for id in ids])]

    def unserved(self) -> dict[str, tuple[Reason, int]]:
        """The queues of which no worker takes the first due job, each with the reason and how many jobs wait there."""
        return self._heads_kept("no_worker")

    def held_back(self) -> dict[str, str]:
        """The queues with due jobs whose workers all hold back, each with why in words."""
        return {queue: reason.text for queue, (reason, _) in self._heads_kept("host").items()}

    def _heads_kept(self, kind: str) -> dict[str, tuple[Reason, int]]:
        """The queues whose first due job waits for this kind of reason, and how many jobs wait in each."""
        facts, moment = self.facts(), self._engine.now()
        with self._engine.snapshot() as view:
            return {
                queue: (reason, jobs)
                for queue, jobs in view.waiting_by_queue().items()
                for head in view.due((queue,), 1, moment)
                if (reason := first(head, facts, moment)) is not None and reason.kind == kind
            }

    def queues(self, *, then: Then | None = None, progress: Progress | None = None) -> list[QueueSummary]:
        """All queues that a job, a limit or a pause has named, as they are or as they were `then`, by name.

        First, with an empty name, what was said of all of them at once. Raises NotFound for a moment before the log
        began.
        """
        with self.as_of(then, ("jobs", "counts", "queues", "starts"), progress) as view:
            return summaries(view, self._engine.now() if then is None else then.at or view.head()[1])

    def batches(self) -> list[BatchSummary]:
        """All batches, the one that was opened last first."""
        with self._engine.snapshot() as view:
            return batch_summary.summaries(view)

    def batch(self, name: str) -> BatchSummary:
        """One batch. Raises NotFound."""
        with self._engine.snapshot() as view:
            return batch_summary.summary(get_batch(view, name), view.batch_counts(name))

    def queue(self, name: str | None) -> QueueSummary:
        """One queue; None: what was said of all of them at once."""
        wanted = name or ALL
        with self._engine.snapshot() as view:
            moment = self._engine.now()
            found = {each.name: each for each in summaries(view, moment)}
        return found.get(wanted) or QueueSummary(QueueState(wanted, 0), 0, 0, 0, 0, 0, None, moment)
