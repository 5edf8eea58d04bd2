"""At rest: whether anything in the queue will still happen by itself (R46)."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from projections.counts import Count
from projections.jobs import FINAL, Job
from projections.queues import ALL, QueueState
from projections.workers import Worker
from queuectl.admission import WAITING
from queuectl.engines.view import View
from queuectl.selection import stock


def live_jobs(view: View, hosts: Collection[Job] = (), *, callbacks: bool = True) -> int:
    """How many jobs have not ended and wait for no person, but for these `hosts`, which end after the asker.

    `callbacks`: whether callbacks count.

    Those that wait for one are held, in a queue that is paused without an end (unless they are forced), or need more
    than exists. Jobs that wait for others count as these do that they wait for.
    """
    paused, beyond = _paused(view), _beyond(view, ())
    live = [*_live(view, (), paused, beyond)]
    if not callbacks:
        live = [*_without(live, view.live_callbacks())]
    forced = [job for job in view.forced() if callbacks or not job.past_limits]
    past = sum((job.held or _is_shut(job.queue, paused)) and job.demand not in beyond for job in forced)
    left = sum(count.jobs for count in live) + past - len(hosts)
    if left and left == sum(count.jobs for count in live if count.state == "blocked"):
        # They wait for nothing that is counted here: for the hosts, or for what waits for a person.
        return left if any(_will_end(job, paused, beyond, 1 << 62) for job in _others(view.roots(), hosts)) else 0
    return left


def live_members(view: View, batch: str, hosts: Collection[Job]) -> int:
    """The same of the jobs of a batch. `hosts`: jobs that can't end before the asker does, which don't count."""
    counts, own = view.batch_counts(batch), sum(host.batch == batch for host in hosts)
    left = sum(jobs for state, jobs in counts.items() if state not in FINAL) - own
    if left == 0 or counts.get("processing", 0) > own:
        return left
    paused, beyond = _paused(view), _beyond(view, ())
    live = 0
    for each in view.waiting_members(batch):
        shut = each.held or (each.state != "blocked" and (ALL in paused or each.queue in paused))
        if each.demand not in beyond and (each.forced or not shut):
            live += each.jobs if each.state != "blocked" else 0
    others = _others(view.roots(batch=batch), hosts) if live == 0 else []
    return left if any(_will_end(job, paused, beyond, 1 << 62) for job in others) else live


def at_rest(view: View, queues: Sequence[str], now: int, ours: int, hosts: Collection[Job] = ()) -> bool:
    """Whether nothing in these queues (none named: in all) will happen by itself, starts that users delayed aside.

    `ours`: how many processing jobs of these can't be ended at all. `hosts`: those that can't end before the asker
    does, of whatever queue: neither they nor what waits for them counts.
    """
    paused = _paused(view)
    beyond = _beyond(view, queues, [worker for worker in view.workers() if not worker.private])
    live = [*_live(view, queues, paused)]
    failed = {count.queue for count in live if count.state == "failed"}
    if failed and (not beyond or view.has_failed(failed, beyond)):
        return False
    if any(job.demand not in beyond for job in view.forced(queues)):
        return False
    postponed = view.postponed(queues) if ALL not in paused else ()
    if any(queue not in paused and demand not in beyond for queue, demand in postponed):
        return False
    ours += sum(not queues or host.queue in queues for host in hosts)
    if sum(count.jobs for count in live if count.state == "processing") > ours or view.is_cascading():
        return False
    shut = [name for name, state in paused.items() if state.is_paused(now, callbacks=True)]
    due = view.next_due(queues, paused, beyond, shut) if ALL not in paused else None
    if due is not None and due <= now:
        return False
    if not any(count.state == "blocked" for count in live):
        return True
    return not any(_will_end(job, paused, beyond, now) for job in _others(view.roots(queues), hosts))


def _others(jobs: Sequence[Job], hosts: Collection[Job]) -> list[Job]:
    return [job for job in jobs if all(job.id != host.id for host in hosts)]


def _will_end(job: Job, paused: Mapping[str, QueueState], beyond: Collection[str], now: int) -> bool:
    """Whether a job that others wait for runs, or starts without a person, or a start that a user delayed."""
    if job.state not in WAITING:
        return True
    if job.demand in beyond:
        return False
    passes = job.past_limits and _lets_callbacks(paused, job.queue)
    shut = job.held or ALL in paused or (job.queue in paused and not passes)
    return job.forced or not (shut or (job.state == "pending" and job.run_at > now and not job.postponed))


def _live(
    view: View, queues: Sequence[str], paused: Mapping[str, QueueState], beyond: Collection[str] = ()
) -> Iterator[Count]:
    """The counts of what has not ended and waits for no person; less what waits for more of `beyond` than exists."""
    never = view.counts_of_demands(beyond)
    callbacks = view.live_callbacks() if any(_lets_callbacks(paused, queue) for queue in paused) else {}
    for count in view.all_counts(queues):
        if count.state in FINAL or count.held:
            continue
        left = count.jobs - never.get((count.queue, count.state), 0)
        if count.state in WAITING and _is_shut(count.queue, paused):
            left = callbacks.get((count.queue, count.state), 0) if _lets_callbacks(paused, count.queue) else 0
        if left:
            yield msgspec.structs.replace(count, jobs=left)


def _without(live: Iterable[Count], callbacks: Mapping[tuple[str, str], int]) -> Iterator[Count]:
    """These counts without callbacks."""
    for count in live:
        jobs = count.jobs - callbacks.get((count.queue, count.state), 0)
        if jobs:
            yield msgspec.structs.replace(count, jobs=jobs)


def _paused(view: View) -> dict[str, QueueState]:
    """The queues that are paused until somebody resumes them."""
    return {name: gate.state for name, gate in view.gates().items() if gate.state.paused_for_good}


def _is_shut(queue: str, paused: Collection[str]) -> bool:
    return ALL in paused or queue in paused


def _lets_callbacks(paused: Mapping[str, QueueState], queue: str) -> bool:
    """Whether callbacks start in a queue that is paused for good: it was the death of a job that paused it."""
    return ALL not in paused and queue in paused and paused[queue].paused_job is not None


def _beyond(view: View, queues: Sequence[str], workers: Sequence[Worker] = ()) -> set[str]:
    """What waiting jobs need of which less exists anywhere; with `workers`, less than any of these can give.

    A worker gives the resources at its home, and its slots.
    """
    # Those that are forced start though they are held, which are otherwise no matter here.
    demands = view.demands(queues) | {job.demand: job for job in view.forced(queues) if job.demand}
    if not demands:
        return set()
    if not workers:
        there = stock(view, "")
        return {demand for demand, job in demands.items() if there.beyond(job.policy.needs) is not None}
    widest: dict[str, int] = {}
    for worker in workers:
        widest[worker.identity] = max(widest.get(worker.identity, 0), worker.slots)
    homes = [(stock(view, home), slots) for home, slots in widest.items()]
    return {
        demand
        for demand, job in demands.items()
        if all(job.policy.slots > slots or there.exceeded(job.policy.needs) for there, slots in homes)
    }
