"""Decisions: pure functions from a job and a request to events, or to a refusal.

They do no I/O and read neither a clock nor a random generator: `now` (microseconds UTC, the transaction's raw clock)
and `draw` (in [0, 1)) are arguments. Every list of events returned here can be folded by `projections.evolve`. Apart
from tombstones, nothing else may be appended to the stream of a job.
"""

import signal
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from projections.jobs import FINAL, Job
from queuectl import backoff
from queuectl.clock import SECOND, text
from queuectl.errors import Fenced, Refused
from queuectl.events import (
    Cancelled,
    CancelRequested,
    Claimed,
    Completed,
    Dead,
    Edited,
    Enqueued,
    Event,
    Failed,
    Interrupted,
    Purged,
    Released,
    Requeued,
    Retried,
)


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The right to start an attempt and to report its outcome."""

    job: str
    attempt: int
    version: int
    """Version of the `claimed` event in the job's stream."""


INTERRUPTIONS = 10
"""Interruptions in a row, the last of which counts as a failure: the job itself may be what stops its workers (R40)."""


class Stop(msgspec.Struct, frozen=True, gc=False):
    """Why a worker was stopped without waiting for what it ran."""

    by: str
    """The actor that asked for it, or the name of a signal."""
    reason: str | None = None
    job: str | None = None
    """The id of the job whose command asked for it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an attempt ended, as its worker or recovery saw it. Moments are µs UTC, durations seconds, sizes bytes."""

    cause: str | None = None
    """None: it succeeded. Else one of exit, signal, timeout, spawn, lost, output, cancel, interrupted."""
    exit_code: int | None = None
    signal: int | None = None
    started_at: int | None = None
    run_seconds: float | None = None
    cpu_seconds: float | None = None
    max_rss: int | None = None
    output_bytes: int | None = None
    output_cut: int | None = None
    kept: bool = False
    error: str | None = None
    stop: Stop | None = None
    """The stop that interrupted it, where the cause is interrupted."""


OUTSIDE = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL})
"""Signals by which service managers and shells end all processes of a group."""


def is_from_outside(outcome: Outcome) -> bool:
    """Whether a signal that may also have stopped its worker ended the command. A shell reports signal n as 128 + n."""
    ended_by = outcome.signal if outcome.cause == "signal" else None
    if outcome.cause == "exit" and outcome.exit_code is not None:
        ended_by = outcome.exit_code - 128
    return ended_by in OUTSIDE


def explained(outcome: Outcome, stop: Stop | None) -> Outcome:
    """The outcome of an attempt; interrupted where `stop`, the stop of its worker, may explain how it ended (R40)."""
    if stop is None or not (outcome.cause == "lost" or is_from_outside(outcome)):
        return outcome
    return msgspec.structs.replace(outcome, cause="interrupted", stop=stop, error=None)


def lease(job: Job) -> Lease:
    """The lease by which a processing job is held. Raises Fenced where the job is not processing."""
    if job.lease is None:
        raise Fenced(f"job {job.id} is {job.state}: nobody holds it")
    return Lease(job.id, job.attempt, job.lease)


def enqueue(policy: Enqueued) -> list[Event]:
    """A new job, with its resolved policy (see `queuectl.policy`)."""
    return [policy]


def claim(job: Job, worker: str, now: int) -> list[Event]:
    """The next attempt of a job. Raises Refused where the job is not waiting, or not due at `now`."""
    if job.state not in ("pending", "failed"):
        raise Refused(f"job {job.id} is {job.state}, not waiting to be claimed")
    if job.run_at > now:
        raise Refused(f"job {job.id} is not due before {text(job.run_at)}")
    return [Claimed(attempt=job.attempt + 1, worker=worker)]


def release(job: Job, held: Lease, reason: str | None = None) -> list[Event]:
    """Give back a claim whose command was never started; the job is cancelled where that was requested meanwhile.

    Raises Fenced where the job is held under another lease, or not at all.
    """
    _fence(job, held)
    if job.cancel_requested:
        return [Released(attempt=held.attempt, reason=reason), Cancelled()]
    return [Released(attempt=held.attempt, reason=reason)]


def report(job: Job, held: Lease, outcome: Outcome, now: int, draw: float) -> list[Event]:
    """The outcome of an attempt: completed; failed and retried; failed and dead; interrupted; or cancelled.

    A job whose cancel was requested is cancelled, unless its command succeeded before it was ended: then it has
    completed. An interruption counts as a failure where the job itself asked for the stop, and after too many in a row.
    Raises Fenced where the job is held under another lease, or not at all.
    """
    _fence(job, held)
    if outcome.cause is None:
        return [Completed(**_ended(held, outcome))]
    if job.cancel_requested:
        return [Cancelled(**_ended(held, outcome))]
    error = outcome.error
    if outcome.stop is not None:
        error = _why_it_counts(job, outcome.stop)
        if error is None:
            return [Interrupted(by=outcome.stop.by, reason=outcome.stop.reason, **_ended(held, outcome))]
    # An attempt is ended for a cancel only after the request is in the stream: see above.
    cause = "signal" if outcome.cause == "cancel" else outcome.cause
    failed = Failed(cause=cause, error=error, **_ended(held, outcome))
    failures = job.failures + 1
    if cause == "lost" and job.policy.on_lost == "dead":
        return [failed, Dead(reason="its attempt was lost, and on-lost is dead")]
    if failures > job.max_retries:
        return [failed, Dead(reason=_spent(failures, job.max_retries))]
    delay = backoff.delay(failures, job.policy.backoff_base, job.policy.backoff_max, job.policy.jitter, draw)
    return [failed, Retried(run_at=text(now + round(delay * SECOND)), delay=delay)]


def refuse_to_run(job: Job, held: Lease, missing: Sequence[str]) -> list[Event]:
    """Fail a claimed job for good: secret values (named in `missing`), or its environment, are not here (R22).

    It is not retried: no later attempt would find them. Raises Fenced as `report` does.
    """
    _fence(job, held)
    if missing:
        error, hint = f"the values of {', '.join(missing)} are not in this database", "retry it with --secret"
    else:
        error = f"the environment that it was enqueued with (env:{job.policy.environment}) is not in this database"
        hint = "enqueue it anew where it shall run"
    return [Failed(attempt=held.attempt, cause="spawn", error=error), Dead(reason=f"{error}; {hint}")]


def cancel(job: Job, reason: str | None = None) -> list[Event]:
    """Cancel a waiting or dead job; request the cancel of a processing one. No events where that was requested already.

    Raises Refused where the job has completed or is cancelled.
    """
    if job.state == "processing":
        return [] if job.cancel_requested else [CancelRequested(reason=reason)]
    if job.state in FINAL and job.state != "dead":
        raise Refused(f"job {job.id} is {job.state} already; nothing to cancel")
    return [Cancelled(reason=reason)]


def requeue(
    job: Job,
    now: int,
    secrets: Sequence[str] | None = None,
    reason: str | None = None,
    *,
    stored: Collection[str] | None = None,
) -> list[Event]:
    """Run a finished job again, with a new retry budget; its attempt numbers go on.

    `secrets` are the names of the variables whose values were given again, `stored` of those whose values the database
    has (None: all that the job keeps). Raises Refused where the job has not ended, or a secret value is missing: values
    are deleted when a job completes, and imports and backups have none.
    """
    if job.state not in FINAL:
        hint = "cancel it first" if job.state == "processing" else "it will run by itself"
        raise Refused(f"job {job.id} is {job.state}: only a finished job can be retried; {hint}")
    kept = () if job.state == "completed" else job.secrets if stored is None else stored
    missing = [name for name in job.secrets if name not in kept and name not in (secrets or ())]
    if missing:
        flags = " ".join(f"--secret {name}=…" for name in missing)
        why = "they are forgotten once it completes" if job.state == "completed" else "they are not in this database"
        raise Refused(f"job {job.id} needs its secret variables again ({why}): {flags}")
    names = None if secrets is None else sorted({*job.secrets, *secrets})
    return [Requeued(run_at=text(now), secrets=names, reason=reason)]


def edit(job: Job, wanted: Enqueued, reason: str | None = None) -> list[Event]:
    """Change the job to `wanted`. No events where nothing differs. Raises Refused while the job is processing."""
    if job.state == "processing":
        raise Refused(f"job {job.id} is processing: it can be changed once it has ended, or cancel it first")
    changes = {
        name: (was, new)
        for name in Enqueued.__struct_fields__
        if (was := getattr(job.policy, name)) != (new := getattr(wanted, name))
    }
    return [Edited(changes=changes, reason=reason)] if changes else []


def purge(job: Job, reason: str | None = None) -> list[Event]:
    """Remove a finished job from the tables. Raises Refused where it has not ended."""
    if job.state not in FINAL:
        raise Refused(f"job {job.id} is {job.state}: only a finished job can be purged; cancel it first")
    return [Purged(reason=reason)]


def _why_it_counts(job: Job, stop: Stop) -> str | None:
    """Why an interruption counts as a failure of the job; None where it does not."""
    if stop.job == job.id:
        return "it had its own worker stopped"
    if job.interruptions + 1 >= INTERRUPTIONS:
        return f"interrupted {INTERRUPTIONS} times in a row, the last time by {stop.by}"
    return None


def _fence(job: Job, held: Lease) -> None:
    if job.state != "processing" or job.lease != held.version or job.attempt != held.attempt:
        raise Fenced(f"attempt {held.attempt} of job {job.id} is no longer held: the job is {job.state}")


def _ended(held: Lease, outcome: Outcome) -> dict[str, Any]:
    return {
        "attempt": held.attempt,
        "started_at": text(outcome.started_at) if outcome.started_at is not None else None,
        "run_seconds": outcome.run_seconds,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "cpu_seconds": outcome.cpu_seconds,
        "max_rss": outcome.max_rss,
        "output_bytes": outcome.output_bytes,
        "output_cut": outcome.output_cut,
        "kept": outcome.kept,
    }


def _spent(failures: int, max_retries: int) -> str:
    if max_retries == 0:
        return "failed, and no retries were allowed"
    return f"failed {failures} times; {max_retries} retr{'y' if max_retries == 1 else 'ies'} used up"
