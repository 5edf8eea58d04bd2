"""Flow control: what may start is stopped and let go by people, of queues and of single jobs."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from msgspec import UNSET

from projections.jobs import Job
from projections.queues import ALL, QueueState, stream
from queuectl import decisions, enclosing_jobs, on_empty
from queuectl.bounds import check_queue, within
from queuectl.clock import SECOND
from queuectl.decisions import LimitChanges
from queuectl.engines.view import Transaction, View, Write
from queuectl.events import Event, Rate
from queuectl.limits import rate_from
from queuectl.queries import get_job
from queuectl.resource_control import ResourceControl
from queuectl.units import LONGEST


class FlowControl(ResourceControl):
    """The commands that decide what may start. `Queue` has them."""

    actor: str

    # -- queues ------------------------------------------------------------------------------------------------------

    def pause(
        self,
        queue: str | None = None,
        *,
        seconds: float | None = None,
        suspend: bool = False,
        reason: str | None = None,
    ) -> QueueState:
        """Claim no more jobs of a queue (None: of any), for so many seconds or until `resume`; returns its state.

        What runs goes on, unless `suspend` is set: then it is suspended until this pause ends, the jobs aside inside
        which this process runs. Raises Invalid for a name that no queue can have, and for no duration.
        """

        length = within("seconds", seconds, 0, LONGEST) if seconds is not None else None

        def decide(tx: Transaction, state: QueueState | None) -> list[Event]:
            until = tx.now + round(length * SECOND) if length is not None else None
            return decisions.pause(until, reason, suspend=suspend)

        return self._decide_on_queue(queue, decide, self._pause_jobs)[0]

    def resume(self, queue: str | None = None, *, reason: str | None = None) -> bool:
        """Claim jobs of a queue again (None: end the pause of all); returns whether it was paused.

        What that pause has suspended goes on, unless another one that suspends holds.

        Raises Refused for one queue while all are paused.
        """

        def decide(tx: Transaction, state: QueueState | None) -> list[Event]:
            return decisions.resume(state, tx.queue_state(ALL) if queue is not None else None, tx.now, reason)

        return self._decide_on_queue(queue, decide, self._pause_jobs)[1]

    def limit(
        self,
        queue: str,
        *,
        concurrency: int | Any | None = UNSET,
        rate: str | Rate | Any | None = UNSET,
        burst: int | Any = UNSET,
        pause_on_failure: bool | Any = UNSET,
        reason: str | None = None,
    ) -> QueueState:
        """Change limits of a queue, over all workers; those that are not given stay. Returns its state.

        `concurrency`: how many of its jobs are processing at most. `rate`: how often they start at most, as `10/s`,
        `burst` of them at once. None takes a limit back. `pause_on_failure`: the queue is paused when a job of it
        dies. Raises Invalid for what can't be.
        """
        changes = LimitChanges(
            concurrency=concurrency,
            rate=rate_from(rate) if isinstance(rate, str) else rate,
            burst=burst,
            pause_on_failure=pause_on_failure,
        )
        return self._decide_on_queue(queue, lambda tx, state: decisions.limit(state, changes, reason))[0]

    def _decide_on_queue(
        self,
        queue: str | None,
        decide: Callable[[Transaction, QueueState | None], list[Event]],
        follow: Callable[[Transaction, QueueState, str | None], Iterable[Write]] = lambda tx, state, reason: (),
    ) -> tuple[QueueState, bool]:
        """The state of a queue after what was decided, and whether that changed anything.

        `follow` gives what then becomes of jobs.
        """
        name = check_queue(queue) if queue is not None else ALL
        with self._engine.transaction() as tx, on_empty.coming_to_rest(tx, self.actor):
            state = tx.queue_state(name)
            events = decide(tx, state)
            changes = tx.append([Write(stream(name), state, events)] if events else [], self.actor)
            for change in changes:
                tx.append(follow(tx, change.after, getattr(change.event, "reason", None)), self.actor)
        return (changes[-1].after if changes else state or QueueState(name, 0)), bool(changes)

    def _pause_jobs(self, tx: Transaction, queue: QueueState, reason: str | None) -> Iterator[Write]:
        """What becomes of what runs, after a queue was paused or resumed."""
        gates = tx.gates()
        own = {job.id for job in self._own_jobs(tx)}
        for job in tx.processing(queue.name if queue.name != ALL else None):
            if queue.suspends(tx.now) and not job.cancel_requested and job.id not in own:
                events = decisions.suspend(job, reason, by_pause=True)
            else:
                pauses = [gates[name].state for name in (job.queue, ALL) if name in gates]
                events = decisions.end_of_pause(job, pauses, tx.now, reason)
            if events:
                yield Write(f"job:{job.id}", job, events)

    # -- jobs --------------------------------------------------------------------------------------------------------

    def hold(self, *ids: str, among: Collection[str] | None = None, reason: str | None = None) -> list[str]:
        """Keep waiting jobs from starting until they are released, all or none.

        Returns the ids of those that were changed: where states are named (`among`), who is in another by now is passed
        over. Raises NotFound, and Refused for a job that does not wait.
        """
        return self._change(ids, among, lambda tx, job: decisions.hold(job, reason))

    def release(self, *ids: str, among: Collection[str] | None = None, reason: str | None = None) -> list[str]:
        """Let held jobs start, all or none. `among` and what is returned are as of `hold`."""
        return self._change(ids, among, lambda tx, job: decisions.release(job, reason))

    def start(self, *ids: str, among: Collection[str] | None = None, reason: str | None = None) -> list[str]:
        """Have waiting jobs start next, all or none: once, past pause, hold, delay and the limits of their queues.

        `among` and what is returned are as of `hold`.
        """
        return self._change(ids, among, lambda tx, job: decisions.force(job, reason))

    def suspend(self, *ids: str, among: Collection[str] | None = None, reason: str | None = None) -> list[str]:
        """Stop the processes of running jobs, and the clocks of their timeouts, until they are continued, all or none.

        They keep their slots. Where states are named, what is being cancelled and the jobs inside which this process
        runs are passed over. `among` and what is returned are as of `hold`. Raises NotFound, and Refused for a job
        that does not run or is being cancelled.
        """

        def decide(tx: Transaction, job: Job) -> list[Event]:
            own = among is not None and job.id in {host.id for host in self._own_jobs(tx)}
            return [] if own or (among and job.cancel_requested) else decisions.suspend(job, reason)

        return self._change(ids, among, decide)

    def continue_(self, *ids: str, among: Collection[str] | None = None, reason: str | None = None) -> list[str]:
        """Let suspended jobs go on, all or none. `among` and what is returned are as of `hold`.

        Raises NotFound, and Refused for a job that does not run.
        """
        return self._change(ids, among, lambda tx, job: decisions.continue_(job, reason))

    def _own_jobs(self, view: View) -> list[Job]:
        """The jobs inside which this process runs."""
        return enclosing_jobs.hosts(view, enclosing_jobs.inside(self._engine))

    def _change(
        self,
        ids: Sequence[str],
        among: Collection[str] | None,
        decide: Callable[[Transaction, Job], list[Event]],
    ) -> list[str]:
        with self._engine.transaction() as tx, on_empty.coming_to_rest(tx, self.actor):
            decided = [(job, decide(tx, job)) for job in jobs_among(tx, ids, among)]
            writes = [Write(f"job:{job.id}", job, events) for job, events in decided if events]
            tx.append(writes, self.actor)
        return [write.before.id for write in writes]


def jobs_among(view: View, ids: Sequence[str], states: Collection[str] | None) -> Iterator[Job]:
    """The jobs of these ids, each once. Raises NotFound, unless only those in these states are asked for."""
    for id in dict.fromkeys(ids):
        job = get_job(view, id) if states is None else view.job(id)
        if job is not None and (states is None or job.state in states):
            yield job
