"""The rows that an export asks for, a page at a time, and what kind of value each of their columns has."""

from collections.abc import Callable, Iterator
from itertools import islice
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import msgspec
from msgspec import UnsetType

from projections.jobs import Job
from queuectl.documents import ATTEMPT, JOB, job_document
from queuectl.events import Recorded
from queuectl.queue import Queue

WHAT = ("events", "jobs", "attempts")

PAGE = 500
"""Rows that are turned into bytes at a time."""

_KINDS = {str: "string", int: "integer", float: "float", bool: "boolean"}


def kinds(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The fields of a Struct, each with what it holds: time, string, integer, float, boolean, or json for the rest."""
    return {field.name: _kind(field.name, field.type) for field in msgspec.structs.fields(struct)}


def _kind(name: str, annotation: Any) -> str:
    if name == "at" or name.endswith("_at"):
        return "time"
    if get_origin(annotation) is UnionType:
        annotation = next(each for each in get_args(annotation) if each not in (NoneType, UnsetType))
    return _KINDS.get(annotation, "json")


COLUMNS = {
    "events": kinds(Recorded),
    "jobs": {name: kind for name, kind in kinds(JOB.struct).items() if name in JOB.names},
    "attempts": kinds(ATTEMPT.struct),
}
"""The columns of a table of rows, each with its kind."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are asked for; every None lets all pass."""

    what: str = "events"
    """events, jobs or attempts."""
    since: int | None = None
    """Events that happened, jobs that were enqueued, attempts that were claimed at this moment (µs UTC) or later."""
    until: int | None = None
    """And not after this one."""
    ended_since: int | None = None
    """Jobs and attempts that ended at this moment or later."""
    after: int = 0
    """Events with a higher seq."""
    queue_name: str | None = None
    """Jobs and attempts of this queue; events of its jobs, of the queue itself and of all queues at once."""
    job: str | None = None
    where: str = ""
    """Jobs that a filter finds (R39); attempts of these, events of these."""
    type: str | None = None
    """Events of this type."""
    columns: tuple[str, ...] = ()
    """Only these columns, in this order; none: all."""

    def matches(self, at: int, ended: int | None) -> bool:
        """Whether what began at one moment, and ended at the other (None: not yet), is asked for."""
        if self.ended_since is not None and (ended is None or ended < self.ended_since):
            return False
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)


class Source:
    """The rows of a selection, to be read once; counts them as they go out."""

    def __init__(self, queue: Queue, selection: Selection, progress: Callable[[int], None] | None = None) -> None:
        self.queue, self.selection = queue, selection
        self.count = 0
        self.last = selection.after
        """The seq of the last event that went out."""
        self._progress = progress

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are asked for, each with its kind."""
        known = COLUMNS[self.selection.what]
        return {name: known[name] for name in self.selection.columns} or known

    def jobs(self) -> Iterator[Job]:
        """The jobs that are asked for, or those whose attempts are."""
        return _found_jobs(self.queue, self.selection)

    def pages(self) -> Iterator[list[Any]]:
        """`Recorded` for events, documents for jobs and attempts, in lists."""
        rows = _ROWS[self.selection.what](self.queue, self.selection)
        while page := list(islice(rows, PAGE)):
            yield page
            self.count += len(page)
            if self.selection.what == "events":
                self.last = page[-1].seq
            if self._progress is not None:
                self._progress(self.count)


def _events(queue: Queue, wanted: Selection) -> Iterator[Recorded]:
    found = queue.events(
        after=wanted.after, job=wanted.job, type=wanted.type, queue=wanted.queue_name, since=wanted.since,
        until=wanted.until,
    )  # fmt: skip
    if not wanted.where:
        return found
    is_meant = _filter(queue, wanted)
    return (record for record in found if record.stream.startswith("job:") and is_meant(record.subject))


def _jobs(queue: Queue, wanted: Selection) -> Iterator[msgspec.Struct]:
    for job in _found_jobs(queue, wanted):
        if wanted.matches(job.enqueued_at, job.finished_at):
            yield job_document(job)


def _found_jobs(queue: Queue, wanted: Selection) -> Iterator[Job]:
    """The jobs of the queue, id and filter that are asked for; of a period only where jobs are."""
    if wanted.job is not None:
        found = iter([queue.job(wanted.job)] if _filter(queue, wanted)(wanted.job) else ())
    elif wanted.what == "jobs":
        found = queue.jobs(
            queue=wanted.queue_name, since=wanted.since, until=wanted.until, ended_since=wanted.ended_since,
            where=wanted.where,
        )  # fmt: skip
    else:
        found = queue.jobs(queue=wanted.queue_name, where=wanted.where)
    return (job for job in found if wanted.queue_name in (None, job.queue))


def _attempts(queue: Queue, wanted: Selection) -> Iterator[msgspec.Struct]:
    if wanted.job is None:
        found = queue.all_attempts(wanted.queue_name)
    else:
        found = iter(queue.attempts(wanted.job) if wanted.queue_name in (None, queue.job(wanted.job).queue) else ())
    is_meant = _filter(queue, wanted)
    for attempt in found:
        if is_meant(attempt.job) and wanted.matches(attempt.claimed_at, attempt.ended_at):
            yield ATTEMPT.of(attempt)


def _filter(queue: Queue, wanted: Selection) -> Callable[[str], bool]:
    """Whether the filter finds the job of that id."""
    if not wanted.where:
        return lambda _: True
    return {job.id for job in queue.jobs(where=wanted.where)}.__contains__


_ROWS: dict[str, Callable[[Queue, Selection], Iterator[Any]]] = {
    "events": _events, "jobs": _jobs, "attempts": _attempts,
}  # fmt: skip
