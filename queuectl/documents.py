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
from projections.notes import Note
from projections.workers import Worker
from queuectl.clock import text
from queuectl.events import Enqueued, Trigger
from queuectl.forecast import Forecast
from queuectl.host_limits import holds_back
from queuectl.liveness import lease_left
from queuectl.options import IN_EVENT


class DocumentType:
    """A kind of document that shows the fields of a subject: moments as text, all else as it is."""

    def __init__(self, name: str, paths: Sequence[str], *sources: type[msgspec.Struct], **more: Any) -> None:
        """`paths` lead from the subject to the values, in the order of the document, of which each has the last name.

        The types are those of the sources' fields. `more` are the types of fields that may follow.
        """
        types = {field.name: field.type for source in reversed(sources) for field in msgspec.structs.fields(source)}
        self.names = [path.rpartition(".")[2] for path in paths]
        """The names of the fields that each document of this kind has."""
        fields = [(each, str | None if each.endswith("_at") else types.get(each, str)) for each in self.names]
        self.struct = msgspec.defstruct(
            name, [*fields, *((each, kind | UnsetType, UNSET) for each, kind in more.items())], frozen=True
        )
        self._values = attrgetter(*paths)
        self._moments = [place for place, each in enumerate(self.names) if each.endswith("_at")]

    def of(self, subject: object, **more: Any) -> msgspec.Struct:
        """The document of a subject."""
        values = list(self._values(subject))
        for place in self._moments:
            if (moment := values[place]) is not None:
                values[place] = text(moment)
        return self.struct(*values, **more)


_FIRST = (
    "job", "number", "worker", "lease", "claimed_at", "started_at", "ended_at", "outcome", "exit_code", "signal",
    "cause", "error",
)  # fmt: skip
ATTEMPT = DocumentType(
    "AttemptDocument",
    [*_FIRST, *(name for name in Attempt.__struct_fields__ if name not in ("seq", *_FIRST))],
    Attempt,
)
"""Everything about one attempt."""

NOTE = DocumentType("NoteDocument", ("attempt", "noted_at", "noted_by", "text"), Note)
"""A note on a job."""

CALLBACK = DocumentType("CallbackDocument", ("id", "policy.trigger.event", "state"), Job, Trigger)
"""A callback of a job: its id, the end of which it tells, and how far it has come."""

_OF_POLICY = [name for name in IN_EVENT if name not in ("queue", "priority")]
_OF_POLICY.insert(_OF_POLICY.index("env"), "environment")
JOB = DocumentType(
    "JobDocument",
    [
        *("id", "state", "queue", "command", "policy.argv", "priority", "run_at", "enqueued_at", "enqueued_by"),
        *("policy.trigger", "finished_at"),
        *(name if name in Job.__struct_fields__ else f"policy.{name}" for name in _OF_POLICY),
        *(
            "attempt",
            "failures",
            "interruptions",
            "postponed",
            "worker",
            "claimed_at",
            "watching",
            "cancel_requested",
            "cancel_signal",
        ),
        *("suspended_at", "suspended_by", "exit_code", "signal", "cause", "error", "seq", "version"),
    ],
    Job,
    Enqueued,
    progress=float | None,
    progress_text=str | None,
    eta_at=str | None,
    attempts=list[ATTEMPT.struct],
    notes=list[NOTE.struct],
    callbacks=list[CALLBACK.struct],
)
"""Everything about a job; with its forecast, attempts, notes and callbacks, where they were asked for."""


class SeenWorker(msgspec.Struct, frozen=True):
    """A worker, with what is not in its events."""

    worker: Worker
    alive: bool | None
    """Whether its process lives; None where that can't be told from here."""
    lease_left: float | None
    """Seconds that are left of its lease; 0 where it has run out; None: it has none, or has ended."""
    holds_back: str | None
    """Why it claims nothing just now: the load or the memory of its host; None: it claims, or that can't be told."""
    jobs: list[str]
    """The ids of what it holds."""
    database: str
    """Where its queue is."""


WORKER = DocumentType(
    "WorkerDocument",
    [
        *("worker.id", "worker.state", "alive", "worker.host", "worker.pid", "worker.slots", "worker.queues"),
        *("worker.resources", "worker.max_load", "worker.min_free_memory", "holds_back", "worker.cgroup"),
        *("worker.private", "worker.lease", "lease_left", "jobs", "worker.started_at", "worker.heartbeat_at"),
        *("worker.ended_at", "worker.reason", "database"),
    ],
    Worker,
    SeenWorker,
)
"""A worker, what it holds, and whether it lives."""


def job_document(job: Job, forecast: Forecast | None = None) -> msgspec.Struct:
    """A job as JSON shows it; with a forecast also how far it is, and when it should be done."""
    return JOB.of(job, **(_forecast(forecast) if forecast is not None else {}))


def whole_job_document(
    job: Job,
    forecast: Forecast,
    attempts: Iterable[Attempt],
    notes: Iterable[Note],
    callbacks: Iterable[Job] | None,
) -> msgspec.Struct:
    """A job as JSON shows it, with its forecast, attempts, notes and callbacks (None: these are not told)."""
    more = {"callbacks": [*map(CALLBACK.of, callbacks)]} if callbacks is not None else {}
    lists = {"attempts": [*map(ATTEMPT.of, attempts)], "notes": [*map(NOTE.of, notes)], **more}
    return JOB.of(job, **_forecast(forecast), **lists)


def _forecast(forecast: Forecast) -> dict[str, Any]:
    eta = text(forecast.eta) if forecast.eta is not None else None
    return {"progress": forecast.percent, "progress_text": forecast.text, "eta_at": eta}


def worker_document(worker: Worker, jobs: Iterable[Job], alive: bool | None, database: str, now: int) -> msgspec.Struct:
    """A worker as JSON shows it; `database` is where its queue is, `now` the moment (µs UTC)."""
    why = holds_back(worker) if alive else None
    left = lease_left(worker, now)
    left = round(max(0.0, left), 1) if left is not None else None
    return WORKER.of(SeenWorker(worker, alive, left, why, [job.id for job in jobs], database))
