"""Admission: why a waiting job does not start (R30).

`reasons` is the one answer to that question, for the claim, lists, hints, doctor and private workers. It is pure: what
it has to know of the queue is in `Facts`, which are collected once and hold for many jobs.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from projections.dependencies import DEPENDENCY_KINDS
from projections.jobs import Job
from projections.queues import ALL, QueueGate
from queuectl import amounts
from queuectl.clock import text
from queuectl.disk import Disk
from queuectl.errors import Refused
from queuectl.events import Recorded
from queuectl.stock import RESERVES, Pool, Reservation, Stock, holders, kept
from queuectl.units import counted, listed

WAITING = ("pending", "failed")
"""The states of jobs that wait for a start."""
UNSTARTED = (*WAITING, "blocked")
"""The states of jobs that have to start, or to start again, before they can end."""

KINDS = (
    "halted", "held", "paused", "dependency", "delayed", "backoff", "postponed", "concurrency", "rate", "resource",
    "reserved", "disk", "no_worker", "host", "busy", "priority",
)  # fmt: skip
"""The kinds of reasons, in the order in which they have to go."""

FOR_WORKERS = frozenset({"no_worker", "host", "busy", "priority"})
"""The kinds of reasons that are no matter of the job: with one free slot more it would start."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job does not start. Moments are µs UTC."""

    kind: str
    """One of `KINDS`."""
    text: str
    """In words; moments stand in `since` and `when`."""
    about: str | None = None
    """The name of the queue, resource or batch that it is about; None where it is of the job, or of all queues."""
    behind: tuple[str, ...] = ()
    """The ids of the jobs that are in the way, as far as it names any."""
    since: int | None = None
    """Since when it holds; None where nothing recorded it."""
    by: str | None = None
    """The actor of the event behind it."""
    why: str | None = None
    """What that actor gave as its reason, or the failure behind it."""
    frees: str | None = None
    """The command that removes it; None where only time does."""
    when: int | None = None
    """When it will be gone."""
    estimated: bool = False
    """Whether `when` is an estimate."""

    @property
    def key(self) -> tuple[str | None, ...]:
        """What is the same for as long as it holds, and for all jobs that wait for the same."""
        return self.kind, self.about, self.by, self.why

    def json(self) -> dict[str, Any]:
        """The document, its moments as RFC 3339 text."""
        found = msgspec.structs.asdict(self)
        return found | {name: text(found[name]) for name in ("since", "when") if found[name] is not None}


class Servers(msgspec.Struct, frozen=True):
    """The workers that are up and serve the same queues."""

    queues: tuple[str, ...]
    """Empty: all."""
    slots: int
    free: int
    """Slots without a job."""
    first: tuple[Job, ...] = ()
    """The jobs of these queues that are claimed first: one for each free slot, or one; fewer if no more may start."""
    full_since: int | None = None
    """The moment (µs UTC) of the latest claim of what they hold."""
    home: str = ""
    """The identity of the queue's folder that they share."""
    widest: int = 1
    """The slots of the one that has most."""
    roomiest: int = 1
    """Free slots of the one that has most free."""
    kept_for: Job | None = None
    """The job for which free slots of some of them are kept (R35)."""
    unkept: int = 0
    """Of the free slots those that are not."""
    roomiest_unkept: int = 0
    """Free slots of the one of the others that has most free."""
    holds_back: str | None = None
    """Why they claim nothing, whatever is free: the load or the memory of their host; None: they claim."""
    next_end: int | None = None
    """When the first of their jobs will end (µs UTC), by the median run time of its queue; None: not known."""

    def takes(self, job: Job) -> bool:
        """Whether a job is among the first."""
        return any(job.id == other.id for other in self.first)

    def ahead(self, job: Job) -> Job | None:
        """The job before this one for which all free slots are kept that it could take; None where there is none."""
        first, needed = self.kept_for, job.policy.slots
        left = self.unkept if needed == 1 else self.roomiest_unkept >= needed
        return first if first is not None and not left and order(first) < order(job) else None


class Facts(msgspec.Struct, frozen=True):
    """What is known of the queue at one moment. What is None was not looked at and is no reason."""

    disk: Disk | None = None
    servers: tuple[Servers, ...] | None = None
    failed_at: Mapping[str, int] = {}
    """The moments (µs UTC) of the latest failures of jobs, by id, as far as they were looked for."""
    holds: Mapping[str, Recorded] = {}
    """The events by which jobs are held, by id, as far as they were looked for."""
    releases: Mapping[str, Recorded] = {}
    """The events by which jobs are postponed, by id, as far as they were looked for."""
    stocks: Mapping[str, Stock] = {}
    """The resources, as they are for jobs that start at a home, by its identity."""
    reservations: Mapping[str, Sequence[Reservation]] = {}
    """What is kept of resources at a home, by its identity, in the order of claims."""
    gates: Mapping[str, QueueGate] = {}
    """The queues of which anything was said, by name; `ALL`: what was said of all of them."""
    halting: frozenset[str] = frozenset()
    """The names of batches that are halted, and of which not all that waits is cancelled yet."""

    def serving(self, queue: str) -> list[Servers]:
        """Those that take the jobs of a queue."""
        return [each for each in self.servers or () if not each.queues or queue in each.queues]

    def able(self, job: Job) -> list[Servers]:
        """Those that take a job: of its queue, and with as many slots as it needs."""
        return [each for each in self.serving(job.queue) if job.policy.slots <= max(1, each.widest)]

    def stocks_for(self, job: Job) -> list[Stock]:
        """The resources at the homes of the workers that take a job; at all homes, where none does."""
        homes = {each.home for each in self.able(job)}
        return [stock for home, stock in self.stocks.items() if home in homes or not homes]


NOTHING = Facts()
"""No facts: only what the job itself says is a reason."""


def reasons(job: Job, facts: Facts, now: int) -> list[Reason]:
    """Every reason why a waiting job does not start, in the order in which they have to go; none: it is to start.

    Whether a slot is free is asked only of a job that is due. Raises Refused where the job does not wait.
    """
    if job.state not in UNSTARTED:
        raise Refused(f"job {job.id} is {job.state}, not waiting to be claimed")
    return [*_reasons(job, facts, now)]


def first(job: Job, facts: Facts, now: int) -> Reason | None:
    """The first of these reasons; None where there is none, or the job does not wait."""
    return next(_reasons(job, facts, now), None) if job.state in UNSTARTED else None


def _reasons(job: Job, facts: Facts, now: int) -> Iterator[Reason]:
    gate, all_queues = facts.gates.get(job.queue), facts.gates.get(ALL)
    if job.batch is not None and job.batch in facts.halting:
        yield _halted(job.batch)
    if not job.forced:
        if job.held:
            yield _held(job, facts.holds.get(job.id))
        for each in (gate, all_queues):
            if each is not None and each.state.is_paused(now, callbacks=job.past_limits):
                yield _paused(each)
    if job.watching is not None:
        yield _blocked(job, job.watching)
    if not job.forced:
        if job.run_at > now:
            yield _not_due(job, facts)
        if gate is not None and not job.past_limits:
            yield from _limited(gate, now)
    if job.demand:
        yield from _short(job, facts, now)
    if facts.disk is not None and facts.disk.low:
        yield low_disk(facts.disk)
    if facts.servers is not None and job.watching is None:
        serving = facts.able(job)
        if not serving:
            yield _no_worker(job, now)
        elif job.run_at <= now or job.forced:
            yield from _in_line(job, serving, now)


def low_disk(disk: Disk) -> Reason:
    """The reason for all jobs while the disk is low: its command lowers the floor to less than half of what is free."""
    room = 1 << disk.free.bit_length() >> 2
    return Reason(kind="disk", text=f"no new job starts: {disk}", frees=f"queuectl config set disk-floor {room}")


def start_worker(queue: str) -> str:
    """The command that has the jobs of a queue run."""
    return f"queuectl worker start --queue {shlex.quote(queue)}"


def _halted(batch: str) -> Reason:
    return Reason(
        kind="halted", text=f"its batch {batch} was halted: it will be cancelled", about=batch, frees="queuectl recover"
    )


def _held(job: Job, event: Recorded | None) -> Reason:
    since, why = _behind(event)
    by = event.actor if event is not None else None
    return Reason(
        kind="held", text="held", since=since, by=by, why=why, frees=f"queuectl release {shlex.quote(job.id)}"
    )


def _behind(event: Recorded | None) -> tuple[int | None, str | None]:
    """Since when (µs UTC) a reason holds that an event brought, and what that gives as its own reason."""
    return (event.at, getattr(event.event, "reason", None)) if event is not None else (None, None)


def _paused(gate: QueueGate) -> Reason:
    """The reason for the jobs of a paused queue, or for all jobs."""
    state = gate.state
    what = f"the queue {state.name} is paused" if state.name != ALL else "all queues are paused"
    if state.paused_job is not None:
        what += f", since job {state.paused_job} died"
    return Reason(
        kind="paused",
        text=what,
        about=state.name or None,
        since=state.paused_at,
        by=state.paused_by,
        why=state.paused_reason,
        frees=f"queuectl resume {shlex.quote(state.name)}" if state.name != ALL else "queuectl resume",
        when=state.paused_until,
    )


def _blocked(job: Job, parent: str) -> Reason:
    """The reason for a job that depends on others: the one of them that is expected to end last."""
    count = sum(len(getattr(job.policy, kind)) for kind in DEPENDENCY_KINDS)
    what = f"it starts after job {parent}" + (f", the last of {count} that it depends on" if count > 1 else "")
    return Reason(kind="dependency", text=what, behind=(parent,))


def _limited(gate: QueueGate, now: int) -> Iterator[Reason]:
    """The reasons for the jobs of a queue that has reached its limits."""
    state = gate.state
    change = f"queuectl queue set {shlex.quote(state.name)}"
    if gate.is_full:
        what = (
            f"{counted(gate.processing, 'job runs', 'jobs run')} in the queue {state.name}, and {state.concurrency} may"
        )
        frees = f"{change} --concurrency {gate.processing + 1}"
        yield Reason(kind="concurrency", text=what, about=state.name, frees=frees)
    if state.rate is not None and (opens := gate.opens(now)) > now:
        what = f"the queue {state.name} starts {state.rate}"
        yield Reason(kind="rate", text=what, about=state.name, frees=f"{change} --rate none", when=opens)


def _not_due(job: Job, facts: Facts) -> Reason:
    when, frees = job.run_at, f"queuectl start {shlex.quote(job.id)}"
    if job.postponed:
        what = "its start has failed, and the next try is not due"
        since, why = _behind(facts.releases.get(job.id))
        return Reason(kind="postponed", text=what, since=since, why=why, frees=frees, when=when)
    if job.state == "pending":
        by, why = job.enqueued_by, job.policy.reason
        return Reason(kind="delayed", text="not due", since=job.enqueued_at, by=by, why=why, frees=frees, when=when)
    code = {"exit": job.exit_code, "signal": job.signal}.get(job.cause or "")
    since, why = facts.failed_at.get(job.id), job.error or (f"{job.cause} {code}" if code is not None else job.cause)
    return Reason(kind="backoff", text="its retry is not due", since=since, why=why, frees=frees, when=when)


def _short(job: Job, facts: Facts, now: int) -> Iterator[Reason]:
    """The resources of which less is free than a job needs, or is kept for others, wherever it may start."""
    needs = job.policy.needs
    reasons: list[Reason] = []
    for stock in facts.stocks_for(job):
        if lacking := stock.lacking(needs):
            reasons = reasons or [_held_up(job, pool, needs[pool.resource]) for pool in lacking]
            continue
        ahead = [each for each in facts.reservations.get(stock.home, ()) if order(each.job) < order(job)]
        held_back = stock.lacking(needs, kept(ahead))
        if not held_back:
            return
        reasons = [_reserved(job, pool, ahead) for pool in held_back]
    yield from reasons


def _reserved(job: Job, pool: Pool, ahead: Sequence[Reservation]) -> Reason:
    name = pool.resource
    [first] = [each for each in ahead if each.resource == name]
    what = f"{name}={amounts.text(first.amount)} is kept for job {first.job.id}"
    need = job.policy.needs[name] + first.amount
    return Reason(
        kind="reserved",
        text=what,
        about=name,
        behind=(first.job.id,),
        since=first.job.run_at + RESERVES,
        frees=_more(job, pool, need),
    )


def _held_up(job: Job, pool: Pool, need: int) -> Reason:
    name = pool.resource
    behind: tuple[str, ...] = ()
    if need > pool.capacity:
        what = f"{name}={amounts.text(need)} is more than there is ({amounts.text(pool.capacity)})"
    else:
        behind = holders(pool.grants)
        of = f"{amounts.text(pool.free)} of {amounts.text(pool.capacity)} free"
        what = f"{name}={amounts.text(need)} is needed, {of}: held by {listed(behind)}"
    return Reason(kind="resource", text=what, about=name, behind=behind, frees=_more(job, pool, need))


def _more(job: Job, pool: Pool, need: int) -> str:
    """The command after which so much of a resource is free: lowest numbers first, none taken from anybody."""
    pool = pool.grow(need)
    if pool.home is not None:
        much = amounts.ranges(pool.indices) if pool.indices is not None else str(pool.capacity)
        return f"{start_worker(job.queue)} --resource {pool.resource}={much}"
    much = f"--indices {amounts.ranges(pool.indices)}" if pool.indices is not None else str(pool.capacity)
    return f"queuectl resource set {pool.resource} {much}"


def _no_worker(job: Job, now: int) -> Reason:
    what, frees, slots = f"no worker serves the queue {job.queue}", start_worker(job.queue), job.policy.slots
    if slots > 1:
        what, frees = f"{what} with {slots} slots", f"{frees} --slots {slots}"
    since = job.run_at if job.run_at <= now else None
    return Reason(kind="no_worker", text=what, about=job.queue, since=since, frees=frees)


def _in_line(job: Job, serving: list[Servers], now: int) -> Iterator[Reason]:
    """The reasons of a due job that workers serve: they hold back, all slots are taken, or will be by other jobs."""
    needed = job.policy.slots
    roomy = [each for each in serving if (each.free if needed == 1 else each.roomiest >= needed)]
    free = [each for each in roomy if each.holds_back is None]
    if roomy and not free:
        yield Reason(
            kind="host",
            text=f"the workers of the queue {job.queue} hold back: {roomy[0].holds_back}",
            about=job.queue,
            frees=start_worker(job.queue) + (f" --slots {needed}" if needed > 1 else ""),
        )
    elif not free:
        yield _busy(job, serving, now)
    elif len(ahead := [first for each in free if (first := each.ahead(job))]) == len(free):
        yield _kept(job, ahead[0], sum(each.free for each in free))
        return
    # Some keep their slots for a job that needs more than they have free: none starts there, but elsewhere.
    ids = tuple(other.id for other in next((each.first for each in free or serving if each.first), ()))
    if ids and not any(each.takes(job) for each in free or serving):
        what = f"these start before it: {listed(ids)}"
        yield Reason(kind="priority", text=what, about=job.queue, behind=ids, since=job.run_at)


def _kept(job: Job, first: Job, free: int) -> Reason:
    """The reason of a job that may not take the free slots: one before it needs more of one worker than are free."""
    what = f"job {first.id}, which needs {first.policy.slots} of one worker"
    return Reason(
        kind="busy",
        text=f"the free slots ({free}) are kept for {what}",
        about=job.queue,
        behind=(first.id,),
        since=max(job.run_at, first.run_at + RESERVES),
        frees=start_worker(job.queue) + (f" --slots {job.policy.slots}" if job.policy.slots > 1 else ""),
    )


def _busy(job: Job, serving: list[Servers], now: int) -> Reason:
    """The reason of a job for which the workers that take it have not enough free slots."""
    needed = job.policy.slots
    slots = sum(each.slots for each in serving)
    ends = [each.next_end for each in serving if each.next_end is not None]
    return Reason(
        kind="busy",
        text=f"all slots that serve the queue {job.queue} are taken ({slots})"
        if needed == 1
        else f"no worker of the queue {job.queue} has {needed} free slots",
        about=job.queue,
        since=max(job.run_at, *(each.full_since or 0 for each in serving)),
        frees=start_worker(job.queue) + (f" --slots {needed}" if needed > 1 else ""),
        when=max(now, min(ends)) if ends else None,
        estimated=bool(ends),
    )


def order(job: Job) -> tuple[bool, int, int, int]:
    """The key by which due jobs are claimed, the least first: those that are forced before all others."""
    if job.forced:
        return False, 0, 0, job.seq
    return True, -job.priority, job.run_at, job.seq
