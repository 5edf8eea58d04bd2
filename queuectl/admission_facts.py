"""The facts that `admission.reasons` is asked with, collected from the tables and from the workers' processes."""

from collections.abc import Sequence

from projections.job_list import JobFilter
from projections.jobs import Job
from projections.queues import ALL
from projections.workers import Worker
from queuectl.admission import Facts, Servers
from queuectl.clock import SECOND
from queuectl.disk import Disk
from queuectl.engines.base import Engine
from queuectl.engines.view import View
from queuectl.events import Recorded
from queuectl.host_limits import holds_back
from queuectl.liveness import Life, liveness
from queuectl.selection import in_open_queues, needy, select
from queuectl.stock import Stock

SAMPLE = 20
"""Jobs of which the run time of a queue is estimated: those that completed last."""


def collect(view: View, engine: Engine | None, disk: Disk | None, now: int, about: Job | None = None) -> Facts:
    """The facts at `now` (µs UTC); those that cost more are collected only for the job that is asked `about`.

    Without an engine (of the past) the workers live that had not ended by the log.

    A worker for certain jobs alone serves no queue.
    """
    alike = _alike(view, engine)
    servers = tuple(_servers(view, *kind, workers, now, about) for kind, workers in alike.items())
    ends = [attempt.ended_at for attempt in view.attempts(about.id)] if about is not None else []
    failed_at = {about.id: at} if about is not None and ends and (at := ends[-1]) is not None else {}
    gates = view.gates()
    holds = _last(view, about, "held", "enqueued") if about is not None and about.held else {}
    releases = _last(view, about, "released") if about is not None and about.postponed else {}
    stocks = _stocks(view, servers)
    waiting = in_open_queues(needy(view, now, 1, [worker for each in alike.values() for worker in each]), gates, now)
    reservations = {home: stock.reservations(waiting, now) for home, stock in stocks.items()} if waiting else {}
    return Facts(disk, servers, failed_at, holds, releases, stocks, reservations, gates, view.halting_batches())


def collect_early(view: View, job: Job) -> Facts:
    """The facts of a past moment from which the reasons of a job up to `resource` follow: no other job is looked at."""
    gates = view.gates([job.queue, ALL])
    if not job.policy.needs:
        return Facts(gates=gates)
    servers = [
        Servers(queues, slots=0, free=0, home=home, widest=max(worker.slots for worker in workers))
        for (queues, home, _), workers in _alike(view, None).items()
    ]
    return Facts(servers=tuple(servers), stocks=_stocks(view, servers), gates=gates)


def _alike(view: View, engine: Engine | None) -> dict[tuple[tuple[str, ...], str, str | None], list[Worker]]:
    """The workers that are up, by the queues that they serve, their home, and why they hold back, if they do."""
    alike: dict[tuple[tuple[str, ...], str, str | None], list[Worker]] = {}
    for worker in view.workers():
        if worker.state == "running" and worker.slots > 0 and not worker.private:
            if engine is None:  # of the past the log does not tell what they hold back for
                alike.setdefault((worker.queues, worker.identity, None), []).append(worker)
            elif liveness(worker, engine) is not Life.GONE:
                alike.setdefault((worker.queues, worker.identity, holds_back(worker)), []).append(worker)
    return alike


def _stocks(view: View, servers: Sequence[Servers]) -> dict[str, Stock]:
    """The resources at each home: where workers are up, or offer any."""
    states, offering, grants = view.resource_states(), view.offers(), view.grants()
    homes = {each.home for each in servers} | {worker.identity for worker in offering} or {""}
    return {home: Stock(home, states, offering, grants) for home in sorted(homes)}


def _last(view: View, job: Job, *types: str) -> dict[str, Recorded]:
    """The last event of these types in the stream of a job, by the job's id."""
    found = [record for record in view.stream(f"job:{job.id}") if record.type in types]
    return {job.id: found[-1]} if found else {}


def _servers(
    view: View,
    queues: tuple[str, ...],
    home: str,
    why: str | None,
    workers: list[Worker],
    now: int,
    about: Job | None,
) -> Servers:
    jobs: list[Job] = []
    rooms: dict[str, int] = {}
    for worker in workers:
        held = view.jobs_of(worker.id)
        rooms[worker.id] = max(0, worker.slots - sum(job.policy.slots for job in held))
        jobs += held
    free = sum(rooms.values())
    claims = [job.claimed_at for job in jobs if job.claimed_at is not None]
    ends = _expected_ends(view, jobs, now) if about is not None and not free else []
    selection = select(view, queues, now, max(1, free), rooms if free else {"": 1}, home)
    unkept = [room for worker, room in rooms.items() if worker not in selection.kept]
    return Servers(
        queues=queues,
        slots=sum(worker.slots for worker in workers),
        free=free,
        first=tuple(each.job for each in selection.jobs),
        full_since=max(claims, default=None) if not free else None,
        home=home,
        widest=max(worker.slots for worker in workers),
        roomiest=max(rooms.values()),
        kept_for=next(iter(selection.kept.values()), None),
        unkept=sum(unkept),
        roomiest_unkept=max(unkept, default=0),
        holds_back=why,
        next_end=min(ends, default=None),
    )


def _expected_ends(view: View, jobs: list[Job], now: int) -> list[int]:
    """When these jobs will end (µs UTC), as far as any have completed in their queues."""
    times = {queue: _run_time(view, queue, now) for queue in {job.queue for job in jobs}}
    return [
        job.claimed_at + round(seconds * SECOND)
        for job in jobs
        if job.claimed_at is not None and (seconds := times[job.queue]) is not None
    ]


def _run_time(view: View, queue: str, now: int) -> float | None:
    """The median run time (seconds) of the jobs of a queue that completed last; None where none did."""
    seqs = view.job_seqs(JobFilter(states=("completed",), queue=queue), now, SAMPLE)
    last = (view.attempts(job.id)[-1].run_seconds for job in view.jobs(seqs))
    times = sorted(seconds for seconds in last if seconds is not None)
    return times[len(times) // 2] if times else None
