"""Which changes of a queue can make another reason the first of those that keep a job from starting.

To ask for the reasons takes far longer than a look at a change, and of 100,000 events between a job and its start most
are of other jobs, that neither let it start nor kept it.
"""

from collections import Counter
from collections.abc import Sequence

from projections import Change
from projections.jobs import Job
from projections.queues import ALL, QueueState, stream
from projections.resources import ResourceState
from projections.workers import Worker
from queuectl.admission import KINDS, Reason
from queuectl.engines.view import View
from queuectl.events import Claimed, Heartbeat, Released

CONCURRENCY, RATE, RESOURCE, RESERVED, NO_WORKER, BUSY, PRIORITY = (
    KINDS.index(kind) for kind in ("concurrency", "rate", "resource", "reserved", "no_worker", "busy", "priority")
)


def place(reason: Reason | None) -> int:
    """The place of a reason in the order in which they have to go; behind all where there is none."""
    return KINDS.index(reason.kind) if reason is not None else len(KINDS)


class Watch:
    """Follows the changes of all transactions for one job, as long as it is the same."""

    def __init__(self, job: Job, view: View) -> None:
        """`view`: the queue before the first of these changes."""
        self._job, self._own = job, (f"job:{job.id}", stream(job.queue), stream(ALL))
        gate = view.gates([job.queue]).get(job.queue)
        self._limited = gate is not None and gate.state.concurrency is not None
        self._slots: dict[str, int] = {}
        """By worker that takes the job: its slots."""
        self._used: Counter[str] = Counter()
        """By worker: the slots that its jobs take."""
        for worker in view.workers():
            self._follow_worker(worker)
        for running in view.processing():
            self._take_slots(running, 1)
        self._room = self._has_room()

    def earliest(self, changes: Sequence[Change]) -> int:
        """The place of the first reason that the changes of a transaction may have brought or taken away.

        Any event may change those behind `busy`, and with them what is kept for others: that hangs on who is due.
        """
        needs = self._job.policy.needs
        found = [RESERVED if needs else BUSY if self._room else PRIORITY]
        moved = 0
        for change in changes:
            before, after = change.before, change.after
            if change.record.stream in self._own:
                found.append(0)
            subject = after if after is not None else before
            if isinstance(subject, Job):
                moved += self._follow_job(before, after)
                if isinstance(change.event, Claimed | Released) and self._job.queue in change.event.rates:
                    found.append(RATE)
                if needs and subject.demand and _runs(before) != _runs(after):
                    found.append(RESOURCE)
            elif isinstance(subject, Worker) and not isinstance(change.event, Heartbeat):
                self._follow_worker(subject)
                found.append(RESOURCE if needs else NO_WORKER)
            elif isinstance(subject, ResourceState) and subject.name in needs:
                found.append(RESOURCE)
            elif isinstance(subject, QueueState) and subject.name == self._job.queue:
                self._limited = subject.concurrency is not None
        if moved and self._limited:
            found.append(CONCURRENCY)
        room, self._room = self._room, self._has_room()
        if room != self._room:
            found.append(BUSY)
        return min(found)

    def _follow_job(self, before: Job | None, after: Job | None) -> int:
        """By how much the number of jobs has changed that the queue of the job runs."""
        moved = 0
        for job, sign in ((before, -1), (after, 1)):
            if job is not None and _runs(job):
                self._take_slots(job, sign)
                moved += sign if job.queue == self._job.queue else 0
        return moved

    def _take_slots(self, job: Job, sign: int) -> None:
        assert job.worker is not None, "it runs"
        self._used[job.worker] += sign * job.policy.slots

    def _follow_worker(self, worker: Worker) -> None:
        serves = not worker.queues or self._job.queue in worker.queues
        if worker.state == "running" and not worker.private and serves and worker.slots >= self._job.policy.slots:
            self._slots[worker.id] = worker.slots
        else:
            self._slots.pop(worker.id, None)

    def _has_room(self) -> bool:
        """Whether a worker has as many free slots as the job needs."""
        return any(slots - self._used[id] >= self._job.policy.slots for id, slots in self._slots.items())


def _runs(job: Job | None) -> bool:
    return job is not None and job.worker is not None
