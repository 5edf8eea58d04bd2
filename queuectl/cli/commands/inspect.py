"""`queuectl inspect`: everything about one job, now or as it was."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

from queuectl import clock, units
from queuectl.admission import WAITING
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, wording
from queuectl.cli.ui.event_wording import event_text
from queuectl.documents import whole_job_document
from queuectl.errors import Invalid, NotFound, OutputGone
from queuectl.events import Enqueued
from queuectl.runnable import SHELL

if TYPE_CHECKING:
    from projections.attempts import Attempt
    from projections.jobs import Job
    from projections.notes import Note
    from queuectl.admission import Facts
    from queuectl.forecast import Forecast
    from queuectl.history import Moment
    from queuectl.queue import Queue

_LAST_LINES = 5
"""Lines of output shown."""
_LAST_NOTES = 10
"""Notes shown."""


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
        _print_job(q, job, attempts, forecast, past)
        _print_notes(notes)
        if not past:
            _print_output(q, job)


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


def _print_job(q: "Queue", job: "Job", attempts: list["Attempt"], forecast: "Forecast", past: bool) -> None:
    policy = job.policy
    doing = wording.state_detail(job, facts=q.facts()) if not past else ""
    state = f"{job.state}, {doing}".removesuffix(", ")
    output.line(f"{output.paint(output.escape(job.id), 'bold')}  {output.paint(output.escape(state), job.state)}")
    output.line()
    due = ""
    if job.state in WAITING and (job.forced or job.run_at > job.enqueued_at):
        due = wording.full_time(job.run_at) if not job.forced else "next, past pause, hold, delay and limits"
    timeout = units.span(job.timeout) if job.timeout is not None else "none"
    output.fields((
        ("command", output.escape(job.command)),
        ("shell", output.escape(policy.shell) if policy.shell != SHELL else ""),
        ("in", output.escape(policy.cwd)),
        ("stdin", policy.stdin or ""),
        ("queue", output.escape(f"{job.queue}, {wording.priority(job)}")),
        ("enqueued", f"{wording.full_time(job.enqueued_at)} by {output.escape(job.enqueued_by)}"),
        ("triggered by", output.escape(wording.trigger(policy.trigger))),
        ("batch", output.escape(job.batch or "")),
        ("edited", output.escape(_edited(q, job))),
        ("tags", output.escape(wording.tags(policy.tags))),
        ("reason", output.escape(policy.reason or "")),
        ("after", output.escape(wording.dependencies(policy))),
        ("resources", output.escape(wording.needs(policy))),
        ("on complete", output.escape(policy.on_complete or "")),
        ("on failure", output.escape(policy.on_failure or "")),
        ("on end", output.escape(policy.on_end or "")),
        ("callbacks", ", ".join(f"{each.id} {each.state}" for each in q.callbacks(job.id)) if not past else ""),
        ("due", due),
        ("progress", output.escape(_progress(forecast, attempts, past))),
        ("suspended", _suspended(job)),
        ("finished", wording.full_time(job.finished_at)),
        ("attempts", wording.attempt_counts(job, attempts)),
        ("retries", wording.retry_policy(job) if job.max_retries else ""),
        ("timeout", f"{timeout}; if its worker dies: {policy.on_lost}"),
        ("ending", wording.ending(policy)),
        ("exit codes", wording.exit_codes(policy)),
        ("memory limit", wording.memory_limit(policy, attempts)),
        ("nice", str(policy.nice) if policy.nice else ""),
        *_environment(q, policy),
        ("secrets", ", ".join(job.secrets)),
        ("error", output.escape(job.error or "")),
    ))  # fmt: skip
    if attempts:
        output.line()
        output.table(
            ("#", "STARTED", "TOOK", "CPU", "MEMORY", "OUTPUT", "WORKER", "OUTCOME"),
            [_attempt(attempt, past) for attempt in attempts],
            right=("#", "TOOK", "CPU", "MEMORY", "OUTPUT"),
        )


def _edited(q: "Queue", job: "Job") -> str:
    """When and by whom it was edited last, and what; empty where it was not."""
    edits = [each for each in q.events(job=job.id, type="edited") if each.version <= job.version]
    if not edits:
        return ""
    last = edits[-1]
    times = f"{len(edits)} times, last " if len(edits) > 1 else ""
    text = event_text(last).removeprefix("edited: ")
    return f"{times}{wording.full_time(last.at)} by {last.actor}: {text}"


def _progress(forecast: "Forecast", attempts: "Sequence[Attempt]", past: bool) -> str:
    """How far it is, and when it should be done by what estimate; of one that ended, how far its last attempt came."""
    if forecast.percent is None and attempts and (last := attempts[-1]).progress is not None:
        return wording.percent(last.progress, last.progress_text)
    if past:
        return wording.percent(forecast.percent, forecast.text) if forecast.percent is not None else ""
    return wording.progress(forecast, room=200) + (
        f" (an estimate by {forecast.by})" if forecast.by is not None else ""
    )


def _suspended(job: "Job") -> str:
    """Since when, and by whom, it is suspended; empty where it is not."""
    if job.suspended_at is None:
        return ""
    how = ", until the pause of its queue ends" if job.suspended_by_pause else ""
    return f"{wording.full_time(job.suspended_at)} by {output.escape(job.suspended_by or '')}{how}"


def _environment(q: "Queue", policy: Enqueued) -> Iterator[tuple[str, str]]:
    """Yield the variables that a job gets beside the worker's; those of old logs are in the JSON only."""
    if policy.environment is None:
        return
    yield "env", output.escape(shlex.join(f"{name}={value}" for name, value in policy.env.items()))
    stored = q.environment(policy.environment)
    name = f"env:{policy.environment}"
    size = f"{wording.environment_size(stored)} ({name})" if stored is not None else f"{name}, which is not here"
    yield "environment", size


def _attempt(attempt: "Attempt", past: bool) -> list[str | output.Cell]:
    took = attempt.run_seconds
    if took is None and attempt.outcome is None and not past:
        took = (clock.now() - attempt.claimed_at) / 1_000_000
    return [
        str(attempt.number) if attempt.outcome != "released" else "-",
        wording.local_time(attempt.started_at or attempt.claimed_at),
        units.span(took) if took is not None else "",
        units.span(attempt.cpu_seconds) if attempt.cpu_seconds is not None else "",
        units.size_text(attempt.max_rss) if attempt.max_rss is not None else "",
        units.size_text(attempt.output_bytes) if attempt.output_bytes is not None else "",
        attempt.worker,
        output.Cell(wording.attempt_outcome(attempt), attempt.outcome or "processing"),
    ]


def _print_notes(notes: "Sequence[Note]") -> None:
    """Print the last notes, a line each: when, in which attempt or by whom, and what."""
    if not notes:
        return
    output.line()
    more = f", the last {_LAST_NOTES} of {len(notes)}" if len(notes) > _LAST_NOTES else ""
    output.line(output.paint(f"its notes{more}", "dim"))
    for note in notes[-_LAST_NOTES:]:
        of = f"attempt {note.attempt}" if note.attempt is not None else note.noted_by
        for text in output.wrap(
            f"{wording.local_time(note.noted_at)}  {output.escape(f'{of}: {note.text}')}", output.width() - 2
        ):
            output.line(f"  {text}")


def _print_output(q: "Queue", job: "Job") -> None:
    from queuectl.cli.ui.stream import last_lines

    try:
        for what, is_stderr in (("output", False), ("stderr", True)):
            if (written := q.open_output(job.id, stderr=is_stderr)) is not None:
                _print_lines(job.id, what, *last_lines(written, _LAST_LINES))
    except OutputGone as gone:
        output.line()
        output.line(output.paint(output.escape(str(gone)), "dim"))
    except NotFound:
        pass


def _print_lines(id: str, what: str, lines: list[str], more: bool) -> None:
    """Print the last lines of an output of a job; `more`: there are lines before them."""
    from queuectl.cli.ui import terminal

    if not lines:
        return
    output.line()
    output.line(output.paint(f"the end of its {what}" if more else f"its {what}", "dim"))
    room = output.width()
    for text in lines:
        shown = terminal.truncate(text, room - 2) if output.is_terminal() else terminal.without_colours(text)
        output.line(f"  {shown}")
    if more:
        output.line(output.paint(f"  all of it: queuectl logs {shlex.quote(id)}", "dim"))
