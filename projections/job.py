"""The fold of a job's events: what a job is. Its table is in `projections.jobs`."""

from typing import Any

import msgspec
from msgspec.structs import replace

from queuectl.clock import micros
from queuectl.events import (
    CALLBACK_PRIORITY,
    Archived,
    Cancelled,
    CancelRequested,
    Cascaded,
    Claimed,
    Completed,
    Continued,
    Dead,
    Edited,
    Enqueued,
    Failed,
    Forced,
    Held,
    Interrupted,
    Noted,
    Purged,
    Recorded,
    Released,
    Requeued,
    Retried,
    Suspended,
    Unblocked,
    Unheld,
    Unreadable,
    WaitingFor,
    encode,
)

STATES = ("pending", "blocked", "processing", "failed", "completed", "dead", "cancelled")
"""The states of a job, in the order in which they are shown."""

FINAL = frozenset({"completed", "dead", "cancelled"})
"""The states of jobs that have ended."""


class Job(msgspec.Struct, frozen=True, gc=False):
    """The fold of a job's events. Moments are microseconds UTC, durations seconds, sizes bytes."""

    seq: int
    """Seq of its `enqueued` event, which orders jobs by arrival."""
    id: str
    version: int
    """Version of the last event of its stream."""
    state: str
    queue: str
    priority: int
    run_at: int
    """The moment from which it may be claimed."""
    policy: Enqueued
    """Its policy, with all edits applied."""
    enqueued_at: int
    enqueued_by: str
    command: str
    """Its command as one line of shell."""
    max_retries: int
    timeout: float | None
    demand: str = ""
    """What it needs beside one slot (see `Enqueued.demand`); with its queue it names its lane (R31)."""
    secrets: tuple[str, ...] = ()
    """The names of its secret variables, whose values are not in the log."""
    attempt: int = 0
    """Number of its latest attempt, counted over its whole life. A claim that is given back takes its number back."""
    failures: int = 0
    """Failures since the retry budget was new. The job is dead when they exceed `max_retries`."""
    interruptions: int = 0
    """The number of its latest attempts, in a row, that were interrupted."""
    postponed: int = 0
    """How many times in a row it was given back and made due later, because it could not be started."""
    worker: str | None = None
    """The id of the worker that holds it, while it is processing."""
    lease: int | None = None
    """Version of the `claimed` event by which it is held."""
    claimed_at: int | None = None
    """The moment of that event."""
    cancel_requested: bool = False
    suspended_at: int | None = None
    """Since when its running attempt is suspended; None: it is not."""
    suspended_by: str | None = None
    """The actor that suspended it."""
    suspended_by_pause: bool = False
    """Whether that was a pause, with which it ends."""
    held: bool = False
    """Whether it does not start until it is released."""
    watching: str | None = None
    """While it is blocked: the job for whose end it waits, one of those that it depends on."""
    unique_key: str | None = None
    """The key that no other job has, as long as it has not ended."""
    batch: str | None = None
    """The name of the batch to which it belongs."""
    triggered_by: str | None = None
    """What enqueued it, where that was not a person (see `Trigger.source`)."""
    cascading: bool = False
    """Whether it has ended and not all jobs that depend on it have been looked at."""
    forced: bool = False
    """Whether it starts next, or was started, past pause, hold, delay and limits of its queue."""
    cancel_cause: str = "user"
    """Why it was requested: see `CancelRequested`."""
    cancel_signal: str | None = None
    """The name of the signal that the latest request to cancel it asks for; None: its own."""
    finished_at: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    cause: str | None = None
    """The cause of its latest failure; None where it has completed or was sent back since. Of a cancelled job also
    `dependency`: what it depends on has ended so that it never starts; `halt`: its batch was halted."""
    error: str | None = None
    edited: str | None = None
    """`policy` as JSON, where it differs from its `enqueued` event."""

    @property
    def past_limits(self) -> bool:
        """Whether it starts past the limits of its queue, and does not count for them: a callback does."""
        return self.priority >= CALLBACK_PRIORITY

    @property
    def stop_signal(self) -> str:
        """The name of the signal by which its attempt is asked to end, were it now."""
        return (self.cancel_signal if self.cancel_requested else None) or self.policy.stop_signal


def evolve(job: Job | None, record: Recorded, event: Any) -> Job | None:
    """The job after one more event of its stream; None after it was purged or archived.

    Raises Unreadable for a history that `decisions` can't produce: the log is damaged.
    """
    step = (_FIRST if job is None else _LATER).get(event.__class__)
    if step is None:
        what = f"{record.stream} has a {record.type!r} event (seq {record.seq})"
        if event.__class__ not in _FIRST | _LATER:
            raise Unreadable(f"{what}, which is none of a job")
        raise Unreadable(f"{what} but no job before it" if job is None else f"{what} after it was enqueued before")
    after = step(job, record, event)
    if job is not None and job.suspended_at is not None and after is not None and after.worker is None:
        return _continued(after, record, event)  # the attempt has ended, and its suspension with it
    return after


def _enqueued(_: None, record: Recorded, event: Enqueued) -> Job:
    return Job(
        seq=record.seq,
        id=record.subject,
        version=record.version,
        state="pending" if event.watching is None else "blocked",
        queue=event.queue,
        priority=event.priority,
        run_at=micros(event.run_at),
        policy=event,
        enqueued_at=record.at,
        enqueued_by=record.actor,
        command=event.command if event.command is not None else event.runnable.text,  # nearly always spares an object
        max_retries=event.max_retries,
        timeout=event.timeout,
        demand=event.demand,
        secrets=event.secrets,
        held=event.held,
        watching=event.watching,
        unique_key=event.unique,
        batch=event.batch,
        triggered_by=event.trigger.source if event.trigger is not None else None,
    )


# The steps name what they change in the call itself: with a dict in between, a replay takes a tenth longer.


def _claimed(job: Job, record: Recorded, event: Claimed) -> Job:
    return replace(
        job, version=record.version, state="processing", attempt=event.attempt, worker=event.worker,
        lease=record.version, claimed_at=record.at, held=False, finished_at=None,
    )  # fmt: skip


def _completed(job: Job, record: Recorded, event: Completed) -> Job:
    # The names of secrets stay, so that a retry can ask for their values, which are deleted now.
    return replace(
        job, version=record.version, state="completed", interruptions=0, postponed=0, worker=None, lease=None,
        claimed_at=None, cancel_requested=False, forced=False, finished_at=record.at, exit_code=event.exit_code,
        signal=event.signal,
        cause=None, error=None, cascading=event.cascade, unique_key=None,
    )  # fmt: skip


def _failed(job: Job, record: Recorded, event: Failed) -> Job:
    return replace(
        job, version=record.version, state="failed", failures=job.failures + 1, interruptions=0, postponed=0,
        worker=None, lease=None, claimed_at=None, cancel_requested=False, forced=False, exit_code=event.exit_code,
        signal=event.signal, cause=event.cause, error=event.error,
    )  # fmt: skip


def _retried(job: Job, record: Recorded, event: Retried) -> Job:
    return replace(job, version=record.version, state="failed", run_at=micros(event.run_at))


def _dead(job: Job, record: Recorded, event: Dead) -> Job:
    return replace(
        job, version=record.version, state="dead", finished_at=record.at, cascading=event.cascade, unique_key=None
    )


def _requeued(job: Job, record: Recorded, event: Requeued) -> Job:
    return replace(
        job, version=record.version, state="pending" if event.watching is None else "blocked",
        run_at=micros(event.run_at), failures=0, interruptions=0, postponed=0, finished_at=None, exit_code=None,
        signal=None, cause=None, error=None, watching=event.watching, unique_key=job.policy.unique,
        secrets=job.secrets if event.secrets is None else tuple(event.secrets),
    )  # fmt: skip


# What equals a default is left to it: msgspec omits only the very object that is the default when it encodes, so the
# table would tell an event that was just decided from the same event read from the log.
_DEFAULTS = dict(zip(reversed(Enqueued.__struct_fields__), reversed(Enqueued.__struct_defaults__), strict=False))


def _edited(job: Job, record: Recorded, event: Edited) -> Job:
    wanted = msgspec.structs.asdict(job.policy) | {name: new for name, (_, new) in event.changes.items()}
    said = {name: value for name, value in wanted.items() if value != _DEFAULTS.get(name, msgspec.NODEFAULT)}
    try:
        policy = msgspec.convert(said, Enqueued)
    except msgspec.ValidationError as error:
        raise Unreadable(f"{record.stream} is edited to what can't be (seq {record.seq}): {error}") from error
    run_at, postponed, watching, state = job.run_at, job.postponed, job.watching, job.state
    if "run_at" in event.changes:
        run_at, postponed = micros(policy.run_at), 0
    if "watching" in event.changes and state not in FINAL:
        watching = policy.watching
        state = "blocked" if watching is not None else "failed" if job.failures else "pending"
    return replace(
        job, version=record.version, policy=policy, queue=policy.queue, priority=policy.priority,
        command=policy.runnable.text, max_retries=policy.max_retries, timeout=policy.timeout, demand=policy.demand,
        edited=encode(policy).decode(), run_at=run_at, postponed=postponed, watching=watching, state=state,
        secrets=policy.secrets if "secrets" in event.changes else job.secrets,
    )  # fmt: skip


def _cancel_requested(job: Job, record: Recorded, event: CancelRequested) -> Job:
    before, cause = (job.cancel_signal, job.cancel_cause) if job.cancel_requested else (None, event.cause)
    return replace(
        job, version=record.version, cancel_requested=True, cancel_cause=cause, cancel_signal=event.signal or before
    )


def _suspended(job: Job, record: Recorded, event: Suspended) -> Job:
    since = job.suspended_at if job.suspended_at is not None else record.at
    return replace(
        job, version=record.version, suspended_at=since, suspended_by=record.actor,
        suspended_by_pause=event.cause == "pause",
    )  # fmt: skip


def _continued(job: Job, record: Recorded, event: Any) -> Job:
    return replace(job, version=record.version, suspended_at=None, suspended_by=None, suspended_by_pause=False)


def _held(job: Job, record: Recorded, event: Held) -> Job:
    return replace(job, version=record.version, held=True, forced=False)


def _unheld(job: Job, record: Recorded, event: Unheld) -> Job:
    return replace(job, version=record.version, held=False)


def _forced(job: Job, record: Recorded, event: Forced) -> Job:
    return replace(job, version=record.version, forced=True)


def _noted(job: Job, record: Recorded, event: Noted) -> Job:
    return replace(job, version=record.version)


def _cancelled(job: Job, record: Recorded, event: Cancelled) -> Job:
    cause, error = job.cause, job.error  # of its latest failure
    if event.cause == "dependency":
        cause, error = event.cause, f"{', '.join(event.because)} ended so that it never starts"
    elif event.cause == "halt":
        cause, error = event.cause, f"its batch {job.batch} was halted"
    if event.attempt is None:  # it was waiting: the outcome of its latest attempt stays
        return replace(
            job, version=record.version, state="cancelled", postponed=0, held=False, forced=False, watching=None,
            finished_at=record.at, cascading=event.cascade, cause=cause, error=error, unique_key=None,
        )  # fmt: skip
    return replace(
        job, version=record.version, state="cancelled", postponed=0, worker=None, lease=None, claimed_at=None,
        cancel_requested=False, forced=False, finished_at=record.at, exit_code=event.exit_code, signal=event.signal,
        cascading=event.cascade, cause=cause, error=error, unique_key=None,
    )  # fmt: skip


def _cascaded(job: Job, record: Recorded, event: Cascaded) -> Job:
    return replace(job, version=record.version, cascading=False)


def _waiting_for(job: Job, record: Recorded, event: WaitingFor) -> Job:
    return replace(job, version=record.version, watching=event.parent)


def _unblocked(job: Job, record: Recorded, event: Unblocked) -> Job:
    return replace(job, version=record.version, state="pending", watching=None)


def _released(job: Job, record: Recorded, event: Released) -> Job:
    return replace(
        job, version=record.version, state="failed" if job.failures else "pending", attempt=event.attempt - 1,
        run_at=job.run_at if event.not_before is None else micros(event.not_before),
        postponed=job.postponed + (event.not_before is not None), worker=None, lease=None, claimed_at=None,
        cancel_requested=False,
    )  # fmt: skip


def _interrupted(job: Job, record: Recorded, event: Interrupted) -> Job:
    return replace(
        job, version=record.version, state="failed" if job.failures else "pending",
        interruptions=job.interruptions + 1, postponed=0, worker=None, lease=None, claimed_at=None,
        cancel_requested=False, forced=False,
    )  # fmt: skip


def _gone(job: Job | None, record: Recorded, event: Purged | Archived) -> None:
    return None


_ENDS: dict[type, Any] = {Purged: _gone, Archived: _gone}

_FIRST: dict[type, Any] = {Enqueued: _enqueued, **_ENDS}
"""By type of event: the step from no job."""

_LATER: dict[type, Any] = {
    Claimed: _claimed,
    Completed: _completed,
    Failed: _failed,
    Retried: _retried,
    Dead: _dead,
    Requeued: _requeued,
    Edited: _edited,
    CancelRequested: _cancel_requested,
    Cancelled: _cancelled,
    Cascaded: _cascaded,
    WaitingFor: _waiting_for,
    Unblocked: _unblocked,
    Released: _released,
    Interrupted: _interrupted,
    Suspended: _suspended,
    Continued: _continued,
    Held: _held,
    Unheld: _unheld,
    Forced: _forced,
    Noted: _noted,
    **_ENDS,
}
"""The step from a job."""
