"""`queuectl inspect`: everything about one job, now or as it was."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import chain
from typing import TYPE_CHECKING, Annotated

from queuectl import clock, units
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, wording
from queuectl.documents import whole_job_document
from queuectl.errors import Invalid, NotFound

if TYPE_CHECKING:
    from projections.attempts import Attempt
    from projections.jobs import Job
    from projections.notes import Note
    from queuectl.admission import Facts
    from queuectl.history import Moment
    from queuectl.queue import Queue


def inspect(
    id: p.Job,
    /,
    *,
    events: Annotated[
        bool, p.Parameter(name="--events", help="Its history, replayed event by event, with the state after each.")
    ] = False,
    at: p.At = None,
    version: Annotated[
        int | None, p.option("--version", "N", "As it was after its own event N.", p.integer(1, 2**31))
    ] = None,
    archive: Annotated[
        str | None, p.option("--archive", "FILE", "Of a job that was archived: the file. Its id must be whole.")
    ] = None,
    json: Annotated[bool, p.Parameter(name="--json", help="Answer as JSON; with --events one object a line.")] = False,
    db: p.Database = None,
) -> None:
    """Show everything about a job: its policy, its attempts, the end of its output.

    $ queuectl inspect job1
    $ queuectl inspect 17 --events
    $ queuectl inspect job1 --at -10m --json
    $ queuectl inspect 17 --events --archive 2026-11.ndjson.gz
    """
    if at is not None and version is not None:
        raise Invalid("give --at or --version, not both")
    past = at is not None or version is not None
    with opening.open_queue(db) if archive is None else _archived(archive, id) as q:
        id = q.resolve(id)
        if not events and not past:
            job, attempts, notes = q.job(id), q.attempts(id), q.notes(id)
            then = None
        else:
            moments = _until(q.history(id), at, version)
            if events:
                _print_history(moments, json, None if past else q.facts)
                return
            job, attempts, notes = _as_of(moments)
            then = at or units.Then(seq=moments[-1].record.seq)
        forecast = q.forecasts(then)(job)
        if json:
            callbacks = q.callbacks(id) if not past else None
            output.document(whole_job_document(job, forecast, attempts, notes, callbacks))
            return
        from queuectl.cli.ui import job_details

        room = output.width()
        lines = [job_details.job_lines(q, job, attempts, forecast, past, room), job_details.note_lines(notes, room)]
        if not past:
            lines.append(job_details.output_lines(q, job, room))
        for line in chain.from_iterable(lines):
            output.line(line)


def _as_of(moments: list["Moment"]) -> "tuple[Job, list[Attempt], list[Note]]":
    """Return a job after its history, with its attempts and notes. Raises NotFound if it had been purged."""
    from projections import attempts, notes

    job, records = moments[-1].job, [moment.record for moment in moments]
    if job is None:
        raise NotFound(f"job {records[0].subject!r} had been purged by then")
    return job, attempts.of(records), notes.of(records)


def _archived(path: str, id: str) -> AbstractContextManager["Queue"]:
    from queuectl.audit.archive_file import open_archive

    return open_archive(path, id)


def _until(moments: list["Moment"], at: units.Then | None, version: int | None) -> list["Moment"]:
    """Return the history up to a point, or all of it. Raises NotFound if the job did not exist then."""
    past: list[Moment] = []
    for moment in moments:
        record = moment.record
        own = record.stream.startswith("job:")
        if (
            (at is not None and at.at is not None and record.at > at.at)
            or (at is not None and at.seq is not None and record.seq > at.seq)
            or (version is not None and own and record.version > version)
        ):
            break
        past.append(moment)
    if not past:
        raise NotFound("the job did not exist yet at that moment")
    last = max(moment.record.version for moment in moments if moment.record.stream.startswith("job:"))
    if version is not None and version > last:
        raise NotFound(f"the job has only {units.counted(last, 'event')}")
    return past


def _print_history(moments: list["Moment"], json: bool, facts: "Callable[[], Facts] | None") -> None:
    """Print a history; with `facts`, of the workers and queues at present, also what the job is doing now."""
    if json:
        output.documents(moment.record.json(state=moment.job.state if moment.job else "purged") for moment in moments)
        return
    from queuectl.cli.ui import timeline

    first, last = moments[0].record, moments[-1]
    state = last.job.state if last.job is not None else last.record.type
    room = output.width()
    id = output.truncate(output.escape(first.subject), room - len(state) - 2)
    own = sum(moment.record.stream.startswith("job:") for moment in moments)
    output.line(f"{output.paint(id, 'bold')}  {output.paint(state, state)}")
    output.line(output.paint(f"{units.counted(own, 'event')} from {wording.full_time(first.at)}", "dim"))
    present = (clock.now(), facts()) if facts is not None else (None, None)
    for line in timeline.render(timeline.build(moments, *present), room):
        output.line(line)
