"""The job: what its events make of it, and the table of all jobs with the indexes that a claim needs."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from queuectl.clock import micros
from queuectl.events import (
    Archived,
    Cancelled,
    CancelRequested,
    Claimed,
    Completed,
    Dead,
    Edited,
    Enqueued,
    Failed,
    Interrupted,
    Purged,
    Recorded,
    Released,
    Requeued,
    Retried,
    Unreadable,
    encode,
)

if TYPE_CHECKING:
    from projections import Change, Store

STATES = ("pending", "blocked", "processing", "failed", "completed", "dead", "cancelled")
"""Every state a job can be in, in the order in which they are shown."""

FINAL = frozenset({"completed", "dead", "cancelled"})
"""The states in which nothing more happens by itself."""


class Job(msgspec.Struct, frozen=True, gc=False):
    """A job as its events have made it. Moments are microseconds UTC, durations seconds, sizes bytes."""

    id: str
    seq: int
    """Of its `enqueued` event: the order in which jobs came."""
    version: int
    """Of its stream: how many events it has."""
    state: str
    queue: str
    priority: int
    run_at: int
    """Not before this moment is it claimed."""
    spec: Enqueued
    """What was asked for, with all that was edited since."""
    enqueued_at: int
    enqueued_by: str
    max_retries: int
    timeout: float | None
    secrets: tuple[str, ...] = ()
    """The names of the variables whose values lie apart from the log."""
    attempt: int = 0
    """The number of its latest attempt; counts up for its whole life. A claim that is given back is none."""
    failures: int = 0
    """How much of the retry budget is used: it dies when this is above `max_retries`."""
    interruptions: int = 0
    """How many of its latest attempts, in a row, were interrupted."""
    worker: str | None = None
    """Who holds it, while it is processing."""
    lease: int | None = None
    """The version of the `claimed` event by which it is held."""
    claimed_at: int | None = None
    """When that was."""
    cancel_requested: bool = False
    finished_at: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    cause: str | None = None
    """Why the latest of its attempts that was not interrupted failed."""
    error: str | None = None
    edited: bool = False
    """Its spec is not what its `enqueued` event says."""

    @property
    def command(self) -> str:
        """What it runs, as one line of shell."""
        return self.spec.command if self.spec.command is not None else shlex.join(self.spec.argv or [])


def evolve(job: Job | None, record: Recorded, event: Any) -> Job | None:
    """The job after one more event of its stream; None when it has been purged or archived.

    Total over every history that `decisions` can produce; raises Unreadable on one that it can't (a damaged log).
    """
    step = _STEPS.get(event.__class__)
    if step is None:
        raise Unreadable(f"{record.stream} has a {record.type!r} event (seq {record.seq}), which is none of a job")
    if job is not None and step is _enqueued:
        raise Unreadable(f"{record.stream} is enqueued a second time (seq {record.seq})")
    if job is None and step is not _enqueued and step is not _gone:
        raise Unreadable(f"{record.stream} has a {record.type!r} event (seq {record.seq}) but no job before it")
    return step(job, record, event)


def _enqueued(_: None, record: Recorded, event: Enqueued) -> Job:
    return Job(
        id=record.subject,
        seq=record.seq,
        version=record.version,
        state="pending",
        queue=event.queue,
        priority=event.priority,
        run_at=micros(event.run_at),
        spec=event,
        enqueued_at=record.at,
        enqueued_by=record.actor,
        max_retries=event.max_retries,
        timeout=event.timeout,
        secrets=tuple(event.secrets),
    )


def _claimed(job: Job, record: Recorded, event: Claimed) -> Job:
    return msgspec.structs.replace(
        job,
        version=record.version,
        state="processing",
        attempt=event.attempt,
        worker=event.worker,
        lease=record.version,
        claimed_at=record.at,
        finished_at=None,
    )


def _completed(job: Job, record: Recorded, event: Completed) -> Job:
    # The secrets of a completed job are forgotten with it; the names stand in the log.
    return msgspec.structs.replace(
        job,
        version=record.version,
        state="completed",
        interruptions=0,
        worker=None,
        lease=None,
        claimed_at=None,
        cancel_requested=False,
        finished_at=record.at,
        exit_code=event.exit_code,
        signal=event.signal,
        cause=None,
        error=None,
    )


def _failed(job: Job, record: Recorded, event: Failed) -> Job:
    return msgspec.structs.replace(
        job,
        version=record.version,
        state="failed",
        failures=job.failures + 1,
        interruptions=0,
        worker=None,
        lease=None,
        claimed_at=None,
        cancel_requested=False,
        exit_code=event.exit_code,
        signal=event.signal,
        cause=event.cause,
        error=event.error,
    )


def _retried(job: Job, record: Recorded, event: Retried) -> Job:
    return msgspec.structs.replace(job, version=record.version, state="failed", run_at=micros(event.run_at))


def _dead(job: Job, record: Recorded, event: Dead) -> Job:
    return msgspec.structs.replace(job, version=record.version, state="dead", finished_at=record.at)


def _requeued(job: Job, record: Recorded, event: Requeued) -> Job:
    return msgspec.structs.replace(
        job,
        version=record.version,
        state="pending",
        run_at=micros(event.run_at),
        failures=0,
        interruptions=0,
        finished_at=None,
        exit_code=None,
        signal=None,
        cause=None,
        error=None,
        secrets=job.secrets if event.secrets is None else tuple(event.secrets),
    )


def _edited(job: Job, record: Recorded, event: Edited) -> Job:
    wanted = msgspec.structs.asdict(job.spec) | {name: new for name, (_, new) in event.changes.items()}
    try:
        spec = msgspec.convert(wanted, Enqueued)
    except msgspec.ValidationError as error:
        raise Unreadable(f"{record.stream} is edited to what can't be (seq {record.seq}): {error}") from error
    return msgspec.structs.replace(
        job,
        version=record.version,
        spec=spec,
        queue=spec.queue,
        priority=spec.priority,
        max_retries=spec.max_retries,
        timeout=spec.timeout,
        edited=True,
    )


def _cancel_requested(job: Job, record: Recorded, event: CancelRequested) -> Job:
    return msgspec.structs.replace(job, version=record.version, cancel_requested=True)


def _cancelled(job: Job, record: Recorded, event: Cancelled) -> Job:
    if event.attempt is None:  # it waited, and how its latest attempt ended stays true
        return msgspec.structs.replace(job, version=record.version, state="cancelled", finished_at=record.at)
    return msgspec.structs.replace(
        job,
        version=record.version,
        state="cancelled",
        worker=None,
        lease=None,
        claimed_at=None,
        cancel_requested=False,
        finished_at=record.at,
        exit_code=event.exit_code,
        signal=event.signal,
    )


def _released(job: Job, record: Recorded, event: Released) -> Job:
    return msgspec.structs.replace(
        job,
        version=record.version,
        state="failed" if job.failures else "pending",
        attempt=event.attempt - 1,
        worker=None,
        lease=None,
        claimed_at=None,
        cancel_requested=False,
    )


def _interrupted(job: Job, record: Recorded, event: Interrupted) -> Job:
    return msgspec.structs.replace(
        job,
        version=record.version,
        state="failed" if job.failures else "pending",
        interruptions=job.interruptions + 1,
        worker=None,
        lease=None,
        claimed_at=None,
        cancel_requested=False,
    )


def _gone(job: Job | None, record: Recorded, event: Purged | Archived) -> None:
    return None


_STEPS: dict[type, Any] = {
    Enqueued: _enqueued,
    Claimed: _claimed,
    Completed: _completed,
    Failed: _failed,
    Retried: _retried,
    Dead: _dead,
    Requeued: _requeued,
    Edited: _edited,
    CancelRequested: _cancel_requested,
    Cancelled: _cancelled,
    Released: _released,
    Interrupted: _interrupted,
    Purged: _gone,
    Archived: _gone,
}

# -- the table -------------------------------------------------------------------------------------------------------

name = "jobs"
version = 5
tables = ("jobs",)

WAITING = "state in ('pending', 'failed')"
ENDED = "state in ('completed', 'dead', 'cancelled')"
"""The conditions of partial indexes below, to be used word for word where these should serve."""

# The spec is not kept twice: its row in the log is found by seq. Only that of a job that was edited stands here, whole
# and in today's form (so that a new version of `enqueued` needs a new one of this table), and the log's is not read.
# Two indexes serve the claims of workers that serve all queues and of those that serve some; both hold waiting jobs
# only, so a million finished ones cost a claim nothing. They begin with the priority, so that what is claimed next lies
# close together, however many queues and delayed jobs there are; where all else is equal an index is ordered by seq.
# The others serve lists: `jobs_ended` gives the latest ends of each state, of one queue too, without reading the rest.
schema = f"""
create table jobs (
    seq integer primary key,
    id text not null unique,
    version integer not null,
    state text not null,
    queue text not null,
    priority integer not null,
    run_at integer not null,
    enqueued_at integer not null,
    enqueued_by text not null,
    command text not null,
    max_retries integer not null,
    timeout real,
    secrets text,
    attempt integer not null,
    failures integer not null,
    interruptions integer not null,
    worker text,
    lease integer,
    claimed_at integer,
    cancel_requested integer not null,
    finished_at integer,
    exit_code integer,
    signal integer,
    cause text,
    error text,
    edited text
);
create index jobs_waiting on jobs (priority, run_at) where {WAITING};
create index jobs_waiting_by_queue on jobs (priority, queue, run_at) where {WAITING};
create index jobs_failed on jobs (priority, run_at) where state = 'failed';
create index jobs_blocked on jobs (queue) where state = 'blocked';
create index jobs_held on jobs (worker) where worker is not null;
create index jobs_ended on jobs (state, finished_at, queue) where {ENDED};
"""

_INSERT = f"insert into jobs values ({', '.join('?' * 26)})"  # short: it is looked up by its text for every row

_UPDATE = """
update jobs set
    version = ?, state = ?, run_at = ?, secrets = ?, attempt = ?, failures = ?, interruptions = ?, worker = ?,
    lease = ?, claimed_at = ?, cancel_requested = ?, finished_at = ?, exit_code = ?, signal = ?, cause = ?, error = ?
where seq = ?
"""

_EDIT = """
update jobs set edited = ?, queue = ?, priority = ?, command = ?, max_retries = ?, timeout = ? where seq = ?
"""


def fold(changes: Sequence["Change"], store: "Store") -> None:
    """Bring the rows of all jobs in this batch to their latest state: one write a job, however many events it had."""
    new: dict[int, Job] = {}
    moved: dict[int, Job] = {}
    edited: set[int] = set()
    gone: list[tuple[int]] = []
    for change in changes:
        job, before = change.after, change.before
        if isinstance(job, Job):
            if type(change.event) is Edited:
                edited.add(job.seq)
            (new if before is None or job.seq in new else moved)[job.seq] = job
        elif isinstance(before, Job) and new.pop(before.seq, None) is None:
            moved.pop(before.seq, None)
            gone.append((before.seq,))
    if new:
        store.executemany(_INSERT, map(_row, new.values()))
    if moved:
        store.executemany(_UPDATE, ((*_moving(job), job.seq) for job in moved.values()))
    if edited:
        store.executemany(_EDIT, (_editing(moved[seq]) for seq in edited if seq in moved))
    if gone:
        store.executemany("delete from jobs where seq = ?", gone)


def _row(job: Job) -> tuple[Any, ...]:
    """All columns of the table."""
    return (
        job.seq, job.id, job.version, job.state, job.queue, job.priority, job.run_at, job.enqueued_at, job.enqueued_by,
        job.command, job.max_retries, job.timeout, ",".join(job.secrets) or None, job.attempt, job.failures,
        job.interruptions, job.worker, job.lease, job.claimed_at, int(job.cancel_requested), job.finished_at,
        job.exit_code, job.signal, job.cause, job.error, _spec(job),
    )  # fmt: skip


def _moving(job: Job) -> tuple[Any, ...]:
    """Those that later events change."""
    return (
        job.version, job.state, job.run_at, ",".join(job.secrets) or None, job.attempt, job.failures,
        job.interruptions, job.worker, job.lease, job.claimed_at, int(job.cancel_requested), job.finished_at,
        job.exit_code, job.signal, job.cause, job.error,
    )  # fmt: skip


def _editing(job: Job) -> tuple[Any, ...]:
    """Those that only `edited` changes, and the row's number."""
    return _spec(job), job.queue, job.priority, job.command, job.max_retries, job.timeout, job.seq


def _spec(job: Job) -> str | None:
    return encode(job.spec).decode() if job.edited else None
