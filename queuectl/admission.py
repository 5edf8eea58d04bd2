"""Admission: why a waiting job does not start (R30).

`reasons` is the one answer to that question, for the claim, lists, hints, doctor and private workers. It is pure: what
it has to know of the queue is in `Facts`, which are collected once and hold for many jobs.
"""

import shlex
from collections.abc import Mapping

import msgspec

from projections.jobs import Job
from queuectl.clock import text
from queuectl.disk import Disk
from queuectl.errors import Refused

WAITING = ("pending", "failed")
"""The states of jobs that wait for a start."""

FOR_WORKERS = frozenset({"no_worker", "busy", "priority"})
"""The kinds of reasons that are no matter of the job: with one free slot more it would start."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job does not start. Moments are µs UTC."""

    kind: str
    """One of delayed, backoff, disk, no_worker, busy, priority."""
    text: str
    """In words."""
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


class Servers(msgspec.Struct, frozen=True):
    """The workers that are up and serve the same queues."""

    queues: tuple[str, ...]
    """Empty: all."""
    slots: int
    free: int
    """Slots without a job."""
    first: tuple[Job, ...] = ()
    """The due jobs of these queues that are claimed first: one for each free slot, or one; fewer if no more are due."""
    full_since: int | None = None
    """The moment (µs UTC) of the latest claim of what they hold."""
    next_end: int | None = None
    """When the first of their jobs will end (µs UTC), by the median run time of its queue; None: not known."""

    def takes(self, job: Job) -> bool:
        """Whether a due job of these queues is among the first."""
        return len(self.first) < max(1, self.free) or order(job) <= order(self.first[-1])


class Facts(msgspec.Struct, frozen=True):
    """What is known of the queue at one moment. What is None was not looked at and is no reason."""

    disk: Disk | None = None
    servers: tuple[Servers, ...] | None = None
    failed_at: Mapping[str, int] = {}
    """The moments (µs UTC) of the latest failures of jobs, by id, as far as they were looked for."""

    def serving(self, queue: str) -> list[Servers]:
        """Those that take the jobs of a queue."""
        return [each for each in self.servers or () if not each.queues or queue in each.queues]

    def unserved(self, job: Job, now: int) -> bool:
        """Whether a job is due at `now`, and no worker serves its queue: the reason in short, for many jobs."""
        return job.state in WAITING and job.run_at <= now and self.servers is not None and not self.serving(job.queue)


NOTHING = Facts()
"""No facts: only what the job itself says is a reason."""


def reasons(job: Job, facts: Facts, now: int) -> list[Reason]:
    """Every reason why a waiting job does not start, in the order in which they have to go; none: it is to start.

    Whether a slot is free is asked only of a job that is due. Raises Refused where the job does not wait.
    """
    if job.state not in WAITING:
        raise Refused(f"job {job.id} is {job.state}, not waiting to be claimed")
    found: list[Reason] = []
    if job.run_at > now:
        found.append(_not_due(job, facts))
    if facts.disk is not None and facts.disk.low:
        found.append(low_disk(facts.disk))
    if facts.servers is not None:
        serving = facts.serving(job.queue)
        if not serving:
            found.append(_no_worker(job))
        elif job.run_at <= now:
            found += _in_line(job, serving, now)
    return found


def low_disk(disk: Disk) -> Reason:
    """The reason for all jobs while the disk is low: its command lowers the floor to less than half of what is free."""
    room = 1 << disk.free.bit_length() >> 2
    return Reason(kind="disk", text=f"no new job starts: {disk}", frees=f"queuectl config set disk-floor {room}")


def start_worker(queue: str) -> str:
    """The command that has the jobs of a queue run."""
    return f"queuectl worker start --queue {shlex.quote(queue)}"


def _not_due(job: Job, facts: Facts) -> Reason:
    what, when = f"not due before {text(job.run_at)}", job.run_at
    if job.state == "pending":
        by, why = job.enqueued_by, job.policy.reason
        return Reason(kind="delayed", text=what, since=job.enqueued_at, by=by, why=why, when=when)
    return Reason(kind="backoff", text=what, since=facts.failed_at.get(job.id), why=job.error or job.cause, when=when)


def _no_worker(job: Job) -> Reason:
    what = f"no worker serves the queue {job.queue}"
    return Reason(kind="no_worker", text=what, since=job.run_at, frees=start_worker(job.queue))


def _in_line(job: Job, serving: list[Servers], now: int) -> list[Reason]:
    """The reasons of a due job that workers serve: all slots are taken, or will be taken by other jobs."""
    found: list[Reason] = []
    free = [each for each in serving if each.free]
    if not free:
        slots = sum(each.slots for each in serving)
        ends = [each.next_end for each in serving if each.next_end is not None]
        found.append(
            Reason(
                kind="busy",
                text=f"all slots that serve the queue {job.queue} are taken ({slots})",
                since=max(job.run_at, *(each.full_since or 0 for each in serving)),
                frees=start_worker(job.queue),
                when=max(now, min(ends)) if ends else None,
                estimated=bool(ends),
            )
        )
    if not any(each.takes(job) for each in free or serving):
        ids = [other.id for other in (free or serving)[0].first]
        ahead = f"{', '.join(ids[:3])}{', …' if len(ids) > 3 else ''}"
        found.append(Reason(kind="priority", text=f"these start before it: {ahead}", since=job.run_at))
    return found


def order(job: Job) -> tuple[int, int, int]:
    """The key by which due jobs are claimed, the least first."""
    return -job.priority, job.run_at, job.seq
