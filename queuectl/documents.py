"""The JSON of jobs, attempts and workers, the same in every command and export that shows them.

Moments are RFC 3339 UTC, durations seconds, sizes bytes; what is not known is null.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from projections.attempts import Attempt
from projections.jobs import Job
from projections.workers import Worker
from queuectl.clock import text
from queuectl.events import Enqueued
from queuectl.options import IN_EVENT


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


_OF_POLICY = [name for name in IN_EVENT if name not in ("queue", "priority")]
_OF_POLICY.insert(_OF_POLICY.index("env"), "environment")


class DocumentType:
    """A kind of document that shows the fields of a subject: moments as text, all else as it is."""

    def __init__(self, name: str, paths: Sequence[str], *sources: type[msgspec.Struct], **more: Any) -> None:
        """`paths` lead from the subject to the values, in the order of the document, of which each has the last name.

        The types are those of the sources' fields. `more` are the types of fields that may follow.
        """
        types = {field.name: field.type for source in reversed(sources) for field in msgspec.structs.fields(source)}
        names = [path.rpartition(".")[2] for path in paths]
        fields = [(each, str | None if each.endswith("_at") else types.get(each, str)) for each in names]
        self.struct = msgspec.defstruct(
            name, [*fields, *((each, kind | UnsetType, UNSET) for each, kind in more.items())], frozen=True
        )
        self._values = attrgetter(*paths)
        self._moments = [place for place, each in enumerate(names) if each.endswith("_at")]

    def of(self, subject: object, **more: Any) -> msgspec.Struct:
        """The document of a subject."""
        values = list(self._values(subject))
        for place in self._moments:
            values[place] = moment(values[place])
        return self.struct(*values, **more)


JOB = DocumentType(
    "JobDocument",
    [
        *("id", "state", "queue", "command", "policy.argv", "priority", "run_at", "enqueued_at", "enqueued_by"),
        "finished_at",
        *(name if name in Job.__struct_fields__ else f"policy.{name}" for name in _OF_POLICY),
        *("attempt", "failures", "interruptions", "worker", "claimed_at", "cancel_requested", "exit_code", "signal"),
        *("cause", "error", "seq", "version"),
    ],
    Job,
    Enqueued,
    attempts=list[AttemptDocument],
)
"""Everything about a job; with its attempts, where they were asked for."""


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


def job_document(job: Job, attempts: Iterable[Attempt] | None = None) -> msgspec.Struct:
    """A job as JSON shows it."""
    if attempts is None:
        return JOB.of(job)
    return JOB.of(job, attempts=[attempt_document(attempt) for attempt in attempts])


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
