"""The check of what keeps jobs from starting because a person wants it so: pauses, suspended jobs, too large needs."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from projections.queues import ALL
from queuectl import amounts
from queuectl.clock import text
from queuectl.doctor.finding import Finding, fine, some, warning
from queuectl.queue_summary import QueueSummary
from queuectl.selection import stock
from queuectl.units import counted, span

if TYPE_CHECKING:
    from projections.replay import ProgressBars
    from queuectl.doctor import InspectedQueue

FORGOTTEN = 86_400 * 1_000_000
"""Microseconds after which a pause without an end, or a suspension, may have been forgotten."""


def flow(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that no job waits for something that may never happen: the end of a pause, or more than there is."""
    findings = [*_paused(queue), *_suspended(queue), *_beyond(queue)]
    yield from findings or [fine("nothing is paused or suspended, no job needs more than exists")]


def _paused(queue: "InspectedQueue") -> Iterator[Finding]:
    queues = queue.queues()
    waiting = sum(each.waiting for each in queues)
    for each in queues:
        if each.is_paused and (jobs := waiting if each.name == ALL else each.waiting):
            yield _pause(each, jobs)


def _pause(queue: QueueSummary, jobs: int) -> Finding:
    state = queue.state
    since = state.paused_at or queue.now
    what = "all queues are paused" if queue.name == ALL else f"the queue {queue.name} is paused"
    what += f" by {state.paused_by}, for {span((queue.now - since) // 1_000_000)}"
    what += f", since job {state.paused_job} died" if state.paused_job is not None else ""
    what += f": {state.paused_reason}" if state.paused_reason is not None else ""
    what += f"; {counted(jobs, 'job waits', 'jobs wait')}"
    what += f"; it ends at {text(state.paused_until)}" if state.paused_until is not None else ""
    # Somebody has just paused it on purpose, unless it was the death of a job.
    lasting = state.paused_for_good and (state.paused_job is not None or queue.now - since > FORGOTTEN)
    do = "let its jobs start: queuectl resume" + (f" {queue.name}" if queue.name != ALL else "")
    return Finding("warning" if lasting else "ok", what, do, {"queue": queue.name or None, "jobs": jobs})


def _suspended(queue: "InspectedQueue") -> Iterator[Finding]:
    with queue.engine.snapshot() as view:
        jobs = [job for job in view.processing() if job.suspended_at is not None and not job.suspended_by_pause]
    if jobs:
        first = min(job.suspended_at or 0 for job in jobs)
        names = some([job.id for job in jobs])
        what = f"{counted(len(jobs), 'job is', 'jobs are')} suspended, since {text(first)}: {names}"
        lasting = queue.engine.now() - first > FORGOTTEN
        do = f"let {'it' if len(jobs) == 1 else 'them'} go on: queuectl continue {' '.join(job.id for job in jobs[:3])}"
        yield Finding("warning" if lasting else "ok", what, do, {"jobs": [job.id for job in jobs]})


def _beyond(queue: "InspectedQueue") -> Iterator[Finding]:
    with queue.engine.snapshot() as view:
        demands = view.demands()
        counts = {demand: sum(view.counts_of_demands([demand]).values()) for demand in demands}
        there = stock(view, "")
    for demand, job in demands.items():
        if (found := there.beyond(job.policy.needs)) is not None:
            name, most = found
            need, jobs = job.policy.needs[name], counts[demand]
            # Which pool may grow is said by `explain` of each job: that of the queue, or that of a host.
            yield warning(
                f"{counted(jobs, 'job needs', 'jobs need')} {name}={amounts.text(need)}, and there is"
                f" {amounts.text(most)}: {job.id}{' and others' if jobs > 1 else ''}",
                f"see queuectl explain {shlex.quote(job.id)}, or cancel what can't run",
                resource=name,
                jobs=jobs,
            )
