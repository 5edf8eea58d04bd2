"""A queue as a screen shows it: its queues, what runs, what waits and why, what has ended. All of it of one moment.

The first jobs of each kind are looked at and no more, so that it costs the same with a million that wait.
"""

from collections.abc import Collection, Sequence

import msgspec
from msgspec import structs

from projections.job_list import JobFilter
from projections.jobs import FINAL, STATES, Job
from queuectl import disk, filters
from queuectl.admission import UNSTARTED, Facts
from queuectl.admission_facts import collect
from queuectl.disk import Disk
from queuectl.engines.view import View
from queuectl.filters import Condition, Term
from queuectl.forecast import Forecast, Forecasts
from queuectl.queries import Queries
from queuectl.queue_summary import QueueSummary, summaries
from queuectl.waits import Wait, first_waits, waits

MOST = 200
"""Jobs of each kind that are given."""
LOOKED_AT = 5000
"""Jobs of each kind, the first ones, that are looked at where an index can't answer a filter."""
SUMMED = 1000
"""Jobs that wait, up to which the reasons of all are summed up. Of more it is that of the first of each queue."""


class RunningJob(msgspec.Struct, frozen=True):
    """A job that runs."""

    job: Job
    forecast: Forecast


class Overview(msgspec.Struct, frozen=True):
    """A queue at one moment. Moments are µs UTC."""

    seq: int
    """The last event of the log."""
    at: int
    """Its moment; 0 in an empty log."""
    now: int
    """The moment of which this tells."""
    counts: dict[str, int]
    """Jobs by state, every one, in the order of `projections.jobs.STATES`."""
    held: int
    """Of those that wait, how many are held."""
    workers: int
    disk: Disk
    queues: list[QueueSummary]
    """By name; what was said of all queues at once comes first, with an empty name."""
    waits: list[Wait]
    """Why jobs wait, summed up by their first reasons. Of more than `SUMMED` those that are held or blocked are left
    out, and all others of a queue are taken for such as wait like its first one."""
    running: list[RunningJob]
    waiting: list[Job]
    """In the order in which they will run."""
    ended: list[Job]
    """Those that died, the latest first; of other ends only where a filter names them."""
    more: dict[str, int | None]
    """How many there are beside these, by the name of each list; None: some, which were not counted."""
    facts: Facts
    """By which `admission.reasons` tells why a job waits."""


def overview(q: Queries, terms: Sequence[Term] = ()) -> Overview:
    """Look at a queue. `terms`: the filter (R39) of the jobs; the sums and the queues are of all there are.

    Raises Unusable, and OSError where its folder is gone.
    """
    forecasts = Forecasts(q)
    with q.engine.snapshot() as view:
        now = q.engine.now()
        space = disk.space(q.home, q.settings(view))
        facts = collect(view, q.engine, space, now)
        counts, (seq, at) = view.counts(), view.head()
        lists = _Lists(view, terms, now)
        running = lists.jobs("running", ("processing",))
        waiting = lists.jobs("waiting", UNSTARTED)
        ended = lists.jobs("ended", FINAL, ("dead",))
        return Overview(
            seq=seq,
            at=at,
            now=now,
            counts={state: counts.get(state, 0) for state in STATES},
            held=view.held_jobs(),
            workers=view.running_workers(),
            disk=space,
            queues=summaries(view, now),
            waits=_waits(view, facts, now, sum(counts.get(state, 0) for state in UNSTARTED)),
            running=[RunningJob(job, forecasts.within(view, job)) for job in running],
            waiting=waiting,
            ended=ended,
            more=lists.more,
            facts=facts,
        )


def refreshed(q: Queries, seen: Overview, terms: Sequence[Term] = ()) -> Overview:
    """Look again: where nothing was appended, only at how far the jobs are that run. Raises as `overview` does.

    What only time changes (jobs become due, workers die) is not seen then.
    """
    forecasts = Forecasts(q)
    with q.engine.snapshot() as view:
        if view.head()[0] == seen.seq:
            running = [RunningJob(each.job, forecasts.within(view, each.job)) for each in seen.running]
            return structs.replace(seen, now=q.engine.now(), running=running)
    return overview(q, terms)


def _waits(view: View, facts: Facts, now: int, jobs: int) -> list[Wait]:
    if jobs > SUMMED:
        return first_waits(view, facts, now)
    return waits(view.jobs(view.job_seqs(JobFilter(states=UNSTARTED), now)), facts, now)


class _Lists:
    """The lists of jobs of an overview."""

    def __init__(self, view: View, terms: Sequence[Term], now: int) -> None:
        self._view, self._terms, self._now = view, terms, now
        self._named = filters.states(terms)
        self.more: dict[str, int | None] = {}

    def jobs(self, name: str, kind: Collection[str], usual: Sequence[str] | None = None) -> list[Job]:
        """The first jobs of a kind of states, as far as the filter names these; notes how many more there are.

        `usual`: those that are meant where it names none at all.
        """
        named = self._named if self._named is not None else usual or STATES
        states = tuple(state for state in named if state in kind)
        where = filters.condition(self._terms, JobFilter(states=states), self._now)
        jobs, self.more[name] = self._first(where) if states else ([], 0)
        return jobs

    def _first(self, where: Condition) -> tuple[list[Job], int | None]:
        """The first of these jobs, and how many more there are."""
        view, meant = self._view, where.rest
        seqs = view.job_seqs(where.listed, self._now, MOST + 1 if meant is None else LOOKED_AT + 1)
        if meant is None:
            more = view.count_jobs(where.listed) - MOST if not self._terms else None
            return view.jobs(seqs[:MOST]), more if len(seqs) > MOST else 0
        jobs: list[Job] = []
        for start in range(0, min(len(seqs), LOOKED_AT), MOST):
            jobs += [job for job in view.jobs(seqs[start : start + MOST]) if meant(job, view.note_texts)]
            if len(jobs) > MOST:
                break
        return jobs[:MOST], None if len(jobs) > MOST or len(seqs) > LOOKED_AT else 0
