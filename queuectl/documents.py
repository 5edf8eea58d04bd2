"""The JSON of jobs, attempts and workers, the same in every command and export that shows them.

Moments are RFC 3339 UTC, durations seconds, sizes bytes; what is not known is null.
"""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from projections.attempts import Attempt
from projections.jobs import Job
from projections.workers import Worker
from queuectl.clock import text


class AttemptDocument(msgspec.Struct, frozen=True):
    """Everything about one attempt."""

    job: str
    number: int
    worker: str
    lease: int
    claimed_at: str
    started_at: str | None
    ended_at: str | None
    outcome: str | None
    exit_code: int | None
    signal: int | None
    cause: str | None
    error: str | None
    run_seconds: float | None
    cpu_seconds: float | None
    max_rss: int | None
    output_bytes: int | None
    output_cut: int | None


class JobDocument(msgspec.Struct, frozen=True):
    """Everything about a job; with its attempts, where they were asked for."""

    id: str
    state: str
    queue: str
    command: str
    argv: list[str] | None
    priority: int
    run_at: str
    enqueued_at: str
    enqueued_by: str
    finished_at: str | None
    max_retries: int
    backoff_base: float
    backoff_max: float
    jitter: float
    timeout: float | None
    on_lost: str
    keep_children: bool
    cwd: str
    stdin: str | None
    shell: str
    environment: str | None
    env: dict[str, str]
    secrets: list[str]
    reason: str | None
    attempt: int
    failures: int
    interruptions: int
    worker: str | None
    claimed_at: str | None
    cancel_requested: bool
    exit_code: int | None
    signal: int | None
    cause: str | None
    error: str | None
    seq: int
    version: int
    attempts: list[AttemptDocument] | UnsetType = UNSET


class WorkerDocument(msgspec.Struct, frozen=True):
    """A worker, what it holds, and whether its process lives (null where that can't be told from here)."""

    id: str
    state: str
    alive: bool | None
    host: str
    pid: int
    slots: int
    queues: list[str]
    private: bool
    jobs: list[str]
    started_at: str
    heartbeat_at: str
    ended_at: str | None
    reason: str | None
    database: str


def moment(at: int | None) -> str | None:
    """Microseconds UTC as RFC 3339."""
    return text(at) if at is not None else None


def job_document(job: Job, attempts: Iterable[Attempt] | None = None) -> JobDocument:
    """A job as JSON shows it."""
    policy = job.policy
    return JobDocument(
        id=job.id,
        state=job.state,
        queue=job.queue,
        command=job.command,
        argv=policy.argv,
        priority=job.priority,
        run_at=text(job.run_at),
        enqueued_at=text(job.enqueued_at),
        enqueued_by=job.enqueued_by,
        finished_at=moment(job.finished_at),
        max_retries=job.max_retries,
        backoff_base=policy.backoff_base,
        backoff_max=policy.backoff_max,
        jitter=policy.jitter,
        timeout=job.timeout,
        on_lost=policy.on_lost,
        keep_children=policy.keep_children,
        cwd=policy.cwd,
        stdin=policy.stdin,
        shell=policy.shell,
        environment=policy.environment,
        env=policy.env,
        secrets=list(job.secrets),
        reason=policy.reason,
        attempt=job.attempt,
        failures=job.failures,
        interruptions=job.interruptions,
        worker=job.worker,
        claimed_at=moment(job.claimed_at),
        cancel_requested=job.cancel_requested,
        exit_code=job.exit_code,
        signal=job.signal,
        cause=job.cause,
        error=job.error,
        seq=job.seq,
        version=job.version,
        attempts=[attempt_document(attempt) for attempt in attempts] if attempts is not None else UNSET,
    )


def attempt_document(attempt: Attempt) -> AttemptDocument:
    """An attempt as JSON shows it."""
    return AttemptDocument(
        job=attempt.job,
        number=attempt.number,
        worker=attempt.worker,
        lease=attempt.lease,
        claimed_at=text(attempt.claimed_at),
        started_at=moment(attempt.started_at),
        ended_at=moment(attempt.ended_at),
        outcome=attempt.outcome,
        exit_code=attempt.exit_code,
        signal=attempt.signal,
        cause=attempt.cause,
        error=attempt.error,
        run_seconds=attempt.run_seconds,
        cpu_seconds=attempt.cpu_seconds,
        max_rss=attempt.max_rss,
        output_bytes=attempt.output_bytes,
        output_cut=attempt.output_cut,
    )


def worker_document(worker: Worker, jobs: Iterable[Job], alive: bool | None, database: str) -> WorkerDocument:
    """A worker as JSON shows it; `database` is where its queue is."""
    return WorkerDocument(
        id=worker.id,
        state=worker.state,
        alive=alive,
        host=worker.host,
        pid=worker.pid,
        slots=worker.slots,
        queues=list(worker.queues),
        private=worker.private,
        jobs=[job.id for job in jobs],
        started_at=text(worker.started_at),
        heartbeat_at=text(worker.heartbeat_at),
        ended_at=moment(worker.ended_at),
        reason=worker.reason,
        database=database,
    )
