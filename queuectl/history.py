"""A job's past, read from the log alone: what happened to it, and what it was at any moment."""

import shlex
from collections.abc import Iterable, Sequence

import msgspec

from projections import jobs
from projections.jobs import Job
from queuectl.engines.view import Filter, View
from queuectl.errors import NotFound
from queuectl.events import Archived, Cancelled, Claimed, Completed, Failed, Heartbeat, Interrupted, Recorded, Released

PAGE = 1000


class Moment(msgspec.Struct, frozen=True):
    """One event of a job's history and the job after it (None once it was purged).

    Heartbeats of the worker that held it are included; they don't change the job.
    """

    record: Recorded
    job: Job | None


def history(view: View, id: str) -> list[Moment]:
    """Everything that happened to a job, in the order of the log.

    Raises NotFound for an id that never was, and for a job that was archived: it names the file.
    """
    records = own_events(view, id)
    records = sorted([*records, *_heartbeats(view, id, records)], key=lambda record: record.seq)
    moments: list[Moment] = []
    job: Job | None = None
    for record in records:
        if record.stream.startswith("job:"):
            job = jobs.evolve(job, record, record.event)
        moments.append(Moment(record, job))
    return moments


def own_events(view: View, id: str) -> list[Recorded]:
    """The events of a job's stream. Raises as `history` does."""
    records = view.stream(f"job:{id}")
    if not records or records[-1].type == "archived":
        raise not_found(id, records)
    return records


def not_found(id: str, records: Sequence[Recorded]) -> NotFound:
    """Return the error for a missing job; what is left of its stream tells whether it was purged or archived."""
    if not records:
        return NotFound(f"no job {id!r}; see `queuectl list`")
    event = records[-1].event
    if isinstance(event, Archived):
        words = shlex.join(["queuectl", "inspect", id, "--events", "--archive", event.file])
        return NotFound(f"job {id!r} was archived in {event.file}; its history: `{words}`")
    return NotFound(f"job {id!r} was purged; its history: `queuectl inspect {shlex.quote(id)} --events`")


def _heartbeats(view: View, id: str, records: Iterable[Recorded]) -> list[Recorded]:
    """The heartbeats that spoke for the job's attempts, each between its claim and its end."""
    found: list[Recorded] = []
    worker, attempt, since = "", 0, 0
    spans: list[tuple[str, int, int, int | None]] = []
    for record in records:
        event = record.event
        if isinstance(event, Claimed):
            worker, attempt, since = event.worker, event.attempt, record.seq
        elif worker and isinstance(event, Completed | Failed | Cancelled | Released | Interrupted):
            spans.append((worker, attempt, since, record.seq))
            worker = ""
    if worker:
        spans.append((worker, attempt, since, None))
    for worker, attempt, after, upto in spans:
        where = Filter(streams=(f"worker:{worker}",), types=("heartbeat",))
        while page := view.events(after=after, upto=upto, limit=PAGE, where=where):
            for record in page:
                event = record.event
                if isinstance(event, Heartbeat) and any(h.job == id and h.attempt == attempt for h in event.attempts):
                    found.append(record)
            after = page[-1].seq
    return found


def as_of(
    moments: Iterable[Moment], *, at: int | None = None, seq: int | None = None, version: int | None = None
) -> Job:
    """The job as it was at a moment (µs UTC), after event `seq` of the log, or after event `version` of its own.

    Raises NotFound where it did not exist then.
    """
    job: Job | None = None
    existed = False
    for moment in moments:
        record = moment.record
        if (at is not None and record.at > at) or (seq is not None and record.seq > seq):
            break
        if version is not None and record.stream.startswith("job:") and record.version > version:
            break
        job, existed = moment.job, True
    if job is None:
        raise NotFound("the job had been purged by then" if existed else "the job did not exist yet at that moment")
    return job
